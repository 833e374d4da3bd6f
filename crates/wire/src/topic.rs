//! Topics, and the partitions that they fall into.

use std::{borrow::Borrow, fmt, sync::Arc};

use crate::{
    limits,
    text::{self, TextError},
};

/// Why a topic was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Empty, too long, or with control characters.
    #[error(transparent)]
    Text(#[from] TextError),
    /// `*` belongs to selectors, so that no topic can be mistaken for a pattern.
    #[error("must not contain '*'")]
    Wildcard,
}

/// The name of a stream of events: segments divided by `/`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Arc<str>);

impl Topic {
    /// Takes a topic from outside.
    ///
    /// # Errors
    /// If it is empty, longer than [`limits::TOPIC_BYTES_MAX`], or has a control character or a `*`.
    pub fn new(text: &str) -> Result<Self, TopicError> {
        text::check(text, limits::TOPIC_BYTES_MAX)?;
        if text.contains('*') {
            return Err(TopicError::Wildcard);
        }
        Ok(Self(text.into()))
    }

    /// The topic as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of a partition, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(u8);

impl Partition {
    /// As an index into arrays of [`limits::PARTITIONS_MAX`].
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// How many partitions a hub has: 1 to [`limits::PARTITIONS_MAX`]. All nodes of a cluster have the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partitions(u8);

impl Partitions {
    /// One partition: every event id is a whole cursor.
    pub const ONE: Self = Self(1);

    /// Checks a number of partitions; `None` outside of 1 to [`limits::PARTITIONS_MAX`].
    #[must_use]
    pub fn new(count: usize) -> Option<Self> {
        (1..=limits::PARTITIONS_MAX).contains(&count).then_some(Self(count as u8))
    }

    /// The number.
    #[must_use]
    pub fn count(self) -> usize {
        usize::from(self.0)
    }

    /// Each partition in turn.
    pub fn iter(self) -> impl Iterator<Item = Partition> {
        (0..self.0).map(Partition)
    }

    /// The partition of a topic: its FNV-1a hash modulo the number of partitions. Nodes of any version must agree on it.
    #[must_use]
    pub fn of(self, topic: &Topic) -> Partition {
        if self.0 == 1 {
            return Partition(0);
        }
        let hash = topic
            .as_str()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        Partition((hash % u64::from(self.0)) as u8)
    }
}
