//! Event ids: hybrid logical clock values.

use std::{fmt, str::FromStr};

use crate::limits::{ID_MS_MAX, ID_SEQ_MAX};

const SEQ_BITS: u32 = ID_SEQ_MAX.count_ones();

/// Not an event id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an event id such as 1795161600123-0")]
pub struct EventIdError;

/// `ms-seq`: the wall clock's milliseconds since 1970, or the last id's where the clock stands still or goes back, and a
/// sequence number within that millisecond. Strictly increasing within a partition. Packed so that the order of the
/// numbers is the order of the ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct EventId(u64);

impl EventId {
    /// Before every event.
    pub const ZERO: Self = Self(0);

    /// After every event.
    pub const MAX: Self = Self(ID_MS_MAX << SEQ_BITS | ID_SEQ_MAX);

    /// An id of its parts; `None` beyond [`ID_MS_MAX`] or [`ID_SEQ_MAX`].
    #[must_use]
    pub const fn new(ms: u64, seq: u64) -> Option<Self> {
        if ms > ID_MS_MAX || seq > ID_SEQ_MAX {
            return None;
        }
        Some(Self(ms << SEQ_BITS | seq))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.0 >> SEQ_BITS
    }

    /// The sequence number within the millisecond.
    #[must_use]
    pub const fn seq(self) -> u64 {
        self.0 & ID_SEQ_MAX
    }

    /// The next event's id at wall clock `now_ms`: above this one, whatever the clock does, unless this is
    /// [`EventId::MAX`].
    #[must_use]
    pub fn next(self, now_ms: u64) -> Self {
        let now = Self(now_ms.min(ID_MS_MAX) << SEQ_BITS);
        now.max(self.successor())
    }

    /// The smallest id above this one; [`EventId::MAX`] has none and stays. A full sequence runs over into the
    /// millisecond.
    #[must_use]
    pub fn successor(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The largest id below this one; [`EventId::ZERO`] has none and stays.
    #[must_use]
    pub fn predecessor(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms(), self.seq())
    }
}

impl FromStr for EventId {
    type Err = EventIdError;

    /// Takes just the form that [`fmt::Display`] writes: no sign, no leading zero, nothing around it.
    fn from_str(text: &str) -> Result<Self, EventIdError> {
        let (ms, seq) = text.split_once('-').ok_or(EventIdError)?;
        let number = |digits: &str| {
            let canonical = digits == "0" || !digits.starts_with('0');
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            if canonical && plain { digits.parse().ok() } else { None }
        };
        number(ms).zip(number(seq)).and_then(|(ms, seq)| Self::new(ms, seq)).ok_or(EventIdError)
    }
}
