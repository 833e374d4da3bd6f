//! What subscribers and publishers write down while it happens; the verdict reads nothing else.

use std::{
    fmt,
    time::{Duration, Instant, SystemTime},
};

use crate::ids::{Cursor, Id};

/// An event by what its publisher called it. Its data begins with this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Which publisher.
    pub publisher: u16,
    /// Its how manieth event.
    pub number: u32,
    /// The topic, by its place in [`TOPICS`](crate::traffic::TOPICS).
    pub topic: u16,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.publisher, self.number, self.topic)
    }
}

impl Key {
    /// Reads it from the beginning of an event's data.
    #[must_use]
    pub fn parse(data: &str) -> Option<Self> {
        let mut words = data.split(' ');
        let publisher = words.next()?.parse().ok()?;
        let number = words.next()?.parse().ok()?;
        let topic = words.next()?.parse().ok()?;
        Some(Self { publisher, number, topic })
    }
}

/// Time since the run began.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Instant,
    /// The same moment by the clock that ids are made from.
    since_1970: Duration,
}

impl Clock {
    /// It begins now.
    #[must_use]
    pub fn start() -> Self {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self::begun_at(since_1970.expect("a clock that is set"))
    }

    /// It begins now, and the time by the clock that ids are made from is given.
    #[must_use]
    pub fn begun_at(since_1970: Duration) -> Self {
        Self { began: Instant::now(), since_1970 }
    }

    /// How long ago it began.
    #[must_use]
    pub fn now(self) -> Duration {
        self.began.elapsed()
    }

    /// The first id that can be given then.
    #[must_use]
    pub fn id_at(self, time: Duration) -> Id {
        Id::first_of((self.since_1970 + time).as_millis())
    }
}

/// Why a `gap` was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Older than history holds.
    Expired,
    /// The backplane lost it.
    BackplaneLost,
    /// The cursor was of no use.
    UnknownCursor,
    /// A slow session's policy.
    Dropped,
}

impl Reason {
    /// Reads the name that the protocol gives it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "expired" => Self::Expired,
            "backplane_lost" => Self::BackplaneLost,
            "unknown_cursor" => Self::UnknownCursor,
            "dropped" => Self::Dropped,
            _ => return None,
        })
    }
}

/// One thing that a subscriber saw.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// A stream began. `resumed` is what it said; `asked` is the cursor that it was asked with.
    Connected {
        /// Which node.
        node: usize,
        /// The cursor that was sent.
        asked: Option<Cursor>,
        /// The cursor that came back.
        cursor: Cursor,
        /// Whether the cursor was taken up.
        resumed: bool,
    },
    /// An event.
    Event {
        /// Which.
        key: Key,
        /// The cursor that came with it.
        cursor: Cursor,
    },
    /// A heartbeat with its checkpoint.
    Checkpoint(Cursor),
    /// A gap.
    Gap {
        /// Why.
        reason: Reason,
        /// The topics that it names, if it names any.
        topics: Vec<u16>,
        /// The cursor that came with it.
        cursor: Option<Cursor>,
    },
    /// What the hub said before it ended the stream.
    Close(String),
    /// The stream was over, or could not be opened.
    Ended(String),
    /// Something that the protocol does not know.
    Nonsense(String),
}

/// What a subscriber saw, and when.
#[derive(Clone, Debug)]
pub struct Line {
    /// Since the run began.
    pub at: Duration,
    /// What.
    pub seen: Seen,
}

/// A subscriber's life.
#[derive(Clone, Debug)]
pub struct Journal {
    /// Its number.
    pub subscriber: usize,
    /// What it asked for.
    pub selectors: Vec<String>,
    /// Everything that it saw, in order.
    pub lines: Vec<Line>,
}

/// A publish, from its first attempt on.
#[derive(Clone, Debug)]
pub struct Publish {
    /// What was published.
    pub key: Key,
    /// When it was first sent.
    pub sent: Duration,
    /// When it was acknowledged, and with which id.
    pub acked: Option<(Duration, Id)>,
    /// How often it was sent.
    pub attempts: u32,
    /// Whether it had an idempotency key, and so was repeated.
    pub keyed: bool,
}
