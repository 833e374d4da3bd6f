//! The command line. Each scenario's options are a plain struct, so that tests and `compare` can fill them in themselves.

mod several;
mod single;
mod target;
mod values;

pub use several::{ClusterArgs, CompareArgs, FloorArgs, Foreign, Part, Subject};
pub use single::{Audience, ChurnArgs, FanoutArgs, IdleArgs, MaxArgs, PublishArgs, SlowArgs, StormArgs, TopicsArgs};
pub use target::{Output, Target, Traffic};

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
    /// Raise the rate until latency or the rate itself breaks a bound
    Max(MaxArgs),
    /// Memory per connection and CPU of a server whose subscribers have nothing to read
    Idle(IdleArgs),
    /// Cut all subscribers, publish meanwhile, and let all resume at once
    Storm(StormArgs),
    /// Subscribers that leave and come, so many a second
    Churn(ChurnArgs),
    /// A share of the subscribers stops reading
    Slow(SlowArgs),
    /// CPU per delivery as the same subscribers spread over more and more topics
    Topics(TopicsArgs),
    /// How many publishes a second are acknowledged, and how soon
    Publish(PublishArgs),
    /// A hub of several nodes joined by Redis, publishing on one and reading on the others, against a hub of one node
    Cluster(ClusterArgs),
    /// Several servers beside the floor, in one run, alternately, on pinned cores
    Compare(CompareArgs),
    /// Run the floor: a bare epoll server, the least that any hub must do
    Floor(FloorArgs),
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::Kind;

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
    fn the_defaults_of_code_are_those_of_the_command_line() {
        let cli = Cli::try_parse_from(["loadtest", "fanout"]).expect("valid");
        let Scenario::Fanout(args) = cli.args.scenario else { panic!("{cli:?}") };
        let target = Target::new("127.0.0.1:8080".parse().expect("address"));
        assert_eq!(format!("{:?}", args.target), format!("{target:?}"));
        assert_eq!(format!("{:?}", args.traffic), format!("{:?}", Traffic::default()));
        assert_eq!(format!("{:?}", args.audience), format!("{:?}", Audience::new(1_000, 1)));
    }

    #[test]
    fn values_have_bounds() {
        for wrong in
            ["--rate=0", "--rate=nan", "--size=10", "--seconds=-1", "--seconds=1e9", "--topics=0", "--sources=0"]
        {
            assert!(Cli::try_parse_from(["loadtest", "fanout", wrong]).is_err(), "{wrong}");
        }
        for wrong in ["--server=nchan", "--server=floor=x", "--server=nobody=x", "--repeat=0"] {
            assert!(Cli::try_parse_from(["loadtest", "compare", wrong]).is_err(), "{wrong}");
        }
        let cli = Cli::try_parse_from(["loadtest", "compare", "--server=nchan=./serve"]).expect("valid");
        let Scenario::Compare(args) = cli.args.scenario else { panic!("{cli:?}") };
        assert_eq!(args.server, [Foreign { kind: Kind::Nchan, program: "./serve".into() }]);
    }
}
