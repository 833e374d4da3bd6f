//! `storm`: all subscribers are cut at once, events are published while nobody is there, and all come back with their
//! cursors at once. Measured is how long it takes until each has what it missed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::Error;
use crate::args::{StormArgs, Traffic};
use crate::client::{Client, Cursors, Faults, Listeners, Needs, Next};
use crate::dialect::Kind;
use crate::metrics::{self, Change};
use crate::report::{Document, Report, Table, number};
use crate::stats::{Quantiles, ServerCpu};

/// One load before the first cut, so that each subscriber has an event to resume from.
const FIRST: Duration = Duration::from_millis(500);
const FIRST_RATE: f64 = 20.0;
/// For what is still under way when the time to catch up is over.
const DRAIN: Duration = Duration::from_secs(2);
/// What a hub says of its replays.
const METRICS: &str = "towncrier_replay";
/// Unanswered publishes per connection: while nobody is there, nothing else is measured.
const PIPELINE: u16 = 16;

/// One cut and return.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StormRound {
    /// Subscribers that had missed something.
    pub missing: usize,
    /// Those that had it all when the time was over.
    pub caught_up: u64,
    /// From the first reconnect until the last had caught up, in seconds; absent if one never did.
    pub seconds: Option<f64>,
    /// Deliveries until then, what was published live among them.
    pub deliveries: u64,
    /// The server's CPU until then, if its process was named.
    pub server: Option<ServerCpu>,
    /// Cores that the client used.
    pub client_cores: f64,
    /// Whether the client was so busy that the figures may be its own.
    pub client_was_bottleneck: bool,
    /// What the server's own counters of replays rose by, where it has any.
    pub counters: Vec<Change>,
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StormReport {
    /// Connections.
    pub subscribers: usize,
    /// Topics that they were spread over.
    pub topics: usize,
    /// Events that each missed of each of its topics.
    pub missed: u32,
    /// Each cut and return.
    pub rounds: Vec<StormRound>,
    /// From the first reconnect until a subscriber had caught up, over all of them and all rounds.
    pub catching_up: Option<Quantiles>,
    /// From the beginning of a connection to that of its stream.
    pub connecting: Option<Quantiles>,
    /// What went wrong.
    pub faults: Faults,
    /// In words.
    pub problem: Option<String>,
}

/// Connects, cuts and resumes; see [`StormArgs`].
///
/// # Errors
/// If the server's events have no ids to resume with; otherwise as [`fanout`](crate::fanout).
pub fn storm(args: &StormArgs) -> Result<StormReport, Error> {
    let mut client = Client::connect(&args.target, args.audience, Needs { cursors: Cursors::Needed, stalled: 0 })?;
    let mut report = StormReport {
        subscribers: args.audience.subscribers,
        topics: args.audience.topics,
        missed: args.missed,
        rounds: Vec::new(),
        catching_up: None,
        connecting: None,
        faults: Faults::default(),
        problem: None,
    };
    let topics = args.audience.topics as f64;
    let traffic = Traffic { size: args.size, warmup: Duration::ZERO, pipeline: PIPELINE, ..Traffic::default() };
    let first = FIRST_RATE.max(2.0 * topics / FIRST.as_secs_f64());
    let began = client.publish(first, &Traffic { seconds: FIRST, ..traffic.clone() }, Listeners::Subscribers)?;
    report.faults.add(began.faults);
    report.problem = began.problem;
    for _ in 0..args.rounds {
        for index in 0..args.audience.subscribers {
            client.cut(index, true);
        }
        let events = f64::from(args.missed) * topics;
        let away = Traffic { seconds: Duration::from_secs_f64(events / args.rate), ..traffic.clone() };
        let away = client.publish(args.rate, &away, Listeners::Absent)?;
        report.faults.add(away.faults);
        report.problem = report.problem.take().or(away.problem);
        let round = report.resume(args, &traffic, &mut client)?;
        report.rounds.push(round);
    }
    report.catching_up = client.catching_up();
    report.connecting = client.connecting();
    Ok(report)
}

impl StormReport {
    fn resume(&mut self, args: &StormArgs, traffic: &Traffic, client: &mut Client) -> Result<StormRound, Error> {
        let target = args.target.first();
        let counters = || match args.target.kind {
            Kind::Towncrier => metrics::read(target, METRICS),
            _ => BTreeMap::new(),
        };
        let before = counters();
        let (missing, caught_before) = (client.aim(), client.caught_up());
        let (mut next, subscribers) = (0, args.audience.subscribers);
        let traffic = Traffic { seconds: args.catch_up, drain: DRAIN, ..traffic.clone() };
        let outcome =
            client.publish_while(args.live_rate, &traffic, Listeners::Subscribers, &mut |client, now_ns| {
                if next == 0 {
                    client.begin_timing(now_ns);
                }
                while next < subscribers && client.has_room() {
                    client.open_one(next)?;
                    next += 1;
                }
                let caught_up = client.caught_up() - caught_before >= missing as u64;
                Ok(if caught_up && next == subscribers { Next::Done } else { Next::Turn(None) })
            })?;
        self.faults.add(outcome.faults);
        self.problem = self.problem.take().or_else(|| outcome.problem.clone());
        let caught_up = client.caught_up() - caught_before;
        Ok(StormRound {
            missing,
            caught_up,
            seconds: (caught_up == missing as u64).then_some(outcome.window.as_secs_f64()),
            deliveries: outcome.deliveries,
            server: outcome.server,
            client_cores: outcome.client_cores,
            client_was_bottleneck: outcome.client_was_busy(),
            counters: metrics::changes(&before, &counters()),
        })
    }

    /// Seconds until the last had caught up, of each round in which it did.
    pub(crate) fn seconds(&self) -> impl Iterator<Item = f64> + '_ {
        self.rounds.iter().filter_map(|round| round.seconds)
    }
}

impl Report for StormReport {
    fn passed(&self) -> bool {
        self.faults.is_empty() && self.rounds.iter().all(|round| round.seconds.is_some() && round.missing > 0)
    }

    fn document(&self) -> Document {
        let Self { subscribers, topics, missed, .. } = self;
        let mut document =
            Document::new(format!("{subscribers} subscribers of {topics} topics resume with {missed} events missed"));
        let mut table = Table::default();
        table.row([&"round", &"all caught up, s", &"deliveries", &"server, CPU s", &"server, cores", &"client, cores"]);
        for (index, round) in self.rounds.iter().enumerate() {
            let cpu = round.server.map(|server| server.us_per_delivery * round.deliveries as f64 / 1e6);
            table.row([
                &(index + 1),
                &number(round.seconds, 3),
                &round.deliveries,
                &number(cpu, 2),
                &number(round.server.map(|server| server.cores), 2),
                &format!("{:.2}", round.client_cores),
            ]);
        }
        document.table(table).table(Quantiles::table(&[
            ("until caught up", self.catching_up),
            ("until the stream began", self.connecting),
        ]));
        let mut table = Table::default();
        table.row([&"the server's counters", &"rose by"]);
        for Change { name, by } in self.rounds.iter().flat_map(|round| &round.counters) {
            table.row([name, by]);
        }
        if self.rounds.iter().any(|round| !round.counters.is_empty()) {
            document.table(table);
        }
        for round in &self.rounds {
            let StormRound { missing, caught_up, .. } = round;
            if round.seconds.is_none() {
                document.failure(format!("{caught_up} of {missing} caught up in time."));
            }
            document.client(round.client_cores, round.client_was_bottleneck);
        }
        document.faults(&self.faults, self.problem.as_deref());
        document
    }
}
