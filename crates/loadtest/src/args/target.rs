//! What every scenario must know: where the server is, how it is spoken to, what is published, where the results go.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use clap::value_parser;

use super::values::{seconds, size};
use crate::dialect::{Kind, Templates};

/// Where the server is and how to reach it.
#[derive(Debug, Clone, clap::Args)]
pub struct Target {
    /// The server's plain HTTP address; loopback only. Several, divided by commas, are nodes of one hub: subscribers are
    /// spread over them, and the first takes what is published
    #[arg(long, default_value = "127.0.0.1:8080", value_delimiter = ',')]
    pub target: Vec<SocketAddrV4>,
    /// What runs there: how to subscribe, publish and resume
    #[arg(long, value_enum, default_value = "towncrier")]
    pub kind: Kind,
    /// How a `generic` server is spoken to, and what differs from the usual of another.
    #[command(flatten)]
    pub templates: Templates,
    /// The server's process, for its CPU and memory; several, divided by commas, count together
    #[arg(long, value_delimiter = ',')]
    pub server_pid: Vec<u32>,
    /// Loopback source addresses (127.0.0.2 and up) to spread connections over; each allows about 28,000
    #[arg(long, default_value_t = 4, value_parser = value_parser!(u8).range(1..=200))]
    pub sources: u8,
    /// Seconds until all subscribers must be connected
    #[arg(long, default_value = "60", value_parser = seconds)]
    pub connect_timeout: Duration,
    /// Connections that are being opened at a time: below the server's accept backlog, or SYNs are dropped
    #[arg(long, default_value_t = 200, value_parser = value_parser!(u16).range(1..=4096))]
    pub at_once: u16,
    /// Where the results go.
    #[command(flatten)]
    pub output: Output,
}

impl Target {
    /// A hub at `address` with the defaults of the command line.
    #[must_use]
    pub fn new(address: SocketAddrV4) -> Self {
        Self {
            target: vec![address],
            kind: Kind::Towncrier,
            templates: Templates::default(),
            server_pid: Vec::new(),
            sources: 4,
            connect_timeout: Duration::from_secs(60),
            at_once: 200,
            output: Output::default(),
        }
    }

    /// The node that takes what is published.
    pub(crate) fn first(&self) -> SocketAddrV4 {
        self.target.first().copied().unwrap_or(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080))
    }
}

/// Where the results go, beside the table on stdout.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Output {
    /// Also write the result to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Also write it to this file as a page with charts, which needs no other file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// No progress on stderr
    #[arg(long)]
    pub quiet: bool,
}

/// How events are published.
#[derive(Debug, Clone, clap::Args)]
pub struct Traffic {
    /// Bytes of data per event
    #[arg(long, default_value_t = 100, value_parser = size)]
    pub size: usize,
    /// Publish here, on another node of the same hub, and not to the target; loopback only
    #[arg(long, value_name = "ADDRESS")]
    pub publish_target: Option<SocketAddrV4>,
    /// Seconds that are measured
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub seconds: Duration,
    /// Seconds of the same load before that
    #[arg(long, default_value = "2", value_parser = seconds)]
    pub warmup: Duration,
    /// Connections to publish over; a topic keeps to one of them
    #[arg(long, default_value_t = 4, value_parser = value_parser!(u16).range(1..=64))]
    pub publishers: u16,
    /// Unanswered publishes per connection
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u16).range(1..=1024))]
    pub pipeline: u16,
    /// Seconds to wait for the last deliveries
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub drain: Duration,
}

impl Default for Traffic {
    /// That of the command line.
    fn default() -> Self {
        Self {
            size: 100,
            publish_target: None,
            seconds: Duration::from_secs(10),
            warmup: Duration::from_secs(2),
            publishers: 4,
            pipeline: 1,
            drain: Duration::from_secs(10),
        }
    }
}
