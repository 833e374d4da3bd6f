//! What keeps a scenario from running. Wrong deliveries are no error but a result: see [`Faults`](crate::Faults).

use std::io;
use std::net::SocketAddrV4;
use std::time::Duration;

/// Why a scenario could not be run to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The target is not a loopback address.
    #[error("{0} is not a loopback address: the load tool only measures servers on this machine")]
    NotLoopback(SocketAddrV4),
    /// A combination of options that cannot work.
    #[error("{0}")]
    Options(String),
    /// A system call failed.
    #[error("{action}: {source}")]
    Io {
        /// What was being done.
        action: String,
        /// What the system said.
        source: io::Error,
    },
    /// The server ended or refused a connection before the run began.
    #[error("subscriber {index} was refused: {reason}")]
    Refused {
        /// Which subscriber, from 0.
        index: usize,
        /// What the server did.
        reason: String,
    },
    /// A connection that publishes broke.
    #[error("a publishing connection failed: {0}")]
    Publisher(String),
    /// Something did not happen in time.
    #[error("{what} did not happen within {} s", limit.as_secs_f64())]
    Deadline {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
    },
    /// A server that `compare` started ended by itself.
    #[error("{name} ended before it was ready: {status}")]
    ServerEnded {
        /// Which server.
        name: String,
        /// How it ended.
        status: std::process::ExitStatus,
    },
}

impl Error {
    /// For `map_err`: names what was being done when the system call failed.
    pub(crate) fn io<E: Into<io::Error>>(action: impl Into<String>) -> impl FnOnce(E) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source: source.into() }
    }
}
