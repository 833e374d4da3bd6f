//! A hub that is somewhere else, as the client sub-commands see it.

use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use ureq::{
    Agent, Body,
    config::{Config, ConfigBuilder},
    http::{HeaderValue, Response, Uri, header},
    typestate::AgentScope,
};

/// Longest answer that is not a stream, in bytes.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Which hub, and as whom.
#[derive(Debug, Args)]
pub(super) struct HubArgs {
    /// The address of the hub.
    #[arg(long, env = "TOWNCRIER_URL", default_value = "http://127.0.0.1:8080", value_parser = parse_url)]
    url: String,
    /// A token that says who is asking.
    #[arg(long, env = "TOWNCRIER_TOKEN", hide_env_values = true, value_parser = parse_token)]
    token: Option<HeaderValue>,
}

impl HubArgs {
    /// The address of `path`, which begins with a slash.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Names and values of the headers that say who is asking.
    pub(super) fn headers(&self) -> impl Iterator<Item = (&'static str, HeaderValue)> {
        self.token.clone().map(|token| (header::AUTHORIZATION.as_str(), token)).into_iter()
    }
}

/// The settings that all requests share.
pub(super) fn client() -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        // A stream through a proxy that buffers never arrives; the hub's address is the one that was given.
        .proxy(None)
        .max_idle_connections(0)
        .user_agent(concat!("towncrier/", env!("CARGO_PKG_VERSION")))
}

/// An agent of these settings.
pub(super) fn agent(config: Config) -> Agent {
    Agent::new_with_config(config)
}

pub(super) fn parse_url(text: &str) -> Result<String, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err("https is not in this build; use an http address".into()),
        _ => return Err("must begin with http://".into()),
    }
    if uri.query().is_some() {
        return Err("must not have a query".into());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn parse_token(text: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::try_from(format!("Bearer {text}")).map_err(|_| "must be visible ASCII")?;
    value.set_sensitive(true);
    Ok(value)
}

/// An answer that is not a stream.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// What the hub asks to wait before the next attempt.
    pub(super) retry_after: Option<Duration>,
    pub(super) text: String,
}

impl Answer {
    /// Reads all of it.
    pub(super) fn read(response: Response<Body>) -> Result<Self, ureq::Error> {
        let status = response.status().as_u16();
        let seconds = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let text = response.into_body().with_config().limit(ANSWER_BYTES_MAX).lossy_utf8(true).read_to_string()?;
        Ok(Self { status, retry_after: seconds.map(Duration::from_secs), text })
    }

    /// What a person should know of an answer that is no success.
    pub(super) fn problem(&self) -> String {
        #[derive(Deserialize)]
        struct Problem {
            title: Option<String>,
            detail: Option<String>,
        }

        let status = self.status;
        match serde_json::from_str(&self.text) {
            Ok(Problem { detail: Some(detail), .. }) => format!("{detail} ({status})"),
            Ok(Problem { title: Some(title), .. }) => format!("{title} ({status})"),
            _ => format!("the hub answered with status {status}"),
        }
    }
}

/// Whether the same request may do better later.
pub(super) fn may_pass(error: &ureq::Error) -> bool {
    use ureq::Error;

    !matches!(error, Error::Http(_) | Error::BadUri(_) | Error::BodyExceedsLimit(_) | Error::TooManyRedirects)
}

/// Whether the same request may do better later.
pub(super) fn may_pass_status(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(parse_url("http://hub:80/"), Ok("http://hub:80".into()));
        assert_eq!(parse_url("http://hub/base/"), Ok("http://hub/base".into()));
        for (url, part) in [
            ("https://hub", "https is not in this build"),
            ("hub:80", "http://"),
            ("http://hub?a=b", "query"),
            ("", "empty"),
        ] {
            let error = parse_url(url).expect_err(url);
            assert!(error.contains(part), "{url}: {error}");
        }
    }

    #[test]
    fn problems() {
        let answer = |text: &str| Answer { status: 400, retry_after: None, text: text.into() }.problem();
        assert_eq!(answer(r#"{"title":"Bad Request","detail":"topic: is empty"}"#), "topic: is empty (400)");
        assert_eq!(answer(r#"{"title":"Bad Request"}"#), "Bad Request (400)");
        assert_eq!(answer("<html>"), "the hub answered with status 400");
    }
}
