//! `topics`: whether a delivery costs more when the same subscribers are spread over more topics.
//!
//! With the number of deliveries fixed, more topics mean more publishes, and those cost something too. So each count is
//! measured twice: once as it is, and once with the same publishes to topics that nobody hears. The difference is what
//! the deliveries alone cost.

use serde::Serialize;

use super::require_pid;
use crate::Error;
use crate::args::{Audience, TopicsArgs};
use crate::client::{Client, Faults, Listeners, Needs};
use crate::report::{Axis, Document, Lines, Report, Table, number};

/// Topics of one subscriber at most: as many selectors as a hub takes from one by default.
const TOPICS_EACH_MAX: usize = 100;

/// One number of topics.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TopicsRow {
    /// Number of topics.
    pub topics: usize,
    /// Events per second asked for.
    pub rate: f64,
    /// Deliveries received per second.
    pub deliveries_per_s: f64,
    /// The server's CPU per delivery, publishing included, in microseconds.
    pub us_per_delivery: f64,
    /// That of the same publishes to topics without subscribers, in microseconds per publish.
    pub us_per_publish: f64,
    /// The server's CPU per delivery without publishing, in microseconds.
    pub net_us_per_delivery: f64,
    /// [`TopicsRow::us_per_delivery`] by that of the first row; absent if the server used no CPU there.
    pub ratio: Option<f64>,
    /// [`TopicsRow::net_us_per_delivery`] by that of the first row.
    pub net_ratio: Option<f64>,
    /// 99 of 100 deliveries took at most this from when they were due, in milliseconds.
    pub p99_ms: Option<f64>,
    /// Whether the client was so busy that the figures may be its own.
    pub client_was_bottleneck: bool,
}

/// The sweep.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TopicsReport {
    /// Connections held.
    pub subscribers: usize,
    /// A row for each number of topics.
    pub rows: Vec<TopicsRow>,
    /// What went wrong in all of them.
    pub faults: Faults,
    /// The first thing that went wrong, in words.
    pub problem: Option<String>,
}

/// Runs one load for each count; see [`TopicsArgs`].
///
/// # Errors
/// Without `--server-pid`; if a count is more than the subscribers can read; otherwise as [`fanout`](crate::fanout).
pub fn topics(args: &TopicsArgs) -> Result<TopicsReport, Error> {
    require_pid(&args.target)?;
    let most = args.subscribers * TOPICS_EACH_MAX;
    if let Some(count) = args.counts.iter().find(|count| **count > most) {
        let subscribers = args.subscribers;
        return Err(Error::Options(format!("{subscribers} subscribers can read {most} topics at most, not {count}")));
    }
    let mut report =
        TopicsReport { subscribers: args.subscribers, rows: Vec::new(), faults: Faults::default(), problem: None };
    for count in &args.counts {
        let row = report.measure(args, *count)?;
        report.rows.push(row);
    }
    Ok(report)
}

impl TopicsReport {
    fn measure(&mut self, args: &TopicsArgs, topics: usize) -> Result<TopicsRow, Error> {
        // Where topics are shared out, each has one reader.
        let readers = (args.subscribers as f64 / topics as f64).max(1.0);
        let rate = args.deliveries / readers;
        let mut client = Client::connect(&args.target, Audience::new(args.subscribers, topics), Needs::default())?;
        let heard = client.publish(rate, &args.traffic, Listeners::Subscribers)?;
        let unheard = client.publish(rate, &args.traffic, Listeners::Nobody)?;
        self.faults.add(heard.faults);
        self.faults.refused += unheard.faults.refused;

        let client_was_bottleneck = heard.client_was_busy();
        let cpu_us_per_s = |cores: Option<f64>| cores.unwrap_or(0.0) * 1e6;
        let [all, publishing] = [&heard, &unheard].map(|outcome| cpu_us_per_s(outcome.server.map(|cpu| cpu.cores)));
        let per_s = |count: u64| (count as f64 / heard.window.as_secs_f64()).max(f64::MIN_POSITIVE);
        let deliveries_per_s = per_s(heard.deliveries);
        let us_per_publish =
            publishing / (unheard.publishes as f64 / unheard.window.as_secs_f64()).max(f64::MIN_POSITIVE);
        let us_per_delivery = all / deliveries_per_s;
        let net_us_per_delivery = us_per_delivery - us_per_publish * per_s(heard.publishes) / deliveries_per_s;
        self.problem = self.problem.take().or(heard.problem).or(unheard.problem);
        let first = self.rows.first();
        let by_first = |value: f64, first: Option<f64>| {
            let first = first.unwrap_or(value);
            (first > 0.0).then(|| value / first)
        };
        Ok(TopicsRow {
            topics,
            rate,
            deliveries_per_s,
            us_per_delivery,
            us_per_publish,
            net_us_per_delivery,
            ratio: by_first(us_per_delivery, first.map(|row| row.us_per_delivery)),
            net_ratio: by_first(net_us_per_delivery, first.map(|row| row.net_us_per_delivery)),
            p99_ms: heard.latency.map(|latency| latency.p99_ms),
            client_was_bottleneck,
        })
    }
}

impl Report for TopicsReport {
    fn passed(&self) -> bool {
        self.faults.is_empty()
    }
    fn document(&self) -> Document {
        let mut table = Table::default();
        table.row([
            &"topics",
            &"publishes/s",
            &"deliveries/s",
            &"per delivery",
            &"ratio",
            &"per publish",
            &"net per delivery",
            &"ratio",
            &"p99 ms",
        ]);
        for row in &self.rows {
            table.row([
                &row.topics,
                &format!("{:.0}", row.rate),
                &format!("{:.0}", row.deliveries_per_s),
                &format!("{:.2}", row.us_per_delivery),
                &number(row.ratio, 2),
                &format!("{:.1}", row.us_per_publish),
                &format!("{:.2}", row.net_us_per_delivery),
                &number(row.net_ratio, 2),
                &number(row.p99_ms, 2),
            ]);
        }
        let mut document =
            Document::new(format!("{} subscribers; CPU in µs; net is without publishing", self.subscribers));
        let series = vec![("with publishing".to_owned(), self.points()), ("net".to_owned(), self.net_points())];
        document.table(table).lines(Self::chart(series));
        for row in self.rows.iter().filter(|row| row.client_was_bottleneck) {
            document.failure(format!("The client was the bottleneck at {} topics.", row.topics));
        }
        document.faults(&self.faults, self.problem.as_deref());
        document
    }
}

impl TopicsReport {
    /// CPU per delivery by number of topics.
    pub(crate) fn points(&self) -> Vec<(f64, f64)> {
        self.rows.iter().map(|row| (row.topics as f64, row.us_per_delivery)).collect()
    }

    fn net_points(&self) -> Vec<(f64, f64)> {
        self.rows.iter().map(|row| (row.topics as f64, row.net_us_per_delivery.max(0.0))).collect()
    }

    /// A chart of such points.
    pub(crate) fn chart(series: Vec<(String, Vec<(f64, f64)>)>) -> Lines {
        Lines {
            title: "Server CPU per delivery by number of topics".to_owned(),
            x: Axis::logarithmic("topics"),
            y: Axis::linear("µs"),
            series,
        }
    }
}
