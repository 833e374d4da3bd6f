//! What `compare` came to: for each part a table with a row for each server, and its charts.

use serde::Serialize;

use super::Runs;
use super::grid::{Figure, Grid};
use super::parts::Shape;
use crate::client::Faults;
use crate::report::{Document, Report};
use crate::{FanoutReport, IdleReport, MaxReport, PublishReport, StormReport, TopicsReport};

/// The whole comparison. Each list has an element for each of the servers, the floor first, and in that its runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CompareReport {
    /// Their names.
    pub servers: Vec<String>,
    pub(crate) fanout: Vec<(Shape, Runs<FanoutReport>)>,
    pub(crate) max: Runs<MaxReport>,
    pub(crate) idle: Runs<IdleReport>,
    pub(crate) storm: Runs<StormReport>,
    pub(crate) publish: Runs<PublishReport>,
    pub(crate) topics: Runs<TopicsReport>,
}

impl CompareReport {
    pub(super) fn new(servers: Vec<String>) -> Self {
        Self {
            servers,
            fanout: Vec::new(),
            max: Vec::new(),
            idle: Vec::new(),
            storm: Vec::new(),
            publish: Vec::new(),
            topics: Vec::new(),
        }
    }

    /// Whether every run passed, with its server and what went wrong.
    fn verdicts(&self) -> Vec<(&str, bool, Faults, Option<&str>)> {
        fn of<'a, R: Report>(
            servers: &'a [String],
            runs: &'a Runs<R>,
            look: fn(&R) -> (Faults, Option<&str>),
        ) -> impl Iterator<Item = (&'a str, bool, Faults, Option<&'a str>)> {
            servers.iter().zip(runs).flat_map(move |(name, runs)| {
                runs.iter().map(move |run| {
                    let (faults, problem) = look(run);
                    (name.as_str(), run.passed(), faults, problem)
                })
            })
        }
        let servers = &self.servers;
        let fanouts =
            self.fanout.iter().flat_map(|(_, runs)| of(servers, runs, |run| (run.faults, run.problem.as_deref())));
        fanouts
            .chain(of(servers, &self.max, |run| (run.faults, run.problem.as_deref())))
            .chain(of(servers, &self.idle, |run| (run.faults, run.problem.as_deref())))
            .chain(of(servers, &self.storm, |run| (run.faults, run.problem.as_deref())))
            .chain(of(servers, &self.publish, |run| (run.faults, run.problem.as_deref())))
            .chain(of(servers, &self.topics, |run| (run.faults, run.problem.as_deref())))
            .collect()
    }

    fn grid<'a, R>(&'a self, runs: &'a Runs<R>, figures: Vec<Figure<R>>) -> Grid<'a, R> {
        Grid { servers: &self.servers, runs, figures }
    }

    fn fanout_part(&self, shape: &Shape, runs: &Runs<FanoutReport>) -> Document {
        let Shape { subscribers, topics, topics_each, rate, size } = shape;
        let sets = if *topics_each > 1 { format!(", {topics_each} each, no two the same") } else { String::new() };
        let mut part = Document::new(format!(
            "Fan-out: {subscribers} subscribers, {topics} topics{sets}, {rate} events/s of {size} B"
        ));
        let grid = self.grid(
            runs,
            vec![
                Figure { name: "CPU µs per delivery", digits: 3, of: |run| Some(run.server?.us_per_delivery) },
                Figure { name: "in user space", digits: 3, of: |run| Some(run.server?.user_us_per_delivery) },
                Figure { name: "p50 ms", digits: 2, of: |run| Some(run.latency?.p50_ms) },
                Figure { name: "p99 ms", digits: 2, of: |run| Some(run.latency?.p99_ms) },
                Figure { name: "bytes per delivery", digits: 0, of: |run| Some(run.bytes_per_delivery) },
            ],
        );
        part.table(grid.table());
        part.bars(grid.bars(0, "Server CPU per delivery", "µs")).bars(grid.bars(
            3,
            "p99 from publish to receipt",
            "ms",
        ));
        let late = runs.iter().flatten().filter(|run| !run.schedule_was_kept()).count();
        if late > 0 {
            part.failure(format!("The schedule was not kept in {late} runs."));
        }
        bottleneck(&mut part, runs, |run| run.client_was_bottleneck);
        part
    }

    fn max_part(&self) -> Document {
        let mut part = Document::new("Most deliveries a second at p99 < 1 s");
        let grid =
            self.grid(&self.max, vec![Figure { name: "deliveries/s", digits: 0, of: |run| run.deliveries_per_s }]);
        let points = |runs: &Vec<MaxReport>| runs.first().map(MaxReport::points).unwrap_or_default();
        let series = self.servers.iter().cloned().zip(self.max.iter().map(points)).collect();
        part.table(grid.table()).bars(grid.bars(0, "Most deliveries a second", "/s")).lines(MaxReport::chart(series));
        bottleneck(&mut part, &self.max, |run| run.client_was_bottleneck);
        part
    }

    fn idle_part(&self) -> Document {
        let mut part = Document::new("An idle connection");
        let last = |run: &IdleReport| Some(run.memory.last()?.bytes_per_connection);
        let grid = self.grid(
            &self.idle,
            vec![
                Figure { name: "PSS B", digits: 0, of: IdleReport::bytes_per_connection },
                Figure { name: "after traffic and reconnects", digits: 0, of: last },
                Figure { name: "cores, idle", digits: 3, of: |run| Some(run.idle_cores) },
            ],
        );
        part.table(grid.table()).bars(grid.bars(0, "User-space memory of an idle connection", "B"));
        part.bars(grid.bars(1, "The same after traffic and three rounds of reconnects", "B"));
        part
    }

    fn storm_part(&self) -> Document {
        let mut part = Document::new("All are cut and resume");
        let grid = self.grid(
            &self.storm,
            vec![
                Figure { name: "all caught up, s", digits: 3, of: |run| run.seconds().reduce(f64::max) },
                Figure { name: "p50 ms", digits: 0, of: |run| Some(run.catching_up?.p50_ms) },
                Figure { name: "p99 ms", digits: 0, of: |run| Some(run.catching_up?.p99_ms) },
            ],
        );
        part.table(grid.table()).bars(grid.bars(0, "Until the last has caught up", "s"));
        bottleneck(&mut part, &self.storm, |run| run.rounds.iter().any(|round| round.client_was_bottleneck));
        part
    }

    fn publish_part(&self) -> Document {
        let mut part = Document::new("Publishing, as fast as answered");
        let grid = self.grid(
            &self.publish,
            vec![
                Figure { name: "publishes/s", digits: 0, of: |run| Some(run.publishes_per_s) },
                Figure { name: "CPU µs per publish", digits: 1, of: |run| run.us_per_publish },
                Figure { name: "answer p50 ms", digits: 2, of: |run| Some(run.answer?.p50_ms) },
                Figure { name: "answer p99 ms", digits: 2, of: |run| Some(run.answer?.p99_ms) },
            ],
        );
        part.table(grid.table()).bars(grid.bars(0, "Publishes a second", "/s"));
        bottleneck(&mut part, &self.publish, |run| run.client_was_bottleneck);
        part
    }

    fn topics_part(&self) -> Document {
        let mut part = Document::new("The same deliveries over more topics");
        let points = |runs: &Vec<TopicsReport>| runs.first().map(TopicsReport::points).unwrap_or_default();
        let series = self.servers.iter().cloned().zip(self.topics.iter().map(points)).collect();
        part.lines(TopicsReport::chart(series));
        for (name, runs) in self.servers.iter().zip(&self.topics) {
            for run in runs {
                part.text(name.clone());
                part.blocks(run.document());
            }
        }
        part
    }
}

/// Says in how many runs the client may be what was measured.
fn bottleneck<R>(part: &mut Document, runs: &Runs<R>, was: fn(&R) -> bool) {
    let busy = runs.iter().flatten().filter(|run| was(run)).count();
    if busy > 0 {
        let all = runs.iter().flatten().count();
        part.failure(format!("The client was the bottleneck in {busy} of {all} runs."));
    }
}

impl Report for CompareReport {
    fn passed(&self) -> bool {
        let verdicts = self.verdicts();
        !verdicts.is_empty() && verdicts.iter().all(|(_, passed, ..)| *passed)
    }

    fn document(&self) -> Document {
        let mut document = Document::new(format!("Side by side: {}", self.servers.join(", ")));
        document.text(
            "Medians of the runs, and ratios to the floor: a bare epoll server that does the least that any must.",
        );
        for (shape, runs) in &self.fanout {
            document.part(self.fanout_part(shape, runs));
        }
        for (there, part) in [
            (!self.max.is_empty(), Self::max_part as fn(&Self) -> Document),
            (!self.idle.is_empty(), Self::idle_part),
            (!self.storm.is_empty(), Self::storm_part),
            (!self.publish.is_empty(), Self::publish_part),
            (!self.topics.is_empty(), Self::topics_part),
        ] {
            if there {
                document.part(part(self));
            }
        }
        let mut sum = Faults::default();
        for (name, passed, faults, problem) in self.verdicts() {
            sum.add(faults);
            if !passed {
                document.failure(format!("{name} failed{}", problem.map_or(String::new(), |why| format!(": {why}"))));
            }
        }
        document.faults(&sum, None);
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(faults: Faults) -> TopicsReport {
        TopicsReport { subscribers: 1, rows: Vec::new(), faults, problem: Some("why".to_owned()) }
    }

    #[test]
    fn one_bad_run_of_one_server_fails_the_whole() {
        let mut report = CompareReport::new(["floor", "hub"].map(str::to_owned).to_vec());
        assert!(!report.passed(), "nothing was compared");
        report.topics = vec![vec![run(Faults::default())], vec![run(Faults::default()), run(Faults::default())]];
        assert!(report.passed());
        for faults in [
            Faults { lost: 1, ..Faults::default() },
            Faults { duplicated: 1, ..Faults::default() },
            Faults { reordered: 1, ..Faults::default() },
        ] {
            report.topics[1][1] = run(faults);
            let text = report.document().to_string();
            assert!(!report.passed() && text.contains("hub failed: why") && text.contains("FAILED"), "{text}");
        }
    }
}
