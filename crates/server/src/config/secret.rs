//! Values that are not shown, or not all of them.

use std::fmt;

/// Text that is not shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct SecretText(String);

impl SecretText {
    pub(super) fn parse(text: &str) -> Option<Self> {
        (!text.contains(char::is_control)).then(|| Self(text.to_owned()))
    }

    /// All of it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is any.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "" } else { "***" })
    }
}

/// A URL that shows its scheme and host, and not who logs in there, nor at the Sentinels that it names.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SecretUrl(String);

impl SecretUrl {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let sound =
            !scheme.is_empty() && !rest.is_empty() && !text.contains(|c: char| c.is_control() || c.is_whitespace());
        sound.then(|| Self(text.to_owned()))
    }

    /// All of it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // From a password among the parameters on, nothing is shown; it may hold any character.
        let (shown, hidden) = match self.0.split_once("sentinelPassword=") {
            Some((before, _)) => (before, "sentinelPassword=***"),
            None => (self.0.as_str(), ""),
        };
        match (shown.split_once("://"), shown.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => write!(f, "{scheme}://***@{host}{hidden}"),
            (Some((scheme, _)), None) if self.0.contains('@') => write!(f, "{scheme}://***"),
            _ => write!(f, "{shown}{hidden}"),
        }
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::super::value::{Kind, Setting};

    #[test]
    fn a_password_in_a_url_is_never_shown() {
        let setting = Kind::Url.read_text("rediss://me:s3cr@t@redis.example:6380/1").expect("a URL");
        let Setting::Url(url) = &setting else { panic!("{setting:?}") };
        assert_eq!(url.reveal(), "rediss://me:s3cr@t@redis.example:6380/1");
        assert_eq!(setting.to_string(), "\"rediss://***@redis.example:6380/1\"");
        assert_eq!(format!("{url:?}"), "rediss://***@redis.example:6380/1");
        for (url, shown) in [
            (
                "redis-sentinel://me:s3cret@a:1/0?node=b:2&sentinelPassword=s3c@ret",
                "redis-sentinel://***@a:1/0?node=b:2&sentinelPassword=***",
            ),
            ("redis-sentinel://a:1?sentinelPassword=s3cret&node=b:2", "redis-sentinel://a:1?sentinelPassword=***"),
            ("redis://me:s3cretsentinelPassword=@a:1", "redis://***"),
        ] {
            assert_eq!(Kind::Url.read_text(url).expect("a URL").to_string(), format!("\"{shown}\""));
        }
        for bad in ["", "redis", "redis:/s3cret@x", "redis://s3cret @x", "://s3cret"] {
            let error = Kind::Url.read_text(bad).expect_err(bad);
            assert!(!error.contains("s3cret"), "{error}");
        }
        assert_eq!(
            Kind::Url.read_text("redis://127.0.0.1:6379").expect("a URL").to_string(),
            "\"redis://127.0.0.1:6379\""
        );
    }
}
