//! `idle`: what a connection costs that has nothing to read.

use std::thread::sleep;
use std::time::Duration;

use serde::Serialize;

use super::require_pid;
use crate::args::{Audience, IdleArgs, Traffic};
use crate::client::{Client, Faults, Listeners, Needs};
use crate::report::{Document, Report, Table};
use crate::{Error, sys};

/// Between rounds: long enough for the server to notice that everyone has left.
const BETWEEN_ROUNDS: Duration = Duration::from_secs(2);

/// Memory at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MemorySample {
    /// When it was taken.
    pub when: String,
    /// The server's proportional set size in bytes.
    pub pss: u64,
    /// Its resident set size in bytes.
    pub rss: u64,
    /// Growth of the PSS since before the first connection, in bytes per connection.
    pub bytes_per_connection: f64,
    /// Growth of the RSS since then, in bytes per connection.
    pub rss_bytes_per_connection: f64,
    /// Growth of the kernel's buffers of TCP sockets since then, of both ends, in bytes per connection.
    pub tcp_bytes_per_connection: f64,
    /// Growth of the kernel's slabs since then, of both ends and of whatever else went on, in bytes per connection.
    pub slab_bytes_per_connection: f64,
}

/// What holding connections came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct IdleReport {
    /// Connections held.
    pub subscribers: usize,
    /// Memory before connecting, then for each round after settling and after events.
    pub memory: Vec<MemorySample>,
    /// Share of a core that the server used while nothing was published, first round.
    pub idle_cores: f64,
    /// Heartbeats received meanwhile, per second.
    pub heartbeats_per_s: f64,
    /// What went wrong.
    pub faults: Faults,
    /// The first thing that went wrong, in words.
    pub problem: Option<String>,
}

impl IdleReport {
    /// User-space bytes per connection after the first round settled.
    #[must_use]
    pub fn bytes_per_connection(&self) -> Option<f64> {
        self.memory.get(1).map(|sample| sample.bytes_per_connection)
    }
}

/// Connects, waits and measures; see [`IdleArgs`].
///
/// # Errors
/// Without `--server-pid`, or if that process cannot be read; if the server refuses a subscriber or is not on loopback.
pub fn idle(args: &IdleArgs) -> Result<IdleReport, Error> {
    let pids = require_pid(&args.target)?;
    let look = || Ok::<_, Error>((sys::memory_of_all(pids)?, sys::kernel_memory()?));
    let (before, kernel_before) = look()?;
    let sample = |when: String| -> Result<MemorySample, Error> {
        let (memory, kernel) = look()?;
        let growth = |now: u64, before: u64| (now as f64 - before as f64) / args.subscribers as f64;
        Ok(MemorySample {
            when,
            pss: memory.pss,
            rss: memory.rss,
            bytes_per_connection: growth(memory.pss, before.pss),
            rss_bytes_per_connection: growth(memory.rss, before.rss),
            tcp_bytes_per_connection: growth(kernel.tcp, kernel_before.tcp),
            slab_bytes_per_connection: growth(kernel.slab, kernel_before.slab),
        })
    };
    let server_cpu = || Ok::<_, Error>(sys::cpu_of_all(pids)?.unwrap_or_default());
    let audience = Audience::new(args.subscribers, args.topics);
    let mut report = IdleReport {
        subscribers: args.subscribers,
        memory: vec![sample("before".to_owned())?],
        idle_cores: 0.0,
        heartbeats_per_s: 0.0,
        faults: Faults::default(),
        problem: None,
    };
    for round in 1..=args.rounds {
        let mut client = Client::connect(&args.target, audience, Needs::default())?;
        let cpu_before = server_cpu()?;
        let heartbeats = client.rest(args.seconds)?;
        let cpu = server_cpu()? - cpu_before;
        let seconds = args.seconds.as_secs_f64().max(f64::MIN_POSITIVE);
        if round == 1 {
            report.idle_cores = (cpu.user + cpu.system).as_secs_f64() / seconds;
            report.heartbeats_per_s = heartbeats as f64 / seconds;
        }
        report.memory.push(sample(format!("round {round}, connected"))?);
        if args.events > 0 {
            let outcome = client.publish(args.rate, &traffic(args), Listeners::Subscribers)?;
            report.faults.add(outcome.faults);
            report.problem = report.problem.or(outcome.problem);
            client.rest(args.seconds)?;
            report.memory.push(sample(format!("round {round}, after {} events", outcome.published))?);
        }
        drop(client);
        if round < args.rounds {
            sleep(BETWEEN_ROUNDS);
        }
    }
    Ok(report)
}

/// As many events as asked for, at the rate asked for.
fn traffic(args: &IdleArgs) -> Traffic {
    Traffic {
        size: args.size,
        seconds: Duration::from_secs_f64(f64::from(args.events) / args.rate),
        warmup: Duration::ZERO,
        drain: Duration::from_secs(60),
        ..Traffic::default()
    }
}

impl Report for IdleReport {
    fn passed(&self) -> bool {
        self.faults.is_empty()
    }
    fn document(&self) -> Document {
        let mut table = Table::default();
        table.row([
            &"server memory",
            &"PSS MB",
            &"RSS MB",
            &"PSS B/connection",
            &"RSS B/connection",
            &"kernel: TCP",
            &"kernel: slab",
        ]);
        let megabytes = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
        for (index, sample) in self.memory.iter().enumerate() {
            let share = |bytes: f64| {
                if index == 0 { "-".to_owned() } else { format!("{bytes:.0}") }
            };
            table.row([
                &sample.when,
                &megabytes(sample.pss),
                &megabytes(sample.rss),
                &share(sample.bytes_per_connection),
                &share(sample.rss_bytes_per_connection),
                &share(sample.tcp_bytes_per_connection),
                &share(sample.slab_bytes_per_connection),
            ]);
        }
        let mut document = Document::new(format!("{} idle subscribers", self.subscribers));
        document
            .table(table)
            .text("The kernel's part is that of both ends, and of whatever else the machine did meanwhile.")
            .text(format!("idle: {:.3} cores, {:.1} heartbeats/s", self.idle_cores, self.heartbeats_per_s));
        if !self.faults.is_empty() {
            document.faults(&self.faults, self.problem.as_deref());
        }
        document
    }
}
