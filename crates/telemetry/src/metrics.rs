//! Every metric of the process.

use std::{
    fmt,
    sync::atomic::{AtomicI64, AtomicU64},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeMetric, LabelSetEncoder, text},
    metrics::{TypedMetric, counter::Counter, family::Family, gauge, info::Info},
    registry::Registry,
};

use crate::{
    histogram::{AGES, COARSE_TIMES, Histogram, SIZES, TIMES},
    label::{
        Actor, AuthResult, CloseReason, Counters, DropReason, Each, GapReason, Gauges, Histograms, Label, Limit,
        Operation, Part, PublishResult, RefusedReason, ReplaySource, encode_label,
    },
    namespace::{Families, Namespaces},
    process::Process,
};

/// The content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What only ever rises.
pub type Count = Counter<u64, AtomicU64>;
/// What rises and falls.
pub type Gauge = gauge::Gauge<i64, AtomicI64>;

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
    /// Sessions that had something to read for a second and more, and have not read it.
    pub sessions_lagging: Gauge,
    /// Publishes by result, one for each topic of a request.
    pub publishes: Counters<PublishResult>,
    /// From a publish's acceptance to the backplane's answer, in seconds.
    pub publish_seconds: Histogram,
    /// Publish bytes that wait for the backplane's answer.
    pub publish_inflight_bytes: Gauge,
    /// Bytes of data of events that were stored.
    pub published_bytes: Count,
    /// Events handed to sessions live; those of a replay are `replayed_events`.
    pub deliveries: Count,
    /// Bytes handed to sessions' connections, whatever they are of.
    pub delivered_bytes: Count,
    /// From a node's taking an event to its being handed to a session's connection, in seconds; of samples.
    pub delivery_seconds: Histogram,
    /// From the time in an event's id to its being handed to a session's connection, in seconds by the wall clocks of the two
    /// nodes; of the same samples.
    pub event_age_seconds: Histogram,
    /// From a worker's taking up an event until all its sessions had a turn to send it, in seconds; of samples.
    pub fanout_seconds: Histogram,
    /// Events sent to worker threads: one for each event and worker that wants it.
    pub dispatches: Count,
    /// Bytes of frames that some session has yet to take, summed over the workers.
    pub outbox_bytes: Gauge,
    /// Replays that have come to their end, by where the events came from: the backplane, if any of them did.
    pub replays: Counters<ReplaySource>,
    /// From a session's first read of history to its being live, in seconds.
    pub replay_seconds: Histograms<ReplaySource>,
    /// How many events a replay had.
    pub replay_events: Histograms<ReplaySource>,
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
    /// What the backplane took to answer, in seconds; what failed counts as well.
    pub backplane_seconds: Histograms<Operation>,
    /// Selectors that this node follows at the backplane.
    pub backplane_selectors: Gauge,
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
    /// Messages that wait in mailboxes, by kind of actor.
    pub mailbox_messages: Gauges<Actor>,
    /// How late the ticks of worker threads come, ten a second each, in seconds.
    pub worker_delay_seconds: Histogram,
    /// What stands still now: threads and actors.
    pub stalled: Gauges<Part>,
    /// How often something was found to.
    pub stalls: Counters<Part>,
    worker_queue_bytes: Family<WorkerLabel, Gauge>,
    worker_outbox_bytes_max: Family<WorkerLabel, Gauge>,
    http_requests: Family<RequestLabels, Count>,
    http_request_seconds: Family<RouteLabel, Histogram, fn() -> Histogram>,
    namespaces: Families,
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

        let worker_queue_bytes = Family::default();
        own.0.register(
            "worker_queue_bytes",
            "Bytes of events on their way to a worker thread",
            worker_queue_bytes.clone(),
        );
        let worker_outbox_bytes_max = Family::default();
        own.0.register(
            "worker_outbox_bytes_max",
            "Bytes in the fullest outbox of a worker thread: how far its slowest session is behind",
            worker_outbox_bytes_max.clone(),
        );
        let http_requests = Family::default();
        own.0.register("http_requests", "HTTP requests answered, by route and status", http_requests.clone());
        let coarse: fn() -> Histogram = || Histogram::new(COARSE_TIMES);
        let http_request_seconds = Family::new_with_constructor(coarse);
        own.0.register(
            "http_request_seconds",
            "Time from a request's head to its answer's, in seconds, by route; not of streams and polls",
            http_request_seconds.clone(),
        );
        let namespaces = Families::register(own.0);

        Self {
            sessions_open: own.gauge("sessions_open", "Sessions that are open"),
            sessions_opened: own.count("sessions_opened", "Sessions ever opened"),
            sessions_closed: own.counts("sessions_closed", "Sessions ended, by reason"),
            sessions_lagging: own
                .gauge("sessions_lagging", "Sessions that have left something unread for a second and more"),
            publishes: own.counts("publishes", "Publishes by result, one for each topic of a request"),
            publish_seconds: own.times(
                "publish_seconds",
                "Time from a publish's acceptance to the backplane's answer, in seconds",
            ),
            publish_inflight_bytes: own
                .gauge("publish_inflight_bytes", "Publish bytes that wait for the backplane's answer"),
            published_bytes: own.count("published_bytes", "Bytes of data of events that were stored"),
            deliveries: own.count("deliveries", "Events handed to sessions live"),
            delivered_bytes: own.count("delivered_bytes", "Bytes handed to the connections of sessions"),
            delivery_seconds: own.times(
                "delivery_seconds",
                "Time from a node's taking an event to its being handed to a session's connection, in seconds, of samples",
            ),
            event_age_seconds: own.histogram(
                "event_age_seconds",
                "Time from that in an event's id to its being handed to a session's connection, in seconds, of samples",
                AGES,
            ),
            fanout_seconds: own.times(
                "fanout_seconds",
                "Time in which a worker hands an event to all its sessions, in seconds, of samples",
            ),
            dispatches: own.count("dispatches", "Events sent to worker threads"),
            outbox_bytes: own.gauge("outbox_bytes", "Bytes of frames that some session has yet to take"),
            replays: own.counts("replays", "Replays that have ended, by where the events came from"),
            replay_seconds: own.histograms(
                "replay_seconds",
                "Time from a session's first read of history to its being live, in seconds",
                || Histogram::new(TIMES),
            ),
            replay_events: own.histograms("replay_events", "Events of a replay", || Histogram::new(SIZES)),
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
            backplane_seconds: own.histograms(
                "backplane_seconds",
                "Time that the backplane takes to answer, in seconds, by what it was asked for",
                || Histogram::new(TIMES),
            ),
            backplane_selectors: own.gauge("backplane_selectors", "Selectors that are followed at the backplane"),
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
            mailbox_messages: own.gauges("mailbox_messages", "Messages that wait in mailboxes, by kind of actor"),
            worker_delay_seconds: own.times(
                "worker_delay_seconds",
                "How late the ticks of worker threads come, in seconds",
            ),
            stalled: own.gauges("stalled", "Threads and actors that stand still"),
            stalls: own.counts("stalls", "Times that a thread or an actor was found to stand still"),
            worker_queue_bytes,
            worker_outbox_bytes_max,
            http_requests,
            http_request_seconds,
            namespaces,
            registry,
        }
    }

    /// The gauge of bytes on their way to the worker thread of this number. Takes a lock: resolve it once.
    #[must_use]
    pub fn worker_queue_bytes(&self, worker: usize) -> Gauge {
        self.worker_queue_bytes.get_or_create_owned(&WorkerLabel { worker: worker.min(WORKERS_MAX) as u64 })
    }

    /// The gauge of bytes in the fullest outbox of the worker thread of this number. Takes a lock: resolve it once.
    #[must_use]
    pub fn worker_outbox_bytes_max(&self, worker: usize) -> Gauge {
        self.worker_outbox_bytes_max.get_or_create_owned(&WorkerLabel { worker: worker.min(WORKERS_MAX) as u64 })
    }

    /// Counters for these topic prefixes, which come from the configuration and never from a client.
    #[must_use]
    pub fn namespaces(&self, prefixes: &[String]) -> Namespaces {
        self.namespaces.resolve(prefixes)
    }

    /// How long requests to `route`, a pattern, take. Takes a lock: not for the delivery path.
    #[must_use]
    pub fn http_request_seconds(&self, route: &'static str) -> Histogram {
        self.http_request_seconds.get_or_create_owned(&RouteLabel { route })
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

    fn histogram(&mut self, name: &str, help: &str, bounds: &'static [f64]) -> Histogram {
        let histogram = Histogram::new(bounds);
        self.0.register(name, help, histogram.clone());
        histogram
    }

    fn times(&mut self, name: &str, help: &str) -> Histogram {
        self.histogram(name, help, TIMES)
    }

    fn counts<L: Label>(&mut self, name: &str, help: &str) -> Counters<L> {
        self.each(name, help, Counter::default)
    }

    fn gauges<L: Label>(&mut self, name: &str, help: &str) -> Gauges<L> {
        self.each(name, help, Gauge::default)
    }

    fn histograms<L: Label>(&mut self, name: &str, help: &str, make: fn() -> Histogram) -> Histograms<L> {
        self.each(name, help, make)
    }

    fn each<L: Label, M>(&mut self, name: &str, help: &str, make: fn() -> M) -> Each<L, M>
    where
        M: EncodeMetric + TypedMetric + Clone + fmt::Debug + Send + Sync + 'static,
    {
        let (each, family) = Each::new(make);
        self.0.register(name, help, family);
        each
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
struct RouteLabel {
    route: &'static str,
}

impl EncodeLabelSet for RouteLabel {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        encode_label(encoder, "route", &self.route)
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
