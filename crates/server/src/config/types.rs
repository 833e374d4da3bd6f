//! The types of the configuration's fields, made of what was read.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use towncrier_http::{ForwardedBy, Network, Origin};
use towncrier_telemetry::logging;

use super::{
    secret::{SecretText, SecretUrl},
    share::Share,
    value::Setting,
};

/// Which backplane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BackplaneKind {
    /// In this process.
    Embedded,
    /// In Redis.
    Redis,
}

/// What happens to a session that lags past its outbox's bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slow {
    /// The stream ends; the client resumes from the history.
    Disconnect,
    /// The newest event of each topic is kept, the rest told by a gap.
    Conflate,
}

/// What happens to events beyond a session's rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// They are dropped, which a gap tells.
    Drop,
    /// The newest of each topic comes later, the rest is told by a gap.
    Conflate,
}

/// How clients prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthMode {
    /// Not at all.
    Open,
    /// By a token.
    Jwt,
}

/// Who may have something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subscribing {
    /// Who brings a token that says so.
    Token,
    /// Anybody.
    Public,
}

/// When the cookie is for TLS only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CookieSecure {
    /// Where the hub itself speaks TLS.
    Auto,
    /// Everywhere.
    Always,
}

/// Which other sites' requests bring the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SameSite {
    /// None.
    Strict,
    /// Links.
    Lax,
    /// All.
    None,
}

/// A type that a field of the configuration may have.
pub(crate) trait FromSetting: Sized {
    /// Nothing if the key was declared with a kind that does not fit the type.
    fn from_setting(setting: &Setting) -> Option<Self>;
}

pub(super) fn typed<T: FromSetting>(key: &'static str, read: impl Fn(&'static str) -> Setting) -> T {
    let setting = read(key);
    T::from_setting(&setting).unwrap_or_else(|| panic!("{key} is declared with a kind that does not fit its type"))
}

macro_rules! from_setting {
    ($($type:ty: $pattern:pat => $value:expr;)+) => {
        $(impl FromSetting for $type {
            fn from_setting(setting: &Setting) -> Option<Self> {
                match setting {
                    $pattern => $value,
                    _ => None,
                }
            }
        })+
    };
}

from_setting! {
    bool: Setting::Flag(flag) => Some(*flag);
    usize: Setting::Count(number) | Setting::Bytes(number) => usize::try_from(*number).ok();
    u32: Setting::Count(number) => u32::try_from(*number).ok();
    Share: Setting::Share(share) => Some(*share);
    Duration: Setting::Time(time) => Some(*time);
    SocketAddr: Setting::Address(address) => Some(*address);
    Option<SocketAddr>: Setting::AddressOrNone(address) => Some(*address);
    Option<PathBuf>: Setting::Text(text) => Some((!text.is_empty()).then(|| PathBuf::from(text)));
    String: Setting::Text(text) => Some(text.clone());
    SecretUrl: Setting::Url(url) => Some(url.clone());
    SecretText: Setting::Secret(secret) => Some(secret.clone());
    Vec<String>: Setting::List(items) => Some(items.clone());
    Option<usize>: Setting::Count(number) => usize::try_from(*number).ok().map(|number| (number > 0).then_some(number));
    Option<Duration>: Setting::Time(time) => Some((!time.is_zero()).then_some(*time));
    Vec<Network>: Setting::List(items) => items.iter().map(|item| item.parse().ok()).collect();
    Vec<Origin>: Setting::List(items) => items.iter().map(|item| item.parse().ok()).collect();
    Option<String>: Setting::Text(text) => Some((!text.is_empty()).then(|| text.clone()));
}

macro_rules! from_word {
    ($($type:ty { $($word:literal => $value:expr,)+ })+) => {
        $(impl FromSetting for $type {
            fn from_setting(setting: &Setting) -> Option<Self> {
                let Setting::Text(text) = setting else { return None };
                match text.as_str() {
                    $($word => Some($value),)+
                    _ => None,
                }
            }
        })+
    };
}

from_word! {
    BackplaneKind { "embedded" => Self::Embedded, "redis" => Self::Redis, }
    Slow { "disconnect" => Self::Disconnect, "conflate" => Self::Conflate, }
    Over { "drop" => Self::Drop, "conflate" => Self::Conflate, }
    AuthMode { "open" => Self::Open, "jwt" => Self::Jwt, }
    Subscribing { "token" => Self::Token, "public" => Self::Public, }
    CookieSecure { "auto" => Self::Auto, "always" => Self::Always, }
    SameSite { "strict" => Self::Strict, "lax" => Self::Lax, "none" => Self::None, }
    ForwardedBy { "x-forwarded-for" => Self::XForwardedFor, "forwarded" => Self::Forwarded, }
    logging::Format { "auto" => Self::Auto, "human" => Self::Human, "json" => Self::Json, }
}
