//! `topics`: whether a delivery costs more when the same subscribers are spread over more topics.
//!
//! With the number of deliveries fixed, more topics mean more publishes, and those cost something too. So each count is
//! measured twice: once as it is, and once with the same publishes to topics that nobody hears. The difference is what
//! the deliveries alone cost.

use std::fmt;

use serde::Serialize;

use crate::Error;
use crate::args::TopicsArgs;
use crate::client::{Audience, Client, Faults};
use crate::fanout::{require_pid, write_faults};
use crate::report::{Report, Table, number};

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
/// Without `--server-pid`; if a count exceeds the subscribers; otherwise as [`fanout`](crate::fanout).
pub fn topics(args: &TopicsArgs) -> Result<TopicsReport, Error> {
    require_pid(args.target.server_pid)?;
    if let Some(count) = args.counts.iter().find(|count| **count > args.subscribers) {
        let subscribers = args.subscribers;
        return Err(Error::Options(format!("{count} topics need at least as many subscribers, not {subscribers}")));
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
        let rate = args.deliveries * topics as f64 / args.subscribers as f64;
        let mut client = Client::connect(&args.target, args.subscribers, topics)?;
        let heard = client.publish(rate, &args.traffic, Audience::Subscribers)?;
        let unheard = client.publish(rate, &args.traffic, Audience::Nobody)?;
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
}

impl fmt::Display for TopicsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} subscribers; CPU in µs; net is without publishing\n", self.subscribers)?;
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
        write!(f, "{table}")?;
        for row in self.rows.iter().filter(|row| row.client_was_bottleneck) {
            writeln!(f, "\nThe client was the bottleneck at {} topics.", row.topics)?;
        }
        if self.faults.is_empty() { Ok(()) } else { write_faults(f, &self.faults, self.problem.as_deref()) }
    }
}
