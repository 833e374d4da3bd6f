//! The command line. Each scenario's options are a plain struct, so that tests and `compare` can fill them in themselves.

use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::time::Duration;

use clap::value_parser;

use crate::payload;

/// `towncrier loadtest`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// What to measure.
    #[command(subcommand)]
    pub scenario: Scenario,
}

/// What can be measured, and the yardstick itself.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Scenario {
    /// Publish at a steady rate and check and time every delivery
    Fanout(FanoutArgs),
    /// Memory per connection and CPU of a server whose subscribers have nothing to read
    Idle(IdleArgs),
    /// CPU per delivery as the same subscribers spread over more and more topics
    Topics(TopicsArgs),
    /// The hub against the floor server, alternately, on pinned cores
    Compare(CompareArgs),
    /// A hub of two nodes joined by Redis, publishing on one and reading on the other, against a hub of one node
    Cluster(ClusterArgs),
    /// Run the floor: a bare epoll server, the least that any hub must do
    Floor(FloorArgs),
}

/// Where the server is and how to reach it.
#[derive(Debug, Clone, clap::Args)]
pub struct Target {
    /// The server's plain HTTP address; loopback only
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub target: SocketAddrV4,
    /// The server's process, for its CPU and memory
    #[arg(long)]
    pub server_pid: Option<u32>,
    /// Loopback source addresses (127.0.0.2 and up) to spread connections over; each allows about 28,000
    #[arg(long, default_value_t = 4, value_parser = value_parser!(u8).range(1..=200))]
    pub sources: u8,
    /// Seconds until all subscribers must be connected
    #[arg(long, default_value = "60", value_parser = seconds)]
    pub connect_timeout: Duration,
    /// Also write the result to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
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

/// Options of `fanout`.
#[derive(Debug, Clone, clap::Args)]
pub struct FanoutArgs {
    /// Where the server is.
    #[command(flatten)]
    pub target: Target,
    /// What is published.
    #[command(flatten)]
    pub traffic: Traffic,
    /// Connections to hold
    #[arg(long, default_value_t = 1_000, value_parser = count)]
    pub subscribers: usize,
    /// Topics to spread them over, round robin
    #[arg(long, default_value_t = 1, value_parser = topic_count)]
    pub topics: usize,
    /// Events per second over all topics
    #[arg(long, default_value_t = 100.0, value_parser = rate)]
    pub rate: f64,
}

/// Options of `idle`.
#[derive(Debug, Clone, clap::Args)]
pub struct IdleArgs {
    /// Where the server is.
    #[command(flatten)]
    pub target: Target,
    /// Connections to hold
    #[arg(long, default_value_t = 10_000, value_parser = count)]
    pub subscribers: usize,
    /// Topics to spread them over, round robin
    #[arg(long, default_value_t = 1, value_parser = topic_count)]
    pub topics: usize,
    /// Seconds to hold them while memory settles and idle CPU is measured
    #[arg(long, default_value = "5", value_parser = seconds)]
    pub seconds: Duration,
    /// Then publish this many events and measure memory again
    #[arg(long, default_value_t = 0)]
    pub events: u32,
    /// Events per second for that
    #[arg(long, default_value_t = 10.0, value_parser = rate)]
    pub rate: f64,
    /// Bytes of data of each
    #[arg(long, default_value_t = 100, value_parser = size)]
    pub size: usize,
    /// Times to connect all, measure and disconnect all
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u16).range(1..=1000))]
    pub rounds: u16,
}

/// Options of `topics`.
#[derive(Debug, Clone, clap::Args)]
pub struct TopicsArgs {
    /// Where the server is.
    #[command(flatten)]
    pub target: Target,
    /// What is published.
    #[command(flatten)]
    pub traffic: Traffic,
    /// Connections to hold
    #[arg(long, default_value_t = 10_000, value_parser = count)]
    pub subscribers: usize,
    /// Numbers of topics to try
    #[arg(long, value_delimiter = ',', default_value = "1,10,100,1000,10000", value_parser = topic_count)]
    pub counts: Vec<usize>,
    /// Deliveries per second, the same for each count: the publish rate rises with the number of topics
    #[arg(long, default_value_t = 20_000.0, value_parser = rate)]
    pub deliveries: f64,
}

/// What `compare` holds against the floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Subject {
    /// The hub
    Hub,
    /// The floor with one write per subscriber and loop turn
    Coalesce,
    /// The floor itself: shows the noise of the yardstick
    Floor,
}

/// Options of `compare`.
#[derive(Debug, Clone, clap::Args)]
pub struct CompareArgs {
    /// The hub's binary, started with `serve`; this one by default
    #[arg(long, value_name = "PATH")]
    pub hub: Option<PathBuf>,
    /// What to hold against the floor
    #[arg(long, value_enum, default_value = "hub")]
    pub subject: Subject,
    /// Runs of each server and shape; the median counts
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u8).range(1..=20))]
    pub repeat: u8,
    /// Seconds measured per run
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub seconds: Duration,
    /// Seconds of load before that
    #[arg(long, default_value = "2", value_parser = seconds)]
    pub warmup: Duration,
    /// Core for the servers
    #[arg(long, default_value_t = 0, value_parser = core)]
    pub server_core: usize,
    /// Core for this client
    #[arg(long, default_value_t = 1, value_parser = core)]
    pub client_core: usize,
    /// Leave out memory per idle connection
    #[arg(long)]
    pub skip_idle: bool,
    /// Leave out the sweep over numbers of topics
    #[arg(long)]
    pub skip_topics: bool,
    /// Also write the result to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// No progress on stderr
    #[arg(long)]
    pub quiet: bool,
}

/// Options of `cluster`.
#[derive(Debug, Clone, clap::Args)]
pub struct ClusterArgs {
    /// The hub's binary, started with `serve`; this one by default
    #[arg(long, value_name = "PATH")]
    pub hub: Option<PathBuf>,
    /// Connections to hold, all on one node
    #[arg(long, default_value_t = 100, value_parser = count)]
    pub subscribers: usize,
    /// Events per second, all published on the other
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
    /// Also write the result to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// No progress on stderr
    #[arg(long)]
    pub quiet: bool,
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
    /// Seconds after which it ends by itself
    #[arg(long, default_value = "3600", value_parser = seconds)]
    pub lifetime: Duration,
}

/// A duration in seconds, at most a day: nothing here runs for ever.
fn seconds(text: &str) -> Result<Duration, String> {
    let value: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if !(0.0..=86_400.0).contains(&value) {
        return Err("must be from 0 to 86400 seconds".to_owned());
    }
    Ok(Duration::from_secs_f64(value))
}

fn rate(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if !(0.001..=10_000_000.0).contains(&value) {
        return Err("must be from 0.001 to 10000000 a second".to_owned());
    }
    Ok(value)
}

fn size(text: &str) -> Result<usize, String> {
    bounded(text, payload::SIZE_MIN, payload::SIZE_MAX)
}

fn count(text: &str) -> Result<usize, String> {
    bounded(text, 1, 1_000_000)
}

fn topic_count(text: &str) -> Result<usize, String> {
    bounded(text, 1, payload::TOPICS_MAX)
}

fn core(text: &str) -> Result<usize, String> {
    bounded(text, 0, rustix::thread::CpuSet::MAX_CPU - 1)
}

fn bounded(text: &str, min: usize, max: usize) -> Result<usize, String> {
    let value = text.parse().map_err(|_| "not a whole number".to_owned())?;
    if !(min..=max).contains(&value) {
        return Err(format!("must be from {min} to {max}"));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["loadtest", "topics", "--counts", "1,20", "--seconds", "0.5"]).expect("valid");
        let Scenario::Topics(args) = cli.args.scenario else { panic!("{cli:?}") };
        assert_eq!(args.counts, [1, 20]);
        assert_eq!(args.traffic.seconds, Duration::from_millis(500));
    }

    #[test]
    fn values_have_bounds() {
        for wrong in
            ["--rate=0", "--rate=nan", "--size=10", "--seconds=-1", "--seconds=1e9", "--topics=0", "--sources=0"]
        {
            assert!(Cli::try_parse_from(["loadtest", "fanout", wrong]).is_err(), "{wrong}");
        }
    }
}
