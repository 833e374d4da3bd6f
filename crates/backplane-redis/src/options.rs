//! What a node must say about its Redis.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use towncrier_backplane::Clock;
use towncrier_core::store::Retention;
use towncrier_wire::{Partitions, Topic};

use crate::ConnectError;

/// Longest prefix, in bytes: it stands in every key and channel.
const PREFIX_BYTES_MAX: usize = 64;

/// How to reach Redis, and how much to keep there. All nodes of a hub must agree on `prefix` and `partitions`; they should
/// agree on the rest.
#[derive(Clone)]
pub struct Options {
    /// `redis://`, `rediss://`, `redis-sentinel://` or `redis-cluster://`, with user, password and database: see
    /// [`crate::address`].
    pub url: String,
    /// What all keys and channels begin with, 1 to 64 bytes without braces: hubs with different prefixes may share a Redis.
    pub prefix: String,
    /// How many partitions the topics are spread over.
    pub partitions: Partitions,
    /// For topics of no namespace.
    pub retention: Retention,
    /// Topic prefixes with a retention of their own; the longest that fits holds.
    pub namespaces: Vec<(String, Retention)>,
    /// How long an idempotency key is remembered.
    pub idempotency_age: Duration,
    /// How long a topic is remembered after its last event, at least as long as any event is kept. After that the floor of
    /// its partition rises, and older cursors have a gap.
    pub topic_age: Duration,
    /// Most topics that are remembered; those that have been silent for longest go first.
    pub topics_max: usize,
    /// How long an answer may take. A publish that takes longer may or may not have taken effect.
    pub command_timeout: Duration,
    /// How often it is checked that everything still arrives.
    pub probe_interval: Duration,
    /// Most events, and most bytes of them, that may be on their way to Redis; beyond that, publishes fail at once.
    pub publishing_max: usize,
    /// See `publishing_max`.
    pub publishing_bytes_max: usize,
    /// Most bytes of events that may wait for the node in the signals.
    pub signal_bytes_max: usize,
    /// Most bytes of messages that may wait before that. Beyond it they are dropped and read again from history.
    pub intake_bytes_max: usize,
    /// Most bytes of events that a node keeps to put them back if Redis loses its tail: what it published and what it was
    /// told of late, shared with whoever else holds them. 0 keeps none.
    pub heal_bytes: usize,
    /// How many replicas must have a publish before it is answered as stored; 0 is none.
    pub replicas: usize,
    /// How long that may take, at most half of `command_timeout`. A publish that takes longer is stored and answered as
    /// timed out.
    pub replica_timeout: Duration,
    /// The wall clock.
    pub clock: Clock,
}

impl Options {
    /// Options for a Redis and a prefix; the rest as the hub has it by default.
    #[must_use]
    pub fn new(url: impl Into<String>, prefix: impl Into<String>, partitions: Partitions) -> Self {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis());
        Self {
            url: url.into(),
            prefix: prefix.into(),
            partitions,
            retention: Retention { events: 200, age_ms: 3_600_000 },
            namespaces: Vec::new(),
            idempotency_age: Duration::from_secs(600),
            topic_age: Duration::from_secs(24 * 3600),
            topics_max: 1_000_000,
            command_timeout: Duration::from_secs(2),
            probe_interval: Duration::from_secs(1),
            publishing_max: 100_000,
            publishing_bytes_max: 256 * 1024 * 1024,
            signal_bytes_max: 64 * 1024 * 1024,
            intake_bytes_max: 64 * 1024 * 1024,
            heal_bytes: 32 * 1024 * 1024,
            replicas: 0,
            replica_timeout: Duration::from_millis(500),
            clock: Arc::new(move || u64::try_from(now()).unwrap_or(u64::MAX)),
        }
    }

    /// How much of a topic is kept.
    pub(crate) fn retention_of(&self, topic: &Topic) -> Retention {
        let fits = |own: &&(String, Retention)| topic.as_str().starts_with(&own.0);
        let longest = self.namespaces.iter().filter(fits).max_by_key(|(prefix, _)| prefix.len());
        longest.map_or(self.retention, |(_, retention)| *retention)
    }

    /// For how long a topic is remembered, in ms: never less than its events.
    pub(crate) fn topic_age_ms(&self) -> u64 {
        let ages = self.namespaces.iter().map(|(_, retention)| retention.age_ms);
        let longest = ages.fold(self.retention.age_ms, u64::max);
        millis(self.topic_age).max(longest.saturating_add(1000))
    }

    pub(crate) fn check(&self) -> Result<(), ConnectError> {
        let sound = !self.prefix.is_empty()
            && self.prefix.len() <= PREFIX_BYTES_MAX
            && !self.prefix.chars().any(|char| char.is_control() || char.is_whitespace() || "{}".contains(char));
        if sound { Ok(()) } else { Err(ConnectError::Prefix) }
    }
}

impl std::fmt::Debug for Options {
    /// Without the URL: it may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("prefix", &self.prefix)
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
