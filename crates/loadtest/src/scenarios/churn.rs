//! `churn`: subscribers leave and others come, so many a second, while events are published. Each stream is checked from
//! the moment that it begins; one that resumes, from where it was.

use serde::Serialize;

use crate::Error;
use crate::args::ChurnArgs;
use crate::client::{Client, Cursors, Faults, Listeners, Needs, Next};
use crate::report::{Document, Report, Table, number};
use crate::stats::{Quantiles, ServerCpu};

/// What the churn came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ChurnReport {
    /// Connections held.
    pub subscribers: usize,
    /// Topics that they were spread over.
    pub topics: usize,
    /// Events per second asked for.
    pub rate: f64,
    /// Connections a second that should have been replaced.
    pub churn: f64,
    /// Whether they resumed.
    pub resumed: bool,
    /// Streams that began in the window, per second.
    pub connects_per_s: f64,
    /// Deliveries received per second.
    pub deliveries_per_s: f64,
    /// From the beginning of a connection to that of its stream.
    pub connecting: Option<Quantiles>,
    /// From when an event was due to its receipt by a subscriber.
    pub latency: Option<Quantiles>,
    /// The server's CPU in the window, if its process was named.
    pub server: Option<ServerCpu>,
    /// The same in microseconds for each connection, everything else included.
    pub us_per_connect: Option<f64>,
    /// Cores that the client used.
    pub client_cores: f64,
    /// Whether the client was so busy that the figures may be its own.
    pub client_was_bottleneck: bool,
    /// What went wrong.
    pub faults: Faults,
    /// In words.
    pub problem: Option<String>,
}

/// Connects, publishes and replaces; see [`ChurnArgs`].
///
/// # Errors
/// As [`fanout`](crate::fanout); with `--resume` also if the server's events have no ids.
pub fn churn(args: &ChurnArgs) -> Result<ChurnReport, Error> {
    let cursors = if args.resume { Cursors::Needed } else { Cursors::Needless };
    let mut client = Client::connect(&args.target, args.audience, Needs { cursors, stalled: 0 })?;
    let subscribers = args.audience.subscribers;
    let (mut next, mut replaced, mut start_ns) = (0, 0u64, None);
    let begun_before = client.begun();
    let mut begun = begun_before;
    let outcome = client.publish_while(args.rate, &args.traffic, Listeners::Subscribers, &mut |client, now_ns| {
        let start_ns = *start_ns.get_or_insert(now_ns);
        let due = (now_ns - start_ns) as f64 / 1e9 * args.churn;
        // One whose stream has not begun has its turn later: the server sets the pace then.
        while replaced as f64 <= due && client.has_room() && client.is_open(next) {
            client.cut(next, args.resume);
            client.open_one(next)?;
            replaced += 1;
            next = (next + 1) % subscribers;
        }
        begun = client.begun();
        let next_ns = start_ns + (replaced as f64 * 1e9 / args.churn) as u64;
        Ok(Next::Turn((next_ns > now_ns).then_some(next_ns)))
    })?;
    let connects = begun - begun_before;
    let seconds = outcome.window.as_secs_f64().max(f64::MIN_POSITIVE);
    Ok(ChurnReport {
        subscribers,
        topics: args.audience.topics,
        rate: args.rate,
        churn: args.churn,
        resumed: args.resume,
        connects_per_s: connects as f64 / seconds,
        deliveries_per_s: outcome.deliveries as f64 / seconds,
        connecting: client.connecting(),
        latency: outcome.latency,
        server: outcome.server,
        us_per_connect: outcome.server.map(|server| server.cores * seconds * 1e6 / (connects as f64).max(1.0)),
        client_cores: outcome.client_cores,
        client_was_bottleneck: outcome.client_was_busy(),
        faults: outcome.faults,
        problem: outcome.problem,
    })
}

impl ChurnReport {
    /// Whether as many came and went as should have: all but 1 in 20.
    #[must_use]
    pub fn pace_was_kept(&self) -> bool {
        self.connects_per_s >= self.churn * 0.95
    }
}

impl Report for ChurnReport {
    fn passed(&self) -> bool {
        self.faults.is_empty() && self.connects_per_s > 0.0
    }

    fn document(&self) -> Document {
        let Self { subscribers, topics, rate, churn, .. } = self;
        let mut document = Document::new(format!(
            "{subscribers} subscribers of {topics} topics, {churn} replaced a second{}; {rate} events/s",
            if self.resumed { " and resumed" } else { "" }
        ));
        let mut table = Table::default();
        table
            .row([&"", &""])
            .row([&"streams begun/s", &format!("{:.1}", self.connects_per_s)])
            .row([&"deliveries/s", &format!("{:.0}", self.deliveries_per_s)])
            .row([&"client, cores", &format!("{:.2}", self.client_cores)]);
        if let Some(server) = self.server {
            table
                .row([&"server, cores", &format!("{:.2}", server.cores)])
                .row([&"server, CPU µs per stream begun", &number(self.us_per_connect, 1)]);
        }
        document.table(table).table(Quantiles::table(&[
            ("until the stream began", self.connecting),
            ("publish to receipt", self.latency),
        ]));
        if !self.pace_was_kept() {
            document.failure("The pace was not kept.");
        }
        document.client(self.client_cores, self.client_was_bottleneck).faults(&self.faults, self.problem.as_deref());
        document
    }
}
