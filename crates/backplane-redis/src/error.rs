//! Why a node could not begin to use a Redis.

/// Tells an operator what to do. What happens after the start is no error of this kind: the backplane is then away for a
/// while, and comes back by itself.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL cannot be used.
    #[error("the Redis URL {0}")]
    Url(String),
    /// The prefix cannot be used.
    #[error("the Redis prefix must be 1 to 64 bytes without spaces, control characters or braces")]
    Prefix,
    /// Nothing answers there.
    #[error("cannot reach Redis: {0}")]
    Unreachable(String),
    /// Wrong or missing credentials.
    #[error("Redis refuses the user name or password of the URL: {0}")]
    Credentials(String),
    /// The user may not do what is needed.
    #[error(
        "the Redis user lacks a permission: {0}; it needs the keys and channels that begin with '{{' and the prefix, \
             and the commands of scripts, streams, hashes, sorted sets and pub/sub"
    )]
    Permission(String),
    /// Older than what the scripts need.
    #[error("Redis {0} is too old: 7.0 is needed")]
    TooOld(String),
    /// A key of the hub exists and is something else.
    #[error("the key {key} in Redis is not the hub's: {detail}; choose another prefix, or delete the key")]
    ForeignKey {
        /// Which.
        key: String,
        /// What Redis says.
        detail: String,
    },
    /// Another hub uses the prefix.
    #[error(
        "the hub with this prefix in Redis has {stored} partitions, not {own}: set the same number on all nodes, \
         or choose another prefix"
    )]
    OtherPartitions {
        /// What Redis says.
        stored: String,
        /// What the options say.
        own: usize,
    },
    /// A version of the hub that stores otherwise.
    #[error(
        "the hub with this prefix in Redis stores in layout {stored}, this version in layout {own}: run the version that it \
         belongs to, or choose another prefix"
    )]
    OtherLayout {
        /// What Redis says.
        stored: String,
        /// This version's.
        own: u32,
    },
    /// It answers, but what is published does not come back.
    #[error("Redis does not deliver what is published: {0}")]
    Silent(String),
    /// Anything else that it says.
    #[error("Redis answers: {0}")]
    Other(String),
}

impl ConnectError {
    /// Sorts what fred says.
    pub(crate) fn of(error: &fred::error::Error) -> Self {
        use fred::error::ErrorKind;
        let detail = error.details().to_owned();
        let starts = |code: &[&str]| code.iter().any(|code| detail.starts_with(code));
        if matches!(error.kind(), ErrorKind::Auth) || starts(&["WRONGPASS", "NOAUTH"]) {
            return Self::Credentials(detail);
        }
        if detail.contains("unknown command") && detail.contains("HELLO") {
            return Self::TooOld("before 6.0".to_owned());
        }
        if starts(&["NOPERM"]) {
            return Self::Permission(detail);
        }
        match error.kind() {
            ErrorKind::IO | ErrorKind::Timeout | ErrorKind::Canceled | ErrorKind::Sentinel | ErrorKind::Tls => {
                Self::Unreachable(detail)
            }
            _ => Self::Other(detail),
        }
    }
}
