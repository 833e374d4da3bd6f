//! What all subscribers together have received: the counters, the faults and the latencies.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::sequence::Verdict;
use super::sse::Message;
use super::track::Track;
use crate::stats;

/// Everything that went wrong. A run is good only if all of it is zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// Deliveries that never came, and of which no `gap` told.
    pub lost: u64,
    /// Deliveries that came again.
    pub duplicated: u64,
    /// Deliveries that came after a later one.
    pub reordered: u64,
    /// Events of a topic that the subscriber had not asked for.
    pub misrouted: u64,
    /// Events whose data was not what had been published.
    pub damaged: u64,
    /// `gap` events: losses that the hub admitted to.
    pub gaps: u64,
    /// Streams that ended, with or without a `close` event.
    pub ended: u64,
    /// Publishes that were answered by anything but a 2xx status.
    pub refused: u64,
}

impl Faults {
    /// Whether nothing went wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds those of another load.
    pub(crate) fn add(&mut self, other: Self) {
        let Self { lost, duplicated, reordered, misrouted, damaged, gaps, ended, refused } = other;
        self.lost += lost;
        self.duplicated += duplicated;
        self.reordered += reordered;
        self.misrouted += misrouted;
        self.damaged += damaged;
        self.gaps += gaps;
        self.ended += ended;
        self.refused += refused;
    }

    /// What has come since `before`, which counts a late event as lost where this no longer does.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            lost: self.lost.saturating_sub(before.lost),
            duplicated: self.duplicated - before.duplicated,
            reordered: self.reordered - before.reordered,
            misrouted: self.misrouted - before.misrouted,
            damaged: self.damaged - before.damaged,
            gaps: self.gaps - before.gaps,
            ended: self.ended - before.ended,
            refused: self.refused - before.refused,
        }
    }
}

/// What subscribers received. Those that are to be told apart have one each.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) deliveries: u64,
    pub(crate) bytes: u64,
    pub(crate) heartbeats: u64,
    /// Streams that have begun.
    pub(crate) connected: usize,
    /// Connections that ended before that.
    pub(crate) unopened: u64,
    pub(crate) faults: Faults,
    /// The first thing that went wrong with a connection, in words.
    pub(crate) first_failure: Option<(usize, String)>,
    /// From publish to receipt in nanoseconds, of events due at or after `measure_from_ns`.
    pub(crate) latency: Histogram<u64>,
    pub(crate) measure_from_ns: u64,
    /// From the beginning of a connection to that of its stream, in nanoseconds.
    pub(crate) connecting: Histogram<u64>,
    /// From `away_since_ns` to when a subscriber had all that it had missed, in nanoseconds.
    pub(crate) catching_up: Histogram<u64>,
    pub(crate) away_since_ns: u64,
    /// Bytes of data that each event must have.
    pub(crate) size: usize,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            deliveries: 0,
            bytes: 0,
            heartbeats: 0,
            connected: 0,
            unopened: 0,
            faults: Faults::default(),
            first_failure: None,
            latency: stats::histogram(),
            measure_from_ns: u64::MAX,
            connecting: stats::histogram(),
            catching_up: stats::histogram(),
            away_since_ns: 0,
            size: 0,
        }
    }

    /// Takes in what a subscriber of `tracks` received at `now_ns`; how many of them have reached their goal by that.
    #[inline]
    pub(crate) fn take(&mut self, message: Message, tracks: &mut [Track], now_ns: u64) -> u32 {
        let stamp = match message {
            Message::Event(stamp) => stamp,
            Message::Heartbeat => {
                self.heartbeats += 1;
                return 0;
            }
            Message::Gap => {
                self.faults.gaps += 1;
                tracks.iter_mut().for_each(Track::excuse);
                return 0;
            }
            // What begins and ends the stream itself is what counts.
            Message::Connected | Message::Close => return 0,
            Message::Damaged => {
                self.faults.damaged += 1;
                return 0;
            }
        };
        let Some(track) = tracks.iter_mut().find(|track| track.topic == stamp.topic) else {
            self.faults.misrouted += 1;
            return 0;
        };
        self.deliveries += 1;
        self.faults.damaged += u64::from(stamp.size != self.size);
        match track.observe(stamp.sequence) {
            Verdict::InOrder => {}
            Verdict::Ahead { missing } => self.faults.lost += missing,
            Verdict::Late => {
                self.faults.lost -= 1;
                self.faults.reordered += 1;
            }
            Verdict::Duplicate => self.faults.duplicated += 1,
        }
        if stamp.due_ns >= self.measure_from_ns {
            self.latency.saturating_record(now_ns.saturating_sub(stamp.due_ns));
        }
        u32::from(track.arrives())
    }

    /// Notes that the stream of a subscriber began.
    pub(crate) fn began(&mut self, took_ns: u64) {
        self.connected += 1;
        self.connecting.saturating_record(took_ns);
    }

    /// Notes that a subscriber has all that it had missed.
    pub(crate) fn caught_up(&mut self, now_ns: u64) {
        self.catching_up.saturating_record(now_ns.saturating_sub(self.away_since_ns));
    }

    /// Notes that the stream of subscriber `index` ended.
    pub(crate) fn ended(&mut self, index: usize, reason: String) {
        self.faults.ended += 1;
        self.first_failure.get_or_insert((index, reason));
    }
}
