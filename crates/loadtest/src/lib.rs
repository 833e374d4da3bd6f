//! The load tool: what a delivery, a connection and a topic cost, measured over real sockets.
//!
//! One thread publishes and receives, so one clock stamps both ends. It does no more per delivery than it must (no HTTP
//! library, no async runtime, one shared read buffer) because it shares a two-core machine with the hub that it measures.
//! Every delivery is checked: a run that lost, repeated or reordered an event fails, however fast it was.
//!
//! Absolute figures say little about another machine, so `compare` measures the hub against [`Floor`], a bare epoll server
//! that does the least that any server must: one `write` per delivery.
//!
//! It only talks to loopback addresses: this is a yardstick, not a weapon.

mod args;
mod client;
mod cluster;
mod compare;
mod error;
mod fanout;
mod floor;
mod idle;
mod payload;
mod poll;
mod report;
mod server;
mod stats;
mod sys;
mod topics;

use std::process::ExitCode;

pub use args::{
    Args, ClusterArgs, CompareArgs, FanoutArgs, FloorArgs, IdleArgs, Scenario, Subject, Target, TopicsArgs, Traffic,
};
pub use client::Faults;
pub use cluster::{ClusterReport, cluster};
pub use compare::{CompareReport, Comparison, compare};
pub use error::Error;
pub use fanout::{FanoutReport, fanout};
pub use floor::Floor;
pub use idle::{IdleReport, MemorySample, idle};
pub use stats::{Quantiles, ServerCpu};
pub use topics::{TopicsReport, TopicsRow, topics};

/// Runs the chosen scenario, prints its table on stdout and writes its JSON where asked.
///
/// Returns [`ExitCode::FAILURE`] when the scenario ran but a delivery was wrong or a publish was refused.
///
/// # Errors
/// When the scenario could not be run at all: a target that is not loopback, a refused connection, a passed deadline.
pub fn run(args: Args) -> Result<ExitCode, Error> {
    match args.scenario {
        Scenario::Fanout(args) => report::publish(&fanout(&args)?, args.target.json.as_deref()),
        Scenario::Idle(args) => report::publish(&idle(&args)?, args.target.json.as_deref()),
        Scenario::Topics(args) => report::publish(&topics(&args)?, args.target.json.as_deref()),
        Scenario::Compare(args) => report::publish(&compare(&args)?, args.json.as_deref()),
        Scenario::Cluster(args) => report::publish(&cluster(&args)?, args.json.as_deref()),
        Scenario::Floor(args) => floor::serve(&args),
    }
}
