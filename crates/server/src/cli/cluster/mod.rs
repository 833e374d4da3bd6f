//! `towncrier cluster`: Redis, several nodes and nginx on this machine, for those who want to try a cluster or work on it.
//!
//! One process watches over the others. A node that ends is started again, as an orchestrator would; without Redis or
//! nginx there is no cluster to watch, so their end is its end. Whatever way this process ends, the others end as well; of one
//! that is killed, a temporary folder is left.

mod logs;
mod plan;
mod ports;
mod probe;
mod processes;
mod programs;
mod proxy;
mod supervise;

use std::{
    env,
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use tokio::runtime;

use self::{logs::Logs, plan::Plan, processes::Role};
use super::{ConfigArgs, EXIT_USAGE};
use crate::config;

/// How long the last lines of the log may take.
const LOG_END: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct ClusterArgs {
    /// How many nodes, 1 to 16.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=16))]
    nodes: u16,
    /// Where nginx listens: a loopback address, with port 0 for any free port.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = parse_loopback)]
    listen: SocketAddr,
    /// Leave nginx out; the nodes are reached directly.
    #[arg(long, conflicts_with = "listen")]
    no_proxy: bool,
    /// The port of the first node; each other has the next [default: free ports].
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    node_port: u16,
    /// Use a running Redis; without this, the one of `backplane.redis.url` if `backplane.kind` is `redis`, or else a new one.
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// The port of the new Redis [default: a free port].
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true, conflicts_with = "redis")]
    redis_port: u16,
    /// Where the new Redis keeps its data, for the next time [default: nowhere, all is forgotten at the end].
    #[arg(long, value_name = "FOLDER", conflicts_with = "redis")]
    data: Option<PathBuf>,
    /// The configuration of the nodes; their addresses and names, and the Redis, are the cluster's.
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, thiserror::Error)]
enum ClusterError {
    #[error("{0}")]
    Config(config::Problems),
    #[error("{0}")]
    Missing(String),
    #[error("cannot listen on {address}: {error}; choose another with {flag}")]
    Listen { address: SocketAddr, flag: &'static str, error: io::Error },
    #[error("there are not so many ports after that one; choose a lower one with --node-port")]
    PastLastPort,
    #[error("temporary folder: {0}")]
    Folder(io::Error),
    #[error("{}: {error}", folder.display())]
    Data { folder: PathBuf, error: io::Error },
    #[error("{}: another cluster keeps its data there", folder.display())]
    DataInUse { folder: PathBuf },
    #[error("{0}")]
    System(io::Error),
    #[error("cannot start {role}: {error}")]
    Start { role: Role, error: io::Error },
    #[error("{role} is not ready: {seen}")]
    NotReady { role: Role, seen: String },
    #[error("{role} ended by itself ({status})")]
    Ended { role: Role, status: String },
    #[error("did not end in time and was killed: {0}")]
    Killed(String),
    #[error("stopped at once by a second {0}")]
    AtOnce(&'static str),
}

/// Runs a cluster until a signal ends it.
pub(super) fn run(args: &ClusterArgs) -> ExitCode {
    match try_run(args) {
        Err(ClusterError::Config(problems)) => {
            eprintln!("{problems}");
            ExitCode::from(EXIT_USAGE)
        }
        result => super::exit(result),
    }
}

fn try_run(args: &ClusterArgs) -> Result<(), ClusterError> {
    let towncrier = env::current_exe().map_err(ClusterError::System)?;
    let plan = Plan::new(args, &towncrier)?;
    let logs = Logs::start().map_err(ClusterError::System)?;
    // On this thread, which lives as long as the process.
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(ClusterError::System)?;
    let result = runtime.block_on(supervise::run(&plan, towncrier, &logs, || {
        // Whether somebody reads it or not, the cluster is there.
        let _ = writeln!(io::stdout(), "{}", supervise::describe(&plan));
    }));
    // A probe may still be waiting for an answer.
    runtime.shutdown_background();
    logs.close(LOG_END);
    result
}

fn parse_loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "must be an IP address and a port, such as 127.0.0.1:8080")?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err("must be a loopback address: nobody is asked who they are".into())
    }
}
