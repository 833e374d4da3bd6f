//! `cluster`: what it costs that an event crosses from node to node. Two nodes joined by a Redis of their own, publishing on
//! one and reading on the other, and a hub of one node, alternately, all servers on the same pinned core.

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::Error;
use crate::args::{ClusterArgs, FanoutArgs, Target, Traffic};
use crate::client::Faults;
use crate::fanout::{FanoutReport, fanout, write_faults};
use crate::report::{Report, Table};
use crate::server::{Server, free_address, hub};
use crate::stats::median;
use crate::sys::Pinned;

/// How often Redis is asked for a PONG, and how long a PONG may take.
const PINGS: usize = 2_000;
const PONG_WITHIN: Duration = Duration::from_secs(5);

/// Latencies of both hubs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClusterReport {
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
    let (mut faults, mut problem) = (Faults::default(), None);
    let mut take = |report: FanoutReport, into: &mut Vec<f64>| {
        into.extend(report.latency.map(|latency| latency.p99_ms));
        if !report.passed() {
            (faults, problem) = (report.faults, report.problem);
        }
    };
    for repeat in 1..=args.repeat {
        announce(args, &format!("one node, run {repeat}"));
        take(Hub::start(&program, args, None)?.fanout(args)?, &mut embedded);
        announce(args, &format!("two nodes, run {repeat}"));
        let redis = redis(args)?;
        let joined = Hub::start(&program, args, Some(redis.address))?;
        pings.push(ping(redis.address)?);
        take(joined.fanout(args)?, &mut crossing);
    }
    let middle = |values: &[f64]| median(values.to_vec()).unwrap_or(f64::NAN);
    let ratio = middle(&crossing) / (2.0 * middle(&embedded) + middle(&pings));
    Ok(ClusterReport {
        subscribers: args.subscribers,
        rate: args.rate,
        embedded_p99_ms: embedded,
        cluster_p99_ms: crossing,
        redis_p99_ms: pings,
        ratio,
        faults,
        problem,
    })
}

fn announce(args: &ClusterArgs, text: &str) {
    if !args.quiet {
        eprintln!("{text}");
    }
}

/// One node, or two.
struct Hub {
    reads: Server,
    publishes: Option<Server>,
}

impl Hub {
    fn start(program: &Path, args: &ClusterArgs, redis: Option<SocketAddrV4>) -> Result<Self, Error> {
        let start = || {
            let address = free_address()?;
            let mut command = hub(program, address);
            if let Some(redis) = redis {
                command.env("TOWNCRIER__BACKPLANE__KIND", "redis");
                command.env("TOWNCRIER__BACKPLANE__REDIS__URL", format!("redis://{redis}"));
            }
            let mut server = Server::start(command, address, args.server_core)?;
            server.wait_until_ready("hub")?;
            Ok(server)
        };
        Ok(Self { reads: start()?, publishes: redis.map(|_| start()).transpose()? })
    }

    fn fanout(&self, args: &ClusterArgs) -> Result<FanoutReport, Error> {
        fanout(&FanoutArgs {
            target: Target {
                target: self.reads.address,
                server_pid: Some(self.reads.pid()),
                sources: 4,
                connect_timeout: Duration::from_secs(60),
                json: None,
                quiet: args.quiet,
            },
            traffic: Traffic {
                size: args.size,
                publish_target: self.publishes.as_ref().map(|server| server.address),
                seconds: args.seconds,
                warmup: args.warmup,
                publishers: 4,
                pipeline: 1,
                drain: Duration::from_secs(10),
            },
            subscribers: args.subscribers,
            topics: 1,
            rate: args.rate,
        })
    }
}

fn redis(args: &ClusterArgs) -> Result<Server, Error> {
    let address = free_address()?;
    let mut command = Command::new(PathBuf::from("redis-server"));
    command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", "", "--appendonly", "no"]);
    let mut server = Server::start(command, address, args.server_core)?;
    server.wait_until_listening("redis-server")?;
    Ok(server)
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
}

impl fmt::Display for ClusterReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} subscribers, {} events/s\n", self.subscribers, self.rate)?;
        let each = |values: &[f64]| values.iter().map(|ms| format!("{ms:.3}")).collect::<Vec<_>>().join("  ");
        let mut table = Table::default();
        table
            .row([&"p99 in ms", &"each run"])
            .row([&"one node", &each(&self.embedded_p99_ms)])
            .row([&"node to node", &each(&self.cluster_p99_ms)])
            .row([&"PING to Redis", &each(&self.redis_p99_ms)]);
        writeln!(f, "{table}\nnode to node is {:.2} of twice one node and a round trip (medians)", self.ratio)?;
        write_faults(f, &self.faults, self.problem.as_deref())
    }
}
