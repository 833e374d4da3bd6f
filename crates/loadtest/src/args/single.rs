//! The options of each scenario that measures one server.

use std::time::Duration;

use clap::value_parser;

use super::values::{count, factor, milliseconds, rate, rate_or_none, seconds, share, size, topic_count};
use super::{Target, Traffic};

/// Who listens to what.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Audience {
    /// Connections to hold
    #[arg(long, default_value_t = 1_000, value_parser = count)]
    pub subscribers: usize,
    /// Topics to spread them over
    #[arg(long, default_value_t = 1, value_parser = topic_count)]
    pub topics: usize,
    /// Topics of each subscriber: with one, the topics are dealt out in turn; with more, no two have the same
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u16).range(1..=100))]
    pub topics_each: u16,
}

impl Audience {
    /// So many subscribers of so many topics, one topic each.
    #[must_use]
    pub fn new(subscribers: usize, topics: usize) -> Self {
        Self { subscribers, topics, topics_each: 1 }
    }
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
    /// Who listens.
    #[command(flatten)]
    pub audience: Audience,
    /// Events per second over all topics
    #[arg(long, default_value_t = 100.0, value_parser = rate)]
    pub rate: f64,
}

/// Options of `max`.
#[derive(Debug, Clone, clap::Args)]
pub struct MaxArgs {
    /// Where the server is.
    #[command(flatten)]
    pub target: Target,
    /// Who listens.
    #[command(flatten)]
    pub audience: Audience,
    /// Events per second to begin with, over all topics
    #[arg(long, default_value_t = 100.0, value_parser = rate)]
    pub rate: f64,
    /// By how much the rate grows from step to step
    #[arg(long, default_value_t = 1.5, value_parser = factor)]
    pub factor: f64,
    /// Steps at most, the ones that narrow the result down among them
    #[arg(long, default_value_t = 24, value_parser = value_parser!(u8).range(1..=100))]
    pub steps: u8,
    /// Steps that narrow the result down, between the last that held and the first that did not
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u8).range(0..=10))]
    pub refine: u8,
    /// A step fails when 1 of 100 deliveries takes longer than this, in milliseconds
    #[arg(long, default_value_t = 1_000.0, value_parser = milliseconds)]
    pub p99_ms: f64,
    /// A step fails when less than this share of the rate is reached
    #[arg(long, default_value_t = 0.95, value_parser = share)]
    pub achieved: f64,
    /// Bytes of data per event
    #[arg(long, default_value_t = 100, value_parser = size)]
    pub size: usize,
    /// Seconds measured of each step
    #[arg(long, default_value = "4", value_parser = seconds)]
    pub seconds: Duration,
    /// Seconds of the same load before that
    #[arg(long, default_value = "1", value_parser = seconds)]
    pub warmup: Duration,
    /// Unanswered publishes of the one connection of each topic
    #[arg(long, default_value_t = 64, value_parser = value_parser!(u16).range(1..=1024))]
    pub pipeline: u16,
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
    /// Seconds to hold them while memory settles and idle CPU is measured, with whatever heartbeats the server sends
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

/// Options of `storm`.
#[derive(Debug, Clone, clap::Args)]
pub struct StormArgs {
    /// Where the server is.
    #[command(flatten)]
    pub target: Target,
    /// Who listens.
    #[command(flatten)]
    pub audience: Audience,
    /// Events that each subscriber misses of each of its topics; the server's history must hold them
    #[arg(long, default_value_t = 150, value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub missed: u32,
    /// Events per second while nobody is there, over all topics
    #[arg(long, default_value_t = 1_000.0, value_parser = rate)]
    pub rate: f64,
    /// Events per second while all come back, over all topics
    #[arg(long, default_value_t = 0.0, value_parser = rate_or_none)]
    pub live_rate: f64,
    /// Bytes of data per event
    #[arg(long, default_value_t = 100, value_parser = size)]
    pub size: usize,
    /// Seconds until the last must have caught up
    #[arg(long, default_value = "60", value_parser = seconds)]
    pub catch_up: Duration,
    /// Times that all are cut and come back
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u16).range(1..=1000))]
    pub rounds: u16,
}

/// Options of `churn`.
#[derive(Debug, Clone, clap::Args)]
pub struct ChurnArgs {
    /// Where the server is.
    #[command(flatten)]
    pub target: Target,
    /// What is published.
    #[command(flatten)]
    pub traffic: Traffic,
    /// Who listens.
    #[command(flatten)]
    pub audience: Audience,
    /// Events per second over all topics
    #[arg(long, default_value_t = 10.0, value_parser = rate)]
    pub rate: f64,
    /// Connections a second that leave, each for a new one
    #[arg(long, default_value_t = 200.0, value_parser = rate)]
    pub churn: f64,
    /// Each comes back with its cursor, and must not miss anything of the time in between
    #[arg(long)]
    pub resume: bool,
}

/// Options of `slow`.
#[derive(Debug, Clone, clap::Args)]
pub struct SlowArgs {
    /// Where the server is.
    #[command(flatten)]
    pub target: Target,
    /// What is published.
    #[command(flatten)]
    pub traffic: Traffic,
    /// Who listens.
    #[command(flatten)]
    pub audience: Audience,
    /// Events per second over all topics
    #[arg(long, default_value_t = 100.0, value_parser = rate)]
    pub rate: f64,
    /// Share of the subscribers that stop reading when the load begins, and go on when it is over
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    pub stalled: f64,
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
    /// Connections to hold; a number of topics beyond theirs is shared out, up to 100 each
    #[arg(long, default_value_t = 10_000, value_parser = count)]
    pub subscribers: usize,
    /// Numbers of topics to try, up to 1,000,000
    #[arg(long, value_delimiter = ',', default_value = "1,10,100,1000,10000", value_parser = topic_count)]
    pub counts: Vec<usize>,
    /// Deliveries per second, the same for each count: the publish rate rises with the number of topics
    #[arg(long, default_value_t = 20_000.0, value_parser = rate)]
    pub deliveries: f64,
}

/// Options of `publish`.
#[derive(Debug, Clone, clap::Args)]
pub struct PublishArgs {
    /// Where the server is.
    #[command(flatten)]
    pub target: Target,
    /// What is published.
    #[command(flatten)]
    pub traffic: Traffic,
    /// Connections that check what is published
    #[arg(long, default_value_t = 1, value_parser = count)]
    pub subscribers: usize,
    /// Topics to publish to, in turn
    #[arg(long, default_value_t = 4, value_parser = topic_count)]
    pub topics: usize,
    /// Events per second; without it, the next goes out as soon as an answer has come
    #[arg(long, value_parser = rate)]
    pub rate: Option<f64>,
}
