//! `cluster`: what it costs that an event crosses from node to node. Nodes joined by a Redis of their own, publishing on one
//! and reading on the others, and a hub of one node, alternately, all servers on the same pinned core.

use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::fanout::{FanoutReport, fanout};
use crate::args::{Audience, ClusterArgs, FanoutArgs, Target, Traffic};
use crate::client::Faults;
use crate::report::{Bars, Document, Report, Table};
use crate::server::{Server, free_address, hub, join, redis};
use crate::stats::median;
use crate::sys::Pinned;
use crate::{Error, sys};

/// How often Redis is asked for a PONG, and how long a PONG may take.
const PINGS: usize = 2_000;
const PONG_WITHIN: Duration = Duration::from_secs(5);

/// Latencies of both hubs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClusterReport {
    /// Nodes of the larger hub.
    pub nodes: u8,
    /// Connections held.
    pub subscribers: usize,
    /// Events per second.
    pub rate: f64,
    /// 99 of 100 deliveries of a hub of one node took no longer, in ms, for each run.
    pub embedded_p99_ms: Vec<f64>,
    /// The same from node to node.
    pub cluster_p99_ms: Vec<f64>,
    /// 99 of 100 PINGs to Redis took no longer, in ms, for each run.
    pub redis_p99_ms: Vec<f64>,
    /// The servers' CPU per delivery in microseconds of a hub of one node, for each run.
    pub embedded_us: Vec<f64>,
    /// Of all nodes together, without Redis.
    pub cluster_us: Vec<f64>,
    /// Of Redis alone.
    pub redis_us: Vec<f64>,
    /// The median from node to node, by twice that of one node and a round trip to Redis.
    pub ratio: f64,
    /// What went wrong, of the last run in which anything did.
    pub faults: Faults,
    /// In words.
    pub problem: Option<String>,
}

/// Runs everything; see [`ClusterArgs`].
///
/// # Errors
/// If Redis or a hub does not start, a core cannot be had, or as [`fanout`].
pub fn cluster(args: &ClusterArgs) -> Result<ClusterReport, Error> {
    if args.server_core == args.client_core {
        return Err(Error::Options("the servers and the client need a core each".to_owned()));
    }
    let program = args.hub.clone().map_or_else(|| std::env::current_exe().map_err(Error::io("own executable")), Ok)?;
    let _pinned = Pinned::to(args.client_core)?;
    let (mut embedded, mut crossing, mut pings) = (Vec::new(), Vec::new(), Vec::new());
    let (mut embedded_us, mut cluster_us, mut redis_us) = (Vec::new(), Vec::new(), Vec::new());
    let (mut faults, mut problem) = (Faults::default(), None);
    let mut take = |report: FanoutReport, into: &mut Vec<f64>, us: &mut Vec<f64>| {
        into.extend(report.latency.map(|latency| latency.p99_ms));
        us.extend(report.server.map(|server| server.us_per_delivery));
        if !report.passed() {
            (faults, problem) = (report.faults, report.problem);
        }
    };
    for repeat in 1..=args.repeat {
        announce(args, &format!("one node, run {repeat}"));
        take(Hub::start(&program, args, None)?.fanout(args)?, &mut embedded, &mut embedded_us);
        announce(args, &format!("{} nodes, run {repeat}", args.nodes));
        let redis = redis(args.server_core)?;
        let joined = Hub::start(&program, args, Some(redis.address))?;
        pings.push(ping(redis.address)?);
        let redis_before = sys::cpu(redis.pid())?;
        let report = joined.fanout(args)?;
        let redis_cpu = sys::cpu(redis.pid())? - redis_before;
        // Redis is looked at over the warm-up too, in which as much is delivered in the same time.
        let deliveries = report.published as f64 * args.subscribers as f64;
        redis_us.push((redis_cpu.user + redis_cpu.system).as_secs_f64() * 1e6 / deliveries.max(1.0));
        take(report, &mut crossing, &mut cluster_us);
    }
    let middle = |values: &[f64]| median(values.to_vec()).unwrap_or(f64::NAN);
    let ratio = middle(&crossing) / (2.0 * middle(&embedded) + middle(&pings));
    Ok(ClusterReport {
        nodes: args.nodes,
        subscribers: args.subscribers,
        rate: args.rate,
        embedded_p99_ms: embedded,
        cluster_p99_ms: crossing,
        redis_p99_ms: pings,
        embedded_us,
        cluster_us,
        redis_us,
        ratio,
        faults,
        problem,
    })
}

fn announce(args: &ClusterArgs, text: &str) {
    if !args.output.quiet {
        eprintln!("{text}");
    }
}

/// One node, or several: then the first is published to.
struct Hub {
    nodes: Vec<Server>,
}

impl Hub {
    fn start(program: &Path, args: &ClusterArgs, redis: Option<SocketAddrV4>) -> Result<Self, Error> {
        let start = |_| {
            let address = free_address()?;
            let mut command = hub(program, address);
            if let Some(redis) = redis {
                join(&mut command, redis);
            }
            let mut server = Server::start(command, address, args.server_core)?;
            server.wait_until_ready("hub")?;
            Ok(server)
        };
        let count = if redis.is_some() { args.nodes } else { 1 };
        Ok(Self { nodes: (0..count).map(start).collect::<Result<_, Error>>()? })
    }

    fn fanout(&self, args: &ClusterArgs) -> Result<FanoutReport, Error> {
        let addresses: Vec<_> = self.nodes.iter().map(|node| node.address).collect();
        let Some((first, others)) = addresses.split_first() else {
            return Err(Error::Options("a hub has a node".to_owned()));
        };
        let mut target = Target::new(*first);
        if !others.is_empty() {
            target.target = others.to_vec();
        }
        target.server_pid = self.nodes.iter().map(Server::pid).collect();
        target.output.quiet = args.output.quiet;
        fanout(&FanoutArgs {
            target,
            traffic: Traffic {
                size: args.size,
                publish_target: Some(*first),
                seconds: args.seconds,
                warmup: args.warmup,
                ..Traffic::default()
            },
            audience: Audience::new(args.subscribers, 1),
            rate: args.rate,
        })
    }
}

/// The round trip of which 99 of 100 are no longer, in ms.
fn ping(redis: SocketAddrV4) -> Result<f64, Error> {
    let failed = || Error::io("PING to redis");
    let mut stream = TcpStream::connect_timeout(&redis.into(), PONG_WITHIN).map_err(failed())?;
    stream.set_read_timeout(Some(PONG_WITHIN)).and_then(|()| stream.set_nodelay(true)).map_err(failed())?;
    let mut took = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        let began = Instant::now();
        let mut pong = [0; 7];
        stream.write_all(b"PING\r\n").and_then(|()| stream.read_exact(&mut pong)).map_err(failed())?;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    Ok(took[PINGS * 99 / 100].as_secs_f64() * 1e3)
}

impl Report for ClusterReport {
    fn passed(&self) -> bool {
        self.faults.is_empty() && self.ratio.is_finite()
    }
    fn document(&self) -> Document {
        let each = |values: &[f64]| values.iter().map(|value| format!("{value:.3}")).collect::<Vec<_>>().join("  ");
        let mut table = Table::default();
        table
            .row([&"p99 in ms", &"each run"])
            .row([&"one node", &each(&self.embedded_p99_ms)])
            .row([&"node to node", &each(&self.cluster_p99_ms)])
            .row([&"PING to Redis", &each(&self.redis_p99_ms)]);
        let mut cpu = Table::default();
        cpu.row([&"CPU µs per delivery", &"each run"])
            .row([&"one node", &each(&self.embedded_us)])
            .row([&"all nodes", &each(&self.cluster_us)])
            .row([&"Redis", &each(&self.redis_us)]);
        let bar = |name: &str, values: &[f64]| Some((name.to_owned(), median(values.to_vec())?));
        let bars = [
            bar("one node", &self.embedded_p99_ms),
            bar("node to node", &self.cluster_p99_ms),
            bar("PING to Redis", &self.redis_p99_ms),
        ];
        let title = "p99 from publish to receipt, median of the runs".to_owned();
        let mut document =
            Document::new(format!("{} nodes, {} subscribers, {} events/s", self.nodes, self.subscribers, self.rate));
        document
            .table(table)
            .bars(Bars { title, unit: "ms", bars: bars.into_iter().flatten().collect() })
            .table(cpu)
            .text(format!("node to node is {:.2} of twice one node and a round trip (medians)", self.ratio))
            .faults(&self.faults, self.problem.as_deref());
        document
    }
}
