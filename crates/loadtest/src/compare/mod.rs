//! `compare`: a hub against the floor, in one run, alternately, each on the same pinned core.
//!
//! Only ratios out of one run mean anything on another machine or another day. Each measurement has a server of its own,
//! freshly started, so that neither inherits the memory or the sockets of an earlier one.

mod launch;
mod report;

use std::time::Duration;

pub use report::{CompareReport, Comparison};

use launch::Launch;
use report::Run;

use crate::Error;
use crate::args::{CompareArgs, FanoutArgs, IdleArgs, Target, TopicsArgs, Traffic};
use crate::fanout::fanout;
use crate::idle::idle;
use crate::server::Server;
use crate::sys::{Pinned, load_average};
use crate::topics::topics;

/// What one load looks like.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(crate) struct Shape {
    pub(crate) subscribers: usize,
    pub(crate) rate: f64,
    pub(crate) size: usize,
}

/// Both make 100,000 deliveries a second: few connections often, and many seldom.
const SHAPES: [Shape; 2] =
    [Shape { subscribers: 1_000, rate: 100.0, size: 100 }, Shape { subscribers: 10_000, rate: 10.0, size: 100 }];

const IDLE_SUBSCRIBERS: usize = 10_000;
const IDLE_SETTLE: Duration = Duration::from_secs(5);
const TOPIC_COUNTS: [usize; 5] = [1, 10, 100, 1_000, 10_000];
const TOPIC_DELIVERIES_PER_S: f64 = 20_000.0;
const TOPIC_SECONDS_MAX: Duration = Duration::from_secs(5);

/// Runs everything; see [`CompareArgs`]. Takes about five minutes with the defaults.
///
/// # Errors
/// If a server does not start, if a core cannot be had, or as [`fanout`], [`idle`] and [`topics`].
pub fn compare(args: &CompareArgs) -> Result<CompareReport, Error> {
    if args.server_core == args.client_core {
        return Err(Error::Options("the servers and the client need a core each".to_owned()));
    }
    let floor = Launch::floor(args)?;
    let subject = Launch::subject(args)?;
    let _pinned = Pinned::to(args.client_core)?;
    let mut report = CompareReport::new(subject.name, load_average()?);
    for shape in SHAPES {
        let (mut floor_runs, mut subject_runs) = (Vec::new(), Vec::new());
        for repeat in 1..=args.repeat {
            for (launch, runs) in [(&floor, &mut floor_runs), (&subject, &mut subject_runs)] {
                announce(args, &format!("{}, {} subscribers, run {repeat}", launch.name, shape.subscribers));
                let fanout = fanout(&fanout_args(args, shape, &launch.start()?))?;
                runs.push(Run::of(&fanout)?);
            }
        }
        report.add_shape(shape, floor_runs, subject_runs);
    }
    if !args.skip_idle {
        for launch in [&floor, &subject] {
            announce(args, &format!("{}, {IDLE_SUBSCRIBERS} idle subscribers", launch.name));
            report.add_idle(idle(&idle_args(args, &launch.start()?))?);
        }
    }
    if !args.skip_topics {
        for launch in [&floor, &subject] {
            announce(args, &format!("{}, sweep over numbers of topics", launch.name));
            report.add_topics(topics(&topics_args(args, &launch.start()?))?);
        }
    }
    Ok(report)
}

fn announce(args: &CompareArgs, text: &str) {
    if !args.quiet {
        eprintln!("{text}");
    }
}

fn target(args: &CompareArgs, server: &Server) -> Target {
    Target {
        target: server.address,
        server_pid: Some(server.pid()),
        sources: 4,
        connect_timeout: Duration::from_secs(60),
        json: None,
        quiet: args.quiet,
    }
}

fn traffic(args: &CompareArgs, size: usize) -> Traffic {
    Traffic {
        size,
        publish_target: None,
        seconds: args.seconds,
        warmup: args.warmup,
        publishers: 4,
        pipeline: 1,
        drain: Duration::from_secs(10),
    }
}

fn fanout_args(args: &CompareArgs, shape: Shape, server: &Server) -> FanoutArgs {
    FanoutArgs {
        target: target(args, server),
        traffic: traffic(args, shape.size),
        subscribers: shape.subscribers,
        topics: 1,
        rate: shape.rate,
    }
}

fn idle_args(args: &CompareArgs, server: &Server) -> IdleArgs {
    IdleArgs {
        target: target(args, server),
        subscribers: IDLE_SUBSCRIBERS,
        topics: 1,
        seconds: IDLE_SETTLE,
        events: 0,
        rate: 10.0,
        size: 100,
        rounds: 1,
    }
}

fn topics_args(args: &CompareArgs, server: &Server) -> TopicsArgs {
    let traffic = Traffic { seconds: args.seconds.min(TOPIC_SECONDS_MAX), ..traffic(args, 100) };
    TopicsArgs {
        target: target(args, server),
        traffic,
        subscribers: IDLE_SUBSCRIBERS,
        counts: TOPIC_COUNTS.to_vec(),
        deliveries: TOPIC_DELIVERIES_PER_S,
    }
}
