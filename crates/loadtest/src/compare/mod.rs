//! `compare`: servers beside the floor, in one run, alternately, each on the same pinned core.
//!
//! Only ratios out of one run mean anything on another machine or another day. Each measurement has a server of its own,
//! freshly started, so that none inherits the memory or the sockets of an earlier one.

mod grid;
mod launch;
mod parts;
mod report;

pub use report::CompareReport;

use launch::Launch;
use parts::Plan;

use crate::args::{CompareArgs, Part, Target};
use crate::sys::Pinned;
use crate::{Error, fanout, idle, max, publish, storm, topics};

/// What each of the servers came to, in the order of their names; a list of runs for each.
pub(crate) type Runs<R> = Vec<Vec<R>>;

/// Runs everything; see [`CompareArgs`]. Takes about twenty minutes for each server with the defaults.
///
/// # Errors
/// If a server does not start, if a core cannot be had, or as the scenarios.
pub fn compare(args: &CompareArgs) -> Result<CompareReport, Error> {
    if args.server_core == args.client_core {
        return Err(Error::Options("the servers and the client need a core each".to_owned()));
    }
    let launches = Launch::all(args)?;
    let _pinned = Pinned::to(args.client_core)?;
    let plan = Plan::new(args);
    let mut report = CompareReport::new(launches.iter().map(|launch| launch.name.clone()).collect());
    for part in &args.parts {
        let turns = Turns { args, launches: &launches, part: *part };
        match part {
            Part::Fanout => {
                for shape in plan.shapes() {
                    let runs = turns.run(args.repeat, |target| fanout(&plan.fanout(target, shape)))?;
                    report.fanout.push((shape, runs));
                }
            }
            Part::Sets => {
                let shape = plan.sets();
                let runs = turns.run(args.repeat, |target| fanout(&plan.fanout(target, shape)))?;
                report.fanout.push((shape, runs));
            }
            Part::Max => report.max = turns.run(1, |target| max(&plan.max(target)))?,
            Part::Idle => report.idle = turns.run(1, |target| idle(&plan.idle(target)))?,
            Part::Storm => report.storm = turns.run(args.repeat, |target| storm(&plan.storm(target)))?,
            Part::Publish => report.publish = turns.run(args.repeat, |target| publish(&plan.publish(target)))?,
            Part::Topics => report.topics = turns.run(1, |target| topics(&plan.topics(target)))?,
        }
    }
    Ok(report)
}

/// One part of the comparison, on each server in turn.
struct Turns<'a> {
    args: &'a CompareArgs,
    launches: &'a [Launch],
    part: Part,
}

impl Turns<'_> {
    fn run<R>(&self, repeat: u8, measure: impl Fn(Target) -> Result<R, Error>) -> Result<Runs<R>, Error> {
        let mut runs: Runs<R> = self.launches.iter().map(|_| Vec::new()).collect();
        for round in 1..=repeat {
            for (launch, runs) in self.launches.iter().zip(&mut runs) {
                if !self.args.output.quiet {
                    eprintln!("{:?}: {}, run {round} of {repeat}", self.part, launch.name);
                }
                let (_servers, target) = launch.start()?;
                runs.push(measure(target)?);
            }
        }
        Ok(runs)
    }
}
