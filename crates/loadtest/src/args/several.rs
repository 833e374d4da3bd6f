//! The options of the scenarios that start servers of their own, and of the floor.

use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::time::Duration;

use clap::value_parser;

use super::Output;
use super::values::{core, count, rate, seconds, size};
use crate::dialect::Kind;

/// Servers that `compare` knows how to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Subject {
    /// The hub
    Hub,
    /// The hub with a Redis of its own, whose CPU is not counted: `cluster` tells it
    Redis,
    /// The floor with one write per subscriber and loop turn
    Coalesce,
    /// The floor itself, once more: shows the noise of the yardstick
    Floor,
}

/// A part of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// CPU and latency of a delivery, for two shapes of load
    Fanout,
    /// The same with five topics for each subscriber, no two having the same five
    Sets,
    /// Most deliveries a second
    Max,
    /// Memory of an idle connection, and CPU with heartbeats on
    Idle,
    /// All are cut, and resume
    Storm,
    /// Rate and latency of publishing
    Publish,
    /// CPU as subscribers spread over more topics
    Topics,
}

/// A server that another program starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// How it is spoken to, and its name in the tables.
    pub kind: Kind,
    /// Started with an address to listen on as its argument; ended by SIGTERM.
    pub program: PathBuf,
}

/// Options of `compare`.
#[derive(Debug, Clone, clap::Args)]
pub struct CompareArgs {
    /// The hub's binary, started with `serve`; this one by default
    #[arg(long, value_name = "PATH")]
    pub hub: Option<PathBuf>,
    /// What to hold against the floor
    #[arg(long, value_enum, value_delimiter = ',', default_value = "hub")]
    pub subject: Vec<Subject>,
    /// Another server to hold against it: `nchan=PROGRAM` starts that program with an address to listen on
    #[arg(long, value_name = "KIND=PROGRAM", value_parser = foreign)]
    pub server: Vec<Foreign>,
    /// What to compare
    #[arg(long, value_enum, value_delimiter = ',', default_value = "fanout,sets,max,idle,storm,publish,topics")]
    pub parts: Vec<Part>,
    /// Runs of each server and shape; the median counts
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u8).range(1..=20))]
    pub repeat: u8,
    /// Seconds measured per run
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub seconds: Duration,
    /// Seconds of load before that
    #[arg(long, default_value = "2", value_parser = seconds)]
    pub warmup: Duration,
    /// A share of the usual numbers of connections, for a trial
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = value_parser!(u16).range(1..=100))]
    pub smaller: u16,
    /// Core for the servers
    #[arg(long, default_value_t = 0, value_parser = core)]
    pub server_core: usize,
    /// Core for this client
    #[arg(long, default_value_t = 1, value_parser = core)]
    pub client_core: usize,
    /// Where the results go.
    #[command(flatten)]
    pub output: Output,
}

/// Options of `cluster`.
#[derive(Debug, Clone, clap::Args)]
pub struct ClusterArgs {
    /// The hub's binary, started with `serve`; this one by default
    #[arg(long, value_name = "PATH")]
    pub hub: Option<PathBuf>,
    /// Nodes: one is published to, the others are read from
    #[arg(long, default_value_t = 2, value_parser = value_parser!(u8).range(2..=8))]
    pub nodes: u8,
    /// Connections to hold, on all nodes but the one that is published to
    #[arg(long, default_value_t = 100, value_parser = count)]
    pub subscribers: usize,
    /// Events per second
    #[arg(long, default_value_t = 100.0, value_parser = rate)]
    pub rate: f64,
    /// Bytes of data per event
    #[arg(long, default_value_t = 100, value_parser = size)]
    pub size: usize,
    /// Runs of each hub; the median counts
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u8).range(1..=20))]
    pub repeat: u8,
    /// Seconds measured per run
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub seconds: Duration,
    /// Seconds of load before that
    #[arg(long, default_value = "2", value_parser = seconds)]
    pub warmup: Duration,
    /// Core for the nodes and Redis
    #[arg(long, default_value_t = 0, value_parser = core)]
    pub server_core: usize,
    /// Core for this client
    #[arg(long, default_value_t = 1, value_parser = core)]
    pub client_core: usize,
    /// Where the results go.
    #[command(flatten)]
    pub output: Output,
}

/// Options of `floor`.
#[derive(Debug, Clone, clap::Args)]
pub struct FloorArgs {
    /// Address to listen on; loopback only
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: SocketAddrV4,
    /// Write once per subscriber and loop turn instead of once per event
    #[arg(long)]
    pub coalesce: bool,
    /// Events of each topic that it keeps for those who resume
    #[arg(long, default_value_t = 0, value_parser = value_parser!(u32).range(0..=1_000_000))]
    pub history: u32,
    /// Seconds after which it ends by itself
    #[arg(long, default_value = "3600", value_parser = seconds)]
    pub lifetime: Duration,
}

fn foreign(text: &str) -> Result<Foreign, String> {
    let (kind, program) = text.split_once('=').ok_or("must be KIND=PROGRAM")?;
    let kind = <Kind as clap::ValueEnum>::from_str(kind, false)?;
    if matches!(kind, Kind::Generic | Kind::Floor) {
        return Err("must be a kind of server that is known, and not the floor".to_owned());
    }
    Ok(Foreign { kind, program: PathBuf::from(program) })
}
