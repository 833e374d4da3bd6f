//! Every metric of the process.

use std::{
    fmt,
    sync::atomic::{AtomicI64, AtomicU64},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, LabelSetEncoder, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge,
        histogram::{self, exponential_buckets},
        info::Info,
    },
    registry::Registry,
};

use crate::{
    label::{
        Actor, AuthResult, CloseReason, Counters, DropReason, GapReason, Label, Limit, PublishResult, RefusedReason,
        ReplaySource, encode_label,
    },
    process::Process,
};

/// The content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What only ever rises.
pub type Count = Counter<u64, AtomicU64>;
/// What rises and falls.
pub type Gauge = gauge::Gauge<i64, AtomicI64>;
/// How values are distributed.
pub type Histogram = histogram::Histogram;

/// Workers past this share one series; the hub starts no more of them.
const WORKERS_MAX: usize = 64;

/// Every metric of the process; the exposed names are those of the fields behind `towncrier_`, counters with `_total`.
///
/// Each field is a handle to shared atomics, cheap to clone and to count on. On hot paths add up locally and use
/// `inc_by` once per batch: workers that count one by one on the same atomic would pass its cache line around.
#[derive(Debug)]
pub struct Metrics {
    /// Sessions that are open.
    pub sessions_open: Gauge,
    /// Sessions ever opened.
    pub sessions_opened: Count,
    /// Sessions ended, by reason.
    pub sessions_closed: Counters<CloseReason>,
    /// Publishes by result, one for each topic of a request.
    pub publishes: Counters<PublishResult>,
    /// From a publish's acceptance to the backplane's answer, in seconds.
    pub publish_seconds: Histogram,
    /// Publish bytes that wait for the backplane's answer.
    pub publish_inflight_bytes: Gauge,
    /// Events handed to sessions, live ones and replayed ones.
    pub deliveries: Count,
    /// Bytes handed to sessions' sockets or bodies.
    pub delivered_bytes: Count,
    /// Events sent to worker threads: one for each event and worker that wants it.
    pub dispatches: Count,
    /// Replays begun, by where the events came from.
    pub replays: Counters<ReplaySource>,
    /// Events replayed.
    pub replayed_events: Count,
    /// Reads of the backplane that had to wait because too many were running.
    pub replay_waits: Count,
    /// `gap` events sent, by reason.
    pub gaps: Counters<GapReason>,
    /// Events not delivered, by reason.
    pub drops: Counters<DropReason>,
    /// Sessions disconnected because they lagged.
    pub lagging: Count,
    /// Direct events that a session took into its queue.
    pub direct_sent: Count,
    /// Heartbeats sent.
    pub heartbeats: Count,
    /// Rooms: topics with members here, summed over the workers.
    pub rooms: Gauge,
    /// Cohorts, summed over the workers.
    pub cohorts: Gauge,
    /// Events that the history holds.
    pub history_events: Gauge,
    /// Bytes that the history holds.
    pub history_bytes: Gauge,
    /// Topics that the history knows.
    pub history_topics: Gauge,
    /// Connections to the backplane that commands go by, made again.
    pub backplane_reconnects: Count,
    /// Connections to the backplane that events come by, made again.
    pub backplane_relinks: Count,
    /// Partitions that were read from history for events that may have been missed.
    pub backplane_resyncs: Count,
    /// Partitions to which the nodes put back what the backplane had lost, each counted at one node.
    pub backplane_heals: Count,
    /// Events that were put back.
    pub backplane_healed_events: Count,
    /// Of these partitions, those of which sessions were told that something may be lost.
    pub backplane_heals_incomplete: Count,
    /// Losses of followed events that were found here.
    pub backplane_losses: Count,
    /// Connections refused, by reason.
    pub connections_refused: Counters<RefusedReason>,
    /// Tokens looked at, by what became of them; counted while `auth.mode` is `jwt`.
    pub auth: Counters<AuthResult>,
    /// Logins.
    pub logins: Count,
    /// Attempts to log in that failed.
    pub logins_failed: Count,
    /// Requests that hit a limit on connections or a rate.
    pub limits_hit: Counters<Limit>,
    /// Requests of trusted proxies that named no client.
    pub forwarded_malformed: Count,
    /// Long polls answered.
    pub poll_requests: Count,
    /// Sessions that the registry knows.
    pub registry_sessions: Gauge,
    /// Users that have them.
    pub registry_users: Gauge,
    /// Selectors that they have.
    pub registry_topics: Gauge,
    /// Nodes of the hub that are there, this one among them.
    pub nodes: Gauge,
    /// Answers that other nodes owed and did not give in time.
    pub nodes_unanswered: Count,
    /// Spans that the collector took.
    pub spans_exported: Count,
    /// Spans that it did not take, or for which there was no room.
    pub spans_dropped: Count,
    /// Panics and lost mailboxes, by kind of actor.
    pub actor_failures: Counters<Actor>,
    worker_queue_bytes: Family<WorkerLabel, Gauge>,
    http_requests: Family<RequestLabels, Count>,
    registry: Registry,
}

impl Metrics {
    /// Creates and registers all metrics of a hub of this version.
    #[must_use]
    pub fn new(version: &str) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process::new()));

        let own = &mut Own(registry.sub_registry_with_prefix("towncrier"));
        own.0.register("build", "The running program", Info::new([("version", version.to_owned())]));

        let publish_seconds = Histogram::new(exponential_buckets(0.000_05, 2.0, 18));
        own.0.register(
            "publish_seconds",
            "Time from a publish's acceptance to the backplane's answer, in seconds",
            publish_seconds.clone(),
        );
        let worker_queue_bytes = Family::default();
        own.0.register(
            "worker_queue_bytes",
            "Bytes of events on their way to a worker thread",
            worker_queue_bytes.clone(),
        );
        let http_requests = Family::default();
        own.0.register("http_requests", "HTTP requests answered, by route and status", http_requests.clone());

        Self {
            sessions_open: own.gauge("sessions_open", "Sessions that are open"),
            sessions_opened: own.count("sessions_opened", "Sessions ever opened"),
            sessions_closed: own.counts("sessions_closed", "Sessions ended, by reason"),
            publishes: own.counts("publishes", "Publishes by result, one for each topic of a request"),
            publish_seconds,
            publish_inflight_bytes: own
                .gauge("publish_inflight_bytes", "Publish bytes that wait for the backplane's answer"),
            deliveries: own.count("deliveries", "Events handed to sessions"),
            delivered_bytes: own.count("delivered_bytes", "Bytes handed to sessions"),
            dispatches: own.count("dispatches", "Events sent to worker threads"),
            replays: own.counts("replays", "Replays begun, by where the events came from"),
            replayed_events: own.count("replayed_events", "Events replayed"),
            replay_waits: own
                .count("replay_waits", "Reads of the backplane that had to wait because too many were running"),
            gaps: own.counts("gaps", "Gap events sent, by reason"),
            drops: own.counts("drops", "Events not delivered, by reason"),
            lagging: own.count("lagging", "Sessions disconnected because they lagged"),
            direct_sent: own.count("direct_sent", "Direct events that a session took into its queue"),
            heartbeats: own.count("heartbeats", "Heartbeats sent"),
            rooms: own.gauge("rooms", "Topics with members here, summed over the workers"),
            cohorts: own.gauge("cohorts", "Cohorts, summed over the workers"),
            history_events: own.gauge("history_events", "Events that the history holds"),
            history_bytes: own.gauge("history_bytes", "Bytes that the history holds"),
            history_topics: own.gauge("history_topics", "Topics that the history knows"),
            backplane_reconnects: own.count("backplane_reconnects", "Connections for commands that were made again"),
            backplane_relinks: own.count("backplane_relinks", "Connections for events that were made again"),
            backplane_resyncs: own
                .count("backplane_resyncs", "Partitions read from history for events that may have been missed"),
            backplane_heals: own.count("backplane_heals", "Partitions that got back what the backplane had lost"),
            backplane_healed_events: own.count("backplane_healed_events", "Events that were put back"),
            backplane_heals_incomplete: own.count(
                "backplane_heals_incomplete",
                "Partitions of which sessions were told that something may be lost",
            ),
            backplane_losses: own.count("backplane_losses", "Losses of followed events that were found"),
            connections_refused: own.counts("connections_refused", "Connections refused, by reason"),
            auth: own.counts("auth", "Tokens looked at, by what became of them"),
            logins: own.count("logins", "Logins"),
            logins_failed: own.count("logins_failed", "Attempts to log in that failed"),
            limits_hit: own.counts("limits_hit", "Requests that hit a limit, by limit"),
            forwarded_malformed: own.count("forwarded_malformed", "Requests of trusted proxies that named no client"),
            poll_requests: own.count("poll_requests", "Long polls answered"),
            registry_sessions: own.gauge("registry_sessions", "Sessions that the registry knows"),
            registry_users: own.gauge("registry_users", "Users that have sessions here"),
            registry_topics: own.gauge("registry_topics", "Selectors that sessions here have"),
            nodes: own.gauge("nodes", "Nodes of the hub that are there, this one among them"),
            nodes_unanswered: own.count("nodes_unanswered", "Answers that other nodes owed and did not give in time"),
            spans_exported: own.count("spans_exported", "Spans that the collector of traces took"),
            spans_dropped: own.count("spans_dropped", "Spans of traces that were lost: no room, or not taken"),
            actor_failures: own.counts("actor_failures", "Panics and lost mailboxes, by kind of actor"),
            worker_queue_bytes,
            http_requests,
            registry,
        }
    }

    /// The gauge of bytes on their way to the worker thread of this number. Takes a lock: resolve it once.
    #[must_use]
    pub fn worker_queue_bytes(&self, worker: usize) -> Gauge {
        self.worker_queue_bytes.get_or_create_owned(&WorkerLabel { worker: worker.min(WORKERS_MAX) as u64 })
    }

    /// The counter of requests to `route`, a pattern such as `/topics/{topic}/events` and never a path as it came in,
    /// that were answered with `status`. Takes a lock: not for the delivery path.
    #[must_use]
    pub fn http_requests(&self, route: &'static str, status: u16) -> Count {
        // Anything that is no status is the hub's own fault and must not become a series of its own.
        let status = if (100..600).contains(&status) { status } else { 500 };
        self.http_requests.get_or_create_owned(&RequestLabels { route, status })
    }

    /// All metrics as OpenMetrics text, of the type [`CONTENT_TYPE`].
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(16 << 10);
        text::encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }
}

/// Registers the hub's own metrics.
struct Own<'r>(&'r mut Registry);

impl Own<'_> {
    fn count(&mut self, name: &str, help: &str) -> Count {
        let count = Count::default();
        self.0.register(name, help, count.clone());
        count
    }

    fn gauge(&mut self, name: &str, help: &str) -> Gauge {
        let gauge = Gauge::default();
        self.0.register(name, help, gauge.clone());
        gauge
    }

    fn counts<L: Label>(&mut self, name: &str, help: &str) -> Counters<L> {
        let (counters, family) = Counters::new();
        self.0.register(name, help, family);
        counters
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct WorkerLabel {
    worker: u64,
}

impl EncodeLabelSet for WorkerLabel {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        encode_label(encoder, "worker", &self.worker)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct RequestLabels {
    route: &'static str,
    status: u16,
}

impl EncodeLabelSet for RequestLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        encode_label(encoder, "route", &self.route)?;
        encode_label(encoder, "status", &u64::from(self.status))
    }
}

#[cfg(test)]
mod tests;
