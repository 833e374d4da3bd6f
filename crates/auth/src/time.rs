//! Points in time as tokens have them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::limits::UNIX_TIME_MAX;

/// Whole seconds since 1970, at most [`UNIX_TIME_MAX`]. What needs the time gets it as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(u64);

impl UnixTime {
    /// A point in time; later ones than the last become the last.
    #[must_use]
    pub fn from_secs(secs: u64) -> Self {
        Self(secs.min(UNIX_TIME_MAX))
    }

    /// The system's time; 1970 if its clock is before it.
    #[must_use]
    pub fn now() -> Self {
        Self::from_secs(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }

    /// The number of seconds.
    #[must_use]
    pub fn as_secs(self) -> u64 {
        self.0
    }

    /// Later by whole seconds of a duration, but not later than the last.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self::from_secs(self.0.saturating_add(duration.as_secs()))
    }

    /// How long it is since another; nothing if that is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}
