//! `fanout`: a steady rate of events to many subscribers; checks and times every delivery.

use serde::Serialize;

use crate::Error;
use crate::args::FanoutArgs;
use crate::client::{Client, Faults, Listeners, Needs, Outcome};
use crate::report::{Document, Report, Table};
use crate::stats::{Quantiles, ServerCpu};

/// What one load on one server came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FanoutReport {
    /// Connections held.
    pub subscribers: usize,
    /// Topics that they were spread over.
    pub topics: usize,
    /// Topics of each.
    pub topics_each: u16,
    /// Events per second asked for.
    pub rate: f64,
    /// Bytes of data per event.
    pub size: usize,
    /// Length of the measured window in seconds.
    pub window_s: f64,
    /// Events that the schedule held, warm-up included.
    pub scheduled: u64,
    /// Events published, warm-up included; fewer than scheduled if the server could not keep up.
    pub published: u64,
    /// Publishes answered by a 2xx status.
    pub acknowledged: u64,
    /// Deliveries received in the window.
    pub deliveries: u64,
    /// Deliveries received per second.
    pub deliveries_per_s: f64,
    /// Megabytes (10^6) received per second, HTTP framing included.
    pub megabytes_per_s: f64,
    /// Bytes received per delivery, likewise.
    pub bytes_per_delivery: f64,
    /// Publishes in the window per second.
    pub publishes_per_s: f64,
    /// From when an event was due to its receipt by a subscriber, for events due in the window; absent if none came.
    pub latency: Option<Quantiles>,
    /// From a publish request to its answer.
    pub publish_answer: Option<Quantiles>,
    /// The longest that a publish went out after it was due, in milliseconds: the client's own or the server's slowness.
    pub publish_late_ms_max: f64,
    /// The server's CPU in the window, if its process was named.
    pub server: Option<ServerCpu>,
    /// Connections that the server closed after an answer, as it may, so that they were made again.
    pub publisher_reconnects: u64,
    /// Cores that the client used.
    pub client_cores: f64,
    /// Whether the client was so busy that the figures may be its own.
    pub client_was_bottleneck: bool,
    /// What went wrong.
    pub faults: Faults,
    /// The first thing that went wrong with a connection or publish, in words.
    pub problem: Option<String>,
}

/// Connects, publishes and receives; see [`FanoutArgs`].
///
/// # Errors
/// If the server refuses a subscriber, breaks a publishing connection or is not on loopback. Wrong deliveries are no
/// error but counted in [`FanoutReport::faults`].
pub fn fanout(args: &FanoutArgs) -> Result<FanoutReport, Error> {
    let mut client = Client::connect(&args.target, args.audience, Needs::default())?;
    let outcome = client.publish(args.rate, &args.traffic, Listeners::Subscribers)?;
    Ok(FanoutReport::new(args, outcome))
}

impl FanoutReport {
    /// Whether the server took events as fast as they were due: all but one, or 1 in 100, of them in time.
    #[must_use]
    pub fn schedule_was_kept(&self) -> bool {
        let (due, published) = (self.rate * self.window_s, self.publishes_per_s * self.window_s);
        self.published == self.scheduled && published + 1.0 >= due * 0.99
    }

    fn new(args: &FanoutArgs, outcome: Outcome) -> Self {
        let window_s = outcome.window.as_secs_f64();
        Self {
            subscribers: args.audience.subscribers,
            topics: args.audience.topics,
            topics_each: args.audience.topics_each,
            rate: args.rate,
            size: args.traffic.size,
            window_s,
            scheduled: outcome.scheduled,
            published: outcome.published,
            acknowledged: outcome.acknowledged,
            deliveries: outcome.deliveries,
            deliveries_per_s: outcome.deliveries as f64 / window_s,
            megabytes_per_s: outcome.bytes as f64 / 1e6 / window_s,
            bytes_per_delivery: outcome.bytes as f64 / (outcome.deliveries as f64).max(1.0),
            publishes_per_s: outcome.publishes as f64 / window_s,
            latency: outcome.latency,
            publish_answer: outcome.answers,
            publish_late_ms_max: outcome.lateness.as_secs_f64() * 1e3,
            server: outcome.server,
            publisher_reconnects: outcome.reconnects,
            client_cores: outcome.client_cores,
            client_was_bottleneck: outcome.client_was_busy(),
            faults: outcome.faults,
            problem: outcome.problem,
        }
    }
}

impl Report for FanoutReport {
    fn passed(&self) -> bool {
        self.faults.is_empty() && self.published > 0
    }
    fn document(&self) -> Document {
        let mut document = Document::new(format!(
            "{} subscribers, {} topics, {} events/s of {} B, {:.1} s",
            self.subscribers, self.topics, self.rate, self.size, self.window_s
        ));
        if self.topics_each > 1 {
            document.text(format!("{} topics for each subscriber, no two with the same", self.topics_each));
        }
        let one = |value: f64| format!("{value:.1}");
        let mut table = Table::default();
        table
            .row([&"", &""])
            .row([&"deliveries/s", &format!("{:.0}", self.deliveries_per_s)])
            .row([&"publishes/s", &one(self.publishes_per_s)])
            .row([&"MB/s", &one(self.megabytes_per_s)])
            .row([&"bytes per delivery", &one(self.bytes_per_delivery)])
            .row([&"publishing connections made again", &self.publisher_reconnects])
            .row([&"client, cores", &format!("{:.2}", self.client_cores)]);
        if let Some(server) = self.server {
            server.rows(&mut table);
        }
        document.table(table).table(Quantiles::table(&[
            ("publish to receipt", self.latency),
            ("publish to answer", self.publish_answer),
        ]));
        if !self.schedule_was_kept() {
            let (rate, late) = (self.publishes_per_s, self.publish_late_ms_max);
            document.failure(format!("The schedule was not kept: {rate:.1} publishes/s, up to {late:.0} ms late."));
        }
        document.client(self.client_cores, self.client_was_bottleneck).faults(&self.faults, self.problem.as_deref());
        document
    }
}
