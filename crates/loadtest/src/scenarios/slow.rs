//! `slow`: a share of the subscribers stops reading while events are published. What matters is what the others notice and
//! how much memory it takes; and that those who read again are told of what they missed, or get it.

use std::time::Duration;

use serde::Serialize;

use crate::args::SlowArgs;
use crate::client::{Client, Cursors, Faults, Listeners, Needs, Next};
use crate::report::{Document, Report, Table};
use crate::stats::{Quantiles, ServerCpu};
use crate::{Error, sys};

/// Between two looks at the server's memory.
const LOOK_NS: u64 = 500_000_000;
/// Between two looks at those who read again.
const WAIT: Duration = Duration::from_millis(20);

/// What became of those that stalled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stalled {
    /// How many stalled.
    pub subscribers: usize,
    /// Streams of theirs that the server ended.
    pub ended: u64,
    /// Losses that the server told them of.
    pub gaps: u64,
    /// Events that they had not got when the time was over, and had not been told of.
    pub behind: u64,
}

/// What a slow share came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SlowReport {
    /// Connections held.
    pub subscribers: usize,
    /// Topics that they were spread over.
    pub topics: usize,
    /// Events per second asked for.
    pub rate: f64,
    /// Deliveries to the readers per second.
    pub deliveries_per_s: f64,
    /// From when an event was due to its receipt by a reader.
    pub latency: Option<Quantiles>,
    /// The server's CPU in the window, if its process was named.
    pub server: Option<ServerCpu>,
    /// The most that the server's proportional set grew meanwhile, in bytes; absent if its process was not named.
    pub pss_growth: Option<u64>,
    /// What became of the others.
    pub stalled: Stalled,
    /// Cores that the client used.
    pub client_cores: f64,
    /// Whether the client was so busy that the figures may be its own.
    pub client_was_bottleneck: bool,
    /// What went wrong. Of those that stalled, neither an end nor a gap.
    pub faults: Faults,
    /// In words.
    pub problem: Option<String>,
}

/// Connects, publishes and stalls; see [`SlowArgs`].
///
/// # Errors
/// As [`fanout`](crate::fanout).
pub fn slow(args: &SlowArgs) -> Result<SlowReport, Error> {
    let subscribers = args.audience.subscribers;
    let count = ((subscribers as f64 * args.stalled).round() as usize).min(subscribers - 1);
    let needs = Needs { cursors: Cursors::IfAny, stalled: count };
    let mut client = Client::connect(&args.target, args.audience, needs)?;
    let pids = &args.target.server_pid;
    let before = sys::memory_of_all(pids)?.pss;
    let (mut most, mut look_ns) = (before, None);
    let outcome = client.publish_while(args.rate, &args.traffic, Listeners::Subscribers, &mut |client, now_ns| {
        if look_ns.is_none() {
            client.stall(true);
        }
        if look_ns.is_none_or(|look_ns| now_ns >= look_ns) {
            look_ns = Some(now_ns + LOOK_NS);
            most = most.max(sys::memory_of_all(pids)?.pss);
        }
        Ok(Next::Turn(look_ns))
    })?;
    read_again(&mut client, args.traffic.drain)?;
    let theirs = client.stalled_faults();
    let stalled =
        Stalled { subscribers: count, ended: theirs.ended, gaps: theirs.gaps, behind: client.stalled_behind() };
    let mut faults = outcome.faults;
    faults.add(Faults { ended: 0, gaps: 0, lost: theirs.lost + stalled.behind, ..theirs });
    Ok(SlowReport {
        subscribers,
        topics: args.audience.topics,
        rate: args.rate,
        deliveries_per_s: outcome.deliveries as f64 / outcome.window.as_secs_f64().max(f64::MIN_POSITIVE),
        latency: outcome.latency,
        server: outcome.server,
        pss_growth: (!pids.is_empty()).then(|| most - before),
        stalled,
        client_cores: outcome.client_cores,
        client_was_bottleneck: outcome.client_was_busy(),
        faults,
        problem: outcome.problem,
    })
}

/// Lets those that stalled read, and come back where they were cut off, until they have all or the time is over.
fn read_again(client: &mut Client, limit: Duration) -> Result<(), Error> {
    client.stall(false);
    let rounds = (limit.as_secs_f64() / WAIT.as_secs_f64()).ceil() as u32;
    for _ in 0..rounds {
        client.rest(WAIT)?;
        let mut gone = 0;
        for index in client.stalling() {
            if client.has_ended(index) && client.resumes() {
                client.cut(index, true);
                client.open_one(index)?;
                gone += 1;
            }
        }
        if gone == 0 && client.stalled_behind() == 0 {
            return Ok(());
        }
    }
    Ok(())
}

impl Report for SlowReport {
    fn passed(&self) -> bool {
        self.faults.is_empty() && self.stalled.subscribers > 0
    }

    fn document(&self) -> Document {
        let Self { subscribers, topics, rate, stalled, .. } = self;
        let mut document = Document::new(format!(
            "{subscribers} subscribers of {topics} topics, {} of them stalled; {rate} events/s",
            stalled.subscribers
        ));
        let mut table = Table::default();
        table
            .row([&"", &""])
            .row([&"deliveries/s", &format!("{:.0}", self.deliveries_per_s)])
            .row([&"client, cores", &format!("{:.2}", self.client_cores)]);
        if let Some(server) = self.server {
            server.rows(&mut table);
        }
        if let Some(growth) = self.pss_growth {
            let each = growth as f64 / (stalled.subscribers as f64).max(1.0);
            table
                .row([&"server, PSS grew by MB", &format!("{:.1}", growth as f64 / 1e6)])
                .row([&"  by KB for each that stalled", &format!("{:.1}", each / 1e3)]);
        }
        table
            .row([&"of those that stalled: cut off", &stalled.ended])
            .row([&"  told of a loss", &stalled.gaps])
            .row([&"  still behind at the end", &stalled.behind]);
        document.table(table).table(Quantiles::table(&[("publish to receipt, of the others", self.latency)]));
        document.client(self.client_cores, self.client_was_bottleneck).faults(&self.faults, self.problem.as_deref());
        document
    }
}
