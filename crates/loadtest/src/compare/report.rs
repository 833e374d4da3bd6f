//! The table of `compare`: medians, and ratios to the floor.

use std::fmt;

use serde::Serialize;

use super::Shape;
use crate::Error;
use crate::client::Faults;
use crate::fanout::{FanoutReport, write_faults};
use crate::idle::IdleReport;
use crate::report::{Report, Table, number};
use crate::stats::median;
use crate::topics::TopicsReport;

/// A load average above this makes the figures doubtful.
const LOAD_AVERAGE_QUIET: f64 = 0.5;

/// What counts of one run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Run {
    pub(crate) us_per_delivery: f64,
    pub(crate) user_us_per_delivery: f64,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) deliveries_per_s: f64,
    pub(crate) client_was_bottleneck: bool,
    pub(crate) schedule_was_kept: bool,
    pub(crate) faults: Faults,
}

impl Run {
    pub(crate) fn of(report: &FanoutReport) -> Result<Self, Error> {
        let unmeasured = || Error::Options("the server's CPU was not measured".to_owned());
        let server = report.server.ok_or_else(unmeasured)?;
        Ok(Self {
            us_per_delivery: server.us_per_delivery,
            user_us_per_delivery: server.user_us_per_delivery,
            p99_ms: report.latency.map(|latency| latency.p99_ms),
            deliveries_per_s: report.deliveries_per_s,
            client_was_bottleneck: report.client_was_bottleneck,
            schedule_was_kept: report.schedule_was_kept(),
            faults: report.faults,
        })
    }
}

/// One shape of load on both servers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    shape: Shape,
    floor: Vec<Run>,
    subject: Vec<Run>,
    /// The subject's median CPU per delivery by the floor's.
    pub cpu_ratio: Option<f64>,
    /// The subject's median p99 by the floor's.
    pub p99_ratio: Option<f64>,
}

/// The whole comparison. Where there is a list of two, the floor is first.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CompareReport {
    /// What was held against the floor.
    pub subject: &'static str,
    /// The machine's load average before the first run: what others were doing meanwhile is in the figures.
    pub load_average_before: f64,
    /// A comparison for each shape of load.
    pub shapes: Vec<Comparison>,
    /// Memory of idle connections: the floor's, then the subject's.
    pub idle: Vec<IdleReport>,
    /// The sweep over numbers of topics: the floor's, then the subject's.
    pub topics: Vec<TopicsReport>,
}

impl CompareReport {
    pub(super) fn new(subject: &'static str, load_average_before: f64) -> Self {
        Self { subject, load_average_before, shapes: Vec::new(), idle: Vec::new(), topics: Vec::new() }
    }

    pub(super) fn add_shape(&mut self, shape: Shape, floor: Vec<Run>, subject: Vec<Run>) {
        let ratio = |value: fn(&Run) -> Option<f64>| {
            let [floor, subject] = [&floor, &subject].map(|runs| median(runs.iter().filter_map(value)));
            floor.zip(subject).filter(|(floor, _)| *floor > 0.0).map(|(floor, subject)| subject / floor)
        };
        let cpu_ratio = ratio(|run| Some(run.us_per_delivery));
        let p99_ratio = ratio(|run| run.p99_ms);
        self.shapes.push(Comparison { shape, floor, subject, cpu_ratio, p99_ratio });
    }

    pub(super) fn add_idle(&mut self, report: IdleReport) {
        self.idle.push(report);
    }

    pub(super) fn add_topics(&mut self, report: TopicsReport) {
        self.topics.push(report);
    }

    /// Everything that went wrong in any run.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let runs = self.shapes.iter().flat_map(|shape| shape.floor.iter().chain(&shape.subject));
        let mut sum = Faults::default();
        runs.map(|run| run.faults)
            .chain(self.idle.iter().map(|report| report.faults))
            .chain(self.topics.iter().map(|report| report.faults))
            .for_each(|faults| sum.add(faults));
        sum
    }
}

impl Report for CompareReport {
    fn passed(&self) -> bool {
        self.faults().is_empty()
    }
}

impl fmt::Display for CompareReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for comparison in &self.shapes {
            comparison.write(f, self.subject)?;
        }
        let names = ["floor", self.subject];
        if !self.idle.is_empty() {
            let mut table = Table::default();
            table.row([&"idle", &"connections", &"PSS B/connection", &"cores"]);
            for (name, idle) in names.iter().zip(&self.idle) {
                let bytes = number(idle.bytes_per_connection(), 0);
                table.row([name, &idle.subscribers, &bytes, &format!("{:.3}", idle.idle_cores)]);
            }
            writeln!(f, "{table}")?;
        }
        for (name, topics) in names.iter().zip(&self.topics) {
            writeln!(f, "{name}: {topics}")?;
        }
        self.write_topics_ratio(f)?;
        if self.load_average_before > LOAD_AVERAGE_QUIET {
            let load = self.load_average_before;
            writeln!(
                f,
                "\nThe machine was busy before this began (load average {load:.1}): repeat it on a quiet one."
            )?;
        }
        write_faults(f, &self.faults(), None)
    }
}

impl CompareReport {
    /// The two sweeps side by side: what the kernel charges for spreading out is in both.
    fn write_topics_ratio(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [floor, subject] = self.topics.as_slice() else {
            return Ok(());
        };
        let mut table = Table::default();
        table.row([&"topics, CPU µs per delivery", &"floor", &self.subject, &"ratio"]);
        for (floor, subject) in floor.rows.iter().zip(&subject.rows) {
            let (floor_us, subject_us) = (floor.us_per_delivery, subject.us_per_delivery);
            let ratio = (floor_us > 0.0).then(|| subject_us / floor_us);
            let two = |value: f64| format!("{value:.2}");
            table.row([&floor.topics, &two(floor_us), &two(subject_us), &number(ratio, 2)]);
        }
        write!(f, "{table}")
    }
}

impl Comparison {
    fn write(&self, f: &mut fmt::Formatter<'_>, subject: &str) -> fmt::Result {
        let Shape { subscribers, rate, size } = self.shape;
        writeln!(f, "{subscribers} subscribers, {rate} events/s, {size} B; CPU in µs per delivery\n")?;
        let mut table = Table::default();
        table.row([&"", &"CPU", &"least", &"most", &"user space", &"p99 ms", &"deliveries/s"]);
        for (name, runs) in [("floor", &self.floor), (subject, &self.subject)] {
            let middle = |value: fn(&Run) -> Option<f64>, digits| number(median(runs.iter().filter_map(value)), digits);
            let cpu = || runs.iter().map(|run| run.us_per_delivery);
            table.row([
                &name,
                &middle(|run| Some(run.us_per_delivery), 3),
                &number(cpu().reduce(f64::min), 3),
                &number(cpu().reduce(f64::max), 3),
                &middle(|run| Some(run.user_us_per_delivery), 3),
                &middle(|run| run.p99_ms, 2),
                &middle(|run| Some(run.deliveries_per_s), 0),
            ]);
        }
        table.row([&"ratio", &number(self.cpu_ratio, 3), &"", &"", &"", &number(self.p99_ratio, 2)]);
        writeln!(f, "{table}")?;
        let runs = || self.floor.iter().chain(&self.subject);
        let count = |wrong: fn(&Run) -> bool| runs().filter(|run| wrong(run)).count();
        let (busy, late) = (count(|run| run.client_was_bottleneck), count(|run| !run.schedule_was_kept));
        if busy > 0 {
            writeln!(f, "The client was the bottleneck in {busy} of {} runs.\n", runs().count())?;
        }
        if late > 0 {
            writeln!(f, "The schedule was not kept in {late} of {} runs.\n", runs().count())?;
        }
        Ok(())
    }
}
