//! What an operator decides about sessions and actors.

use std::time::Duration;

use towncrier_core::rooms::{Over, Policy, Rate, Slow};
use towncrier_telemetry::spans::Tracer;
use towncrier_wire::Selectors;

/// How often each worker's wheel turns.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// The settings of a hub's actors.
#[derive(Debug, Clone)]
pub struct Options {
    /// This node's id, as clients and administrators see it.
    pub node: String,
    /// The hub's version, as administrators see it.
    pub version: String,
    /// A session that was sent nothing for so long gets a heartbeat.
    pub heartbeat: Duration,
    /// The middle of the reconnection time that clients are given.
    pub retry: Duration,
    /// After about so long a stream is ended, so that clients spread anew over the nodes; zero for never.
    pub max_lifetime: Duration,
    /// How many streams a second end when the node stops, so that other nodes can bear it.
    pub ends_per_second: u32,
    /// But all of them within this time.
    pub end_window: Duration,
    /// Most direct events that wait in one session's queue.
    pub direct_events_max: usize,
    /// How slow sessions are treated.
    pub policies: Policies,
    /// Topic prefixes whose events are counted by themselves; the longest that fits holds.
    pub counted_namespaces: Vec<String>,
    /// Most bytes of events that wait for one worker.
    pub worker_bytes_max: usize,
    /// Most bytes of recent events that are kept for replays.
    pub cache_bytes_max: usize,
    /// Most events of a topic that are kept for replays.
    pub cache_topic_events_max: usize,
    /// Topic prefixes with a number of their own; the longest that fits holds.
    pub cache_namespaces: Vec<(String, usize)>,
    /// Most topics of which events are kept for replays.
    pub cache_topics_max: usize,
    /// How long a topic that nobody on a worker listens to any more is still followed, in case they come back.
    pub linger: Duration,
    /// Most bytes of publishes that wait for the backplane.
    pub publish_bytes_max: usize,
    /// How long a publish may wait for it.
    pub publish_timeout: Duration,
    /// Records the spans of traced requests and events.
    pub tracer: Tracer,
}

impl Options {
    /// A reconnection time in ms, drawn from half to one and a half times the configured one, so that clients that were
    /// cut at once do not come back at once.
    #[must_use]
    pub fn draw_retry_ms(&self) -> u64 {
        let middle = u64::try_from(self.retry.as_millis()).unwrap_or(u64::MAX / 2).max(2);
        fastrand::u64(middle / 2..=middle.saturating_add(middle / 2))
    }
}

/// How slow sessions are treated, by namespace.
#[derive(Debug, Clone)]
pub struct Policies {
    /// For selectors of no namespace.
    pub fallback: Policy,
    /// Topic prefixes with a policy of their own; the longest that fits holds.
    pub namespaces: Vec<(String, Policy)>,
}

impl Policies {
    /// The policy of a session. Where its selectors fall under several, the strictest of each: it is disconnected, at the
    /// smallest bound and rate, unless all agree to conflate.
    #[must_use]
    pub fn of(&self, selectors: &Selectors) -> Policy {
        let each = selectors.iter().map(|selector| {
            let fits = |(prefix, _): &&(String, Policy)| selector.prefix().starts_with(prefix.as_str());
            let longest = self.namespaces.iter().filter(fits).max_by_key(|(prefix, _)| prefix.len());
            longest.map_or(self.fallback, |(_, policy)| *policy)
        });
        let strictest = |one: Policy, other: Policy| Policy {
            slow: if one.slow == other.slow { one.slow } else { Slow::Disconnect },
            lag_bytes: one.lag_bytes.min(other.lag_bytes),
            lag_events: one.lag_events.min(other.lag_events),
            rate: match (one.rate, other.rate) {
                (Some(one), Some(other)) => Some(Rate {
                    events_per_second: one.events_per_second.min(other.events_per_second),
                    over: if one.over == other.over { one.over } else { Over::Drop },
                }),
                (one, other) => one.or(other),
            },
        };
        each.reduce(strictest).unwrap_or(self.fallback)
    }
}
