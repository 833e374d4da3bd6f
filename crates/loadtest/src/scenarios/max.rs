//! `max`: the rate is raised step by step until latency or the rate itself breaks a bound, and the last step that held is
//! narrowed down.

use std::time::Duration;

use serde::Serialize;

use crate::Error;
use crate::args::{MaxArgs, Traffic};
use crate::client::{Client, Faults, Listeners, Needs, Outcome};
use crate::report::{Axis, Document, Lines, Report, Table, number};

/// A step is over when what is late has arrived; one that takes longer has failed anyway.
const DRAIN: Duration = Duration::from_secs(20);
/// Connections to publish over. A topic keeps to one.
const PUBLISHERS: u16 = 4;

/// One rate.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MaxStep {
    /// Events per second asked for.
    pub rate: f64,
    /// Events per second published.
    pub publishes_per_s: f64,
    /// Deliveries received per second.
    pub deliveries_per_s: f64,
    /// 99 of 100 took at most this from when they were due, in milliseconds.
    pub p99_ms: Option<f64>,
    /// Cores that the server used, if its process was named.
    pub server_cores: Option<f64>,
    /// Cores that the client used.
    pub client_cores: f64,
    /// Whether the client was so busy that the step may be its own limit.
    pub client_was_bottleneck: bool,
    /// Why it did not hold, if it did not.
    pub broke: Option<String>,
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MaxReport {
    /// Connections held.
    pub subscribers: usize,
    /// Topics that they were spread over.
    pub topics: usize,
    /// The bound of the p99, in milliseconds.
    pub p99_bound_ms: f64,
    /// In the order in which they were tried.
    pub steps: Vec<MaxStep>,
    /// Deliveries per second of the fastest step that held; absent if none did.
    pub deliveries_per_s: Option<f64>,
    /// Whether a step failed at all: if not, the server may do more.
    pub limit_was_found: bool,
    /// Whether the client may be what failed.
    pub client_was_bottleneck: bool,
    /// Deliveries that were wrong. What a server refuses or cuts off beyond its limit is no fault.
    pub faults: Faults,
    /// In words.
    pub problem: Option<String>,
}

/// Runs step after step; see [`MaxArgs`].
///
/// # Errors
/// As [`fanout`](crate::fanout). A server that fails under load is no error.
pub fn max(args: &MaxArgs) -> Result<MaxReport, Error> {
    let mut report = MaxReport {
        subscribers: args.audience.subscribers,
        topics: args.audience.topics,
        p99_bound_ms: args.p99_ms,
        steps: Vec::new(),
        deliveries_per_s: None,
        limit_was_found: false,
        client_was_bottleneck: false,
        faults: Faults::default(),
        problem: None,
    };
    let (mut held, mut broke): (Option<f64>, Option<f64>) = (None, None);
    let (mut refined, mut rate) = (0, args.rate);
    let mut client = None;
    for _ in 0..args.steps {
        let step = report.step(args, rate, &mut client)?;
        if step.broke.is_none() {
            held = Some(held.unwrap_or(0.0).max(rate));
        } else {
            broke = Some(broke.unwrap_or(f64::MAX).min(rate));
        }
        report.steps.push(step);
        if !report.faults.is_empty() {
            break;
        }
        rate = match (held, broke) {
            (_, None) => rate * args.factor,
            // The first step was too much already: look below it.
            (None, Some(broke)) => broke / args.factor,
            (Some(held), Some(broke)) => {
                refined += 1;
                if refined > args.refine {
                    break;
                }
                (held * broke).sqrt()
            }
        };
    }
    let best = report.steps.iter().filter(|step| step.broke.is_none());
    report.deliveries_per_s = best.map(|step| step.deliveries_per_s).reduce(f64::max);
    report.limit_was_found = broke.is_some();
    report.client_was_bottleneck = report.steps.iter().any(|step| step.broke.is_some() && step.client_was_bottleneck);
    Ok(report)
}

impl MaxReport {
    /// Publishes at `rate` to the subscribers of an earlier step, or to new ones after a step that failed.
    fn step(&mut self, args: &MaxArgs, rate: f64, kept: &mut Option<Client>) -> Result<MaxStep, Error> {
        let traffic = Traffic {
            size: args.size,
            publish_target: None,
            seconds: args.seconds,
            warmup: args.warmup,
            publishers: PUBLISHERS,
            pipeline: args.pipeline,
            drain: DRAIN,
        };
        let mut client = match kept.take() {
            Some(client) => client,
            None => Client::connect(&args.target, args.audience, Needs::default())?,
        };
        let (outcome, cut) = match client.publish(rate, &traffic, Listeners::Subscribers) {
            Ok(outcome) => (outcome, None),
            // Under too much load a server may well close the connection that brings it.
            Err(Error::Publisher(why)) => (Outcome::nothing(), Some(why)),
            Err(error) => return Err(error),
        };
        let wrong =
            Faults { lost: outcome.faults.lost - outcome.unfinished, ended: 0, gaps: 0, refused: 0, ..outcome.faults };
        self.faults.add(wrong);
        if !wrong.is_empty() {
            self.problem = self.problem.take().or_else(|| outcome.problem.clone());
        }
        let seconds = outcome.window.as_secs_f64().max(f64::MIN_POSITIVE);
        let step = MaxStep {
            rate,
            publishes_per_s: outcome.publishes as f64 / seconds,
            deliveries_per_s: outcome.deliveries as f64 / seconds,
            p99_ms: outcome.latency.map(|latency| latency.p99_ms),
            server_cores: outcome.server.map(|server| server.cores),
            client_cores: outcome.client_cores,
            client_was_bottleneck: outcome.client_was_busy(),
            broke: cut.or_else(|| broke(args, rate, &outcome, seconds)),
        };
        if step.broke.is_none() {
            *kept = Some(client);
        }
        Ok(step)
    }
}

/// Which bound a step broke.
fn broke(args: &MaxArgs, rate: f64, outcome: &Outcome, seconds: f64) -> Option<String> {
    let Faults { gaps, ended, refused, .. } = outcome.faults;
    let achieved = outcome.publishes as f64 / (rate * seconds);
    let expected = outcome.deliveries_each * outcome.publishes as f64;
    let delivered = outcome.deliveries as f64 / expected.max(1.0);
    let p99_ms = outcome.latency.map_or(f64::INFINITY, |latency| latency.p99_ms);
    if ended > 0 {
        Some(format!("{ended} streams ended"))
    } else if gaps > 0 {
        Some(format!("{gaps} gaps told"))
    } else if refused > 0 {
        Some(format!("{refused} publishes refused or unanswered"))
    } else if outcome.unfinished > 0 {
        Some(format!("{} deliveries did not come in time", outcome.unfinished))
    } else if achieved < args.achieved {
        Some(format!("{:.0} % of the rate", achieved * 100.0))
    } else if delivered < args.achieved {
        Some(format!("{:.0} % of what was published was delivered meanwhile", delivered * 100.0))
    } else if p99_ms > args.p99_ms {
        Some(format!("p99 {p99_ms:.0} ms"))
    } else {
        None
    }
}

impl Report for MaxReport {
    fn passed(&self) -> bool {
        self.faults.is_empty() && self.deliveries_per_s.is_some()
    }

    fn document(&self) -> Document {
        let mut table = Table::default();
        table.row([&"events/s", &"deliveries/s", &"p99 ms", &"server, cores", &"client, cores", &""]);
        for step in &self.steps {
            table.row([
                &format!("{:.0}", step.rate),
                &format!("{:.0}", step.deliveries_per_s),
                &number(step.p99_ms, 1),
                &number(step.server_cores, 2),
                &format!("{:.2}", step.client_cores),
                &step.broke.as_deref().unwrap_or("held"),
            ]);
        }
        let mut document = Document::new(format!(
            "Most deliveries to {} subscribers of {} topics at p99 < {} ms",
            self.subscribers, self.topics, self.p99_bound_ms
        ));
        document.table(table).lines(Self::chart(vec![("p99".to_owned(), self.points())]));
        match self.deliveries_per_s {
            Some(most) => document.text(format!("{most:.0} deliveries/s")),
            None => document.failure("No step held."),
        };
        if !self.limit_was_found {
            document.text("No step failed: the server may do more.");
        }
        if self.client_was_bottleneck {
            document.failure("The client was the bottleneck in a step that failed: the server may do more.");
        }
        document.faults(&self.faults, self.problem.as_deref());
        document
    }
}

impl MaxReport {
    /// Latency by deliveries a second.
    pub(crate) fn points(&self) -> Vec<(f64, f64)> {
        let mut points: Vec<_> =
            self.steps.iter().filter_map(|step| Some((step.deliveries_per_s, step.p99_ms?))).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    }

    /// A chart of such points.
    pub(crate) fn chart(series: Vec<(String, Vec<(f64, f64)>)>) -> Lines {
        Lines {
            title: "p99 from publish to receipt by deliveries a second".to_owned(),
            x: Axis::logarithmic("deliveries/s"),
            y: Axis::logarithmic("ms"),
            series,
        }
    }
}
