//! The load tool: what a delivery, a connection, a topic and a reconnect cost, measured over real sockets.
//!
//! One thread publishes and receives, so one clock stamps both ends. It does no more per delivery than it must (no HTTP
//! library, no async runtime, one shared read buffer) because it shares a two-core machine with the hub that it measures.
//! Every delivery is checked: a run that lost, repeated or reordered an event fails, however fast it was.
//!
//! A *scenario* is what is done, a *target* where and in which dialect it is spoken to, a *report* what came of it: a table,
//! JSON and a page with charts. Absolute figures say little about another machine, so `compare` measures servers beside
//! [`Floor`], a bare epoll server that does the least that any must: one `write` per delivery.
//!
//! It only talks to loopback addresses: this is a yardstick, not a weapon.

mod args;
mod client;
mod compare;
mod dialect;
mod error;
mod floor;
mod machine;
mod metrics;
mod payload;
mod poll;
mod progress;
mod report;
mod scenarios;
mod server;
mod stats;
mod sys;

use std::process::ExitCode;

pub use args::{
    Args, Audience, ChurnArgs, ClusterArgs, CompareArgs, FanoutArgs, FloorArgs, Foreign, IdleArgs, MaxArgs, Output,
    Part, PublishArgs, Scenario, SlowArgs, StormArgs, Subject, Target, TopicsArgs, Traffic,
};
pub use client::Faults;
pub use compare::{CompareReport, compare};
pub use dialect::{Kind, Opens, Templates};
pub use error::Error;
pub use floor::Floor;
pub use metrics::Change;
pub use scenarios::churn::{ChurnReport, churn};
pub use scenarios::cluster::{ClusterReport, cluster};
pub use scenarios::fanout::{FanoutReport, fanout};
pub use scenarios::idle::{IdleReport, MemorySample, idle};
pub use scenarios::max::{MaxReport, MaxStep, max};
pub use scenarios::publish::{PublishReport, publish};
pub use scenarios::slow::{SlowReport, Stalled, slow};
pub use scenarios::storm::{StormReport, StormRound, storm};
pub use scenarios::topics::{TopicsReport, TopicsRow, topics};
pub use stats::{Quantiles, ServerCpu};

use machine::Machine;
use report::publish as report;

/// Runs the chosen scenario, prints its table on stdout and writes its files where asked.
///
/// Returns [`ExitCode::FAILURE`] when the scenario ran but a delivery was wrong or a publish was refused.
///
/// # Errors
/// When the scenario could not be run at all: a target that is not loopback, a refused connection, a passed deadline.
pub fn run(args: Args) -> Result<ExitCode, Error> {
    let machine = Machine::look()?;
    if machine.was_busy() && !matches!(args.scenario, Scenario::Floor(_)) {
        let load = machine.load_average;
        eprintln!("The machine was busy before this began (load average {load:.1}): trust no figure of this run.");
    }
    match args.scenario {
        Scenario::Fanout(args) => report(&fanout(&args)?, &machine, &args.target.output),
        Scenario::Max(args) => report(&max(&args)?, &machine, &args.target.output),
        Scenario::Idle(args) => report(&idle(&args)?, &machine, &args.target.output),
        Scenario::Storm(args) => report(&storm(&args)?, &machine, &args.target.output),
        Scenario::Churn(args) => report(&churn(&args)?, &machine, &args.target.output),
        Scenario::Slow(args) => report(&slow(&args)?, &machine, &args.target.output),
        Scenario::Topics(args) => report(&topics(&args)?, &machine, &args.target.output),
        Scenario::Publish(args) => report(&publish(&args)?, &machine, &args.target.output),
        Scenario::Cluster(args) => report(&cluster(&args)?, &machine, &args.output),
        Scenario::Compare(args) => report(&compare(&args)?, &machine, &args.output),
        Scenario::Floor(args) => floor::serve(&args),
    }
}
