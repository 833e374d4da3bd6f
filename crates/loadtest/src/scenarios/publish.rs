//! `publish`: how many publishes a second a server acknowledges, and how long each takes. A few subscribers check that what
//! was acknowledged also arrived.

use serde::Serialize;

use crate::Error;
use crate::args::{Audience, PublishArgs};
use crate::client::{Client, Faults, Listeners, Needs};
use crate::report::{Document, Report, Table, number};
use crate::stats::Quantiles;

/// What publishing came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PublishReport {
    /// Connections that checked.
    pub subscribers: usize,
    /// Topics that were published to.
    pub topics: usize,
    /// Events per second asked for; absent where an answer asked for the next.
    pub rate: Option<f64>,
    /// Bytes of data per event.
    pub size: usize,
    /// Connections that published.
    pub publishers: u16,
    /// Unanswered publishes on each.
    pub pipeline: u16,
    /// Publishes per second.
    pub publishes_per_s: f64,
    /// Publishes in all, and those acknowledged.
    pub published: u64,
    /// Those of them that were acknowledged.
    pub acknowledged: u64,
    /// From a request to its answer.
    pub answer: Option<Quantiles>,
    /// From publish to receipt.
    pub latency: Option<Quantiles>,
    /// The server's CPU per publish in microseconds, deliveries included, if its process was named.
    pub us_per_publish: Option<f64>,
    /// Cores that the server used.
    pub server_cores: Option<f64>,
    /// Connections that the server closed after an answer, as it may, so that they were made again.
    pub publisher_reconnects: u64,
    /// Cores that the client used.
    pub client_cores: f64,
    /// Whether the client was so busy that the figures may be its own.
    pub client_was_bottleneck: bool,
    /// What went wrong.
    pub faults: Faults,
    /// In words.
    pub problem: Option<String>,
}

/// Connects and publishes; see [`PublishArgs`].
///
/// # Errors
/// As [`fanout`](crate::fanout).
pub fn publish(args: &PublishArgs) -> Result<PublishReport, Error> {
    let audience = Audience { subscribers: args.subscribers, topics: args.topics, topics_each: 1 };
    let mut client = Client::connect(&args.target, audience, Needs::default())?;
    let outcome = client.publish(args.rate.unwrap_or(f64::INFINITY), &args.traffic, Listeners::Subscribers)?;
    let seconds = outcome.window.as_secs_f64().max(f64::MIN_POSITIVE);
    let publishes = (outcome.publishes as f64).max(1.0);
    Ok(PublishReport {
        subscribers: args.subscribers,
        topics: args.topics,
        rate: args.rate,
        size: args.traffic.size,
        publishers: args.traffic.publishers,
        pipeline: args.traffic.pipeline,
        publishes_per_s: outcome.publishes as f64 / seconds,
        published: outcome.published,
        acknowledged: outcome.acknowledged,
        answer: outcome.answers,
        latency: outcome.latency,
        us_per_publish: outcome.server.map(|server| server.cores * seconds * 1e6 / publishes),
        server_cores: outcome.server.map(|server| server.cores),
        publisher_reconnects: outcome.reconnects,
        client_cores: outcome.client_cores,
        client_was_bottleneck: outcome.client_was_busy(),
        faults: outcome.faults,
        problem: outcome.problem,
    })
}

impl Report for PublishReport {
    fn passed(&self) -> bool {
        self.faults.is_empty() && self.acknowledged > 0
    }

    fn document(&self) -> Document {
        let Self { topics, size, publishers, pipeline, .. } = self;
        let pace = self.rate.map_or_else(|| "as fast as answered".to_owned(), |rate| format!("{rate} a second"));
        let mut document = Document::new(format!(
            "Publishing {size} B to {topics} topics over {publishers} connections, {pipeline} unanswered on each, {pace}"
        ));
        let mut table = Table::default();
        table
            .row([&"", &""])
            .row([&"publishes/s", &format!("{:.0}", self.publishes_per_s)])
            .row([&"server, CPU µs per publish", &number(self.us_per_publish, 1)])
            .row([&"server, cores", &number(self.server_cores, 2)])
            .row([&"publishing connections made again", &self.publisher_reconnects])
            .row([&"client, cores", &format!("{:.2}", self.client_cores)]);
        document
            .table(table)
            .table(Quantiles::table(&[("publish to answer", self.answer), ("publish to receipt", self.latency)]))
            .client(self.client_cores, self.client_was_bottleneck)
            .faults(&self.faults, self.problem.as_deref());
        document
    }
}
