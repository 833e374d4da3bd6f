//! The command line of the auditor.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use towncrier_auditor::{
    judge::judge,
    report,
    run::{Options, run},
    system::Mode,
};

/// Breaks a hub on purpose, and counts what each of its subscribers got. Exits with 0 if nothing was wrong, with 1
/// otherwise. The hub is TOWNCRIER_BIN, or what cargo built beside this program.
#[derive(Debug, Parser)]
#[command(name = "auditor", version)]
struct Arguments {
    /// How Redis is run
    #[arg(long, value_enum, default_value = "single")]
    mode: Mode,
    /// What the faults, their times and everybody's choices follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// For how many minutes faults are made
    #[arg(long, conflicts_with = "seconds", value_parser = clap::value_parser!(u64).range(1..=600))]
    minutes: Option<u64>,
    /// For how many seconds faults are made [default: 30]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=36_000))]
    seconds: Option<u64>,
    /// How many nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=16))]
    nodes: u8,
    /// How many subscribers
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u8).range(1..=200))]
    subscribers: u8,
    /// How many publishers
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u8).range(1..=50))]
    publishers: u8,
    /// How many events a second, of all publishers together
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Kinds of faults to leave out: FailOver,FreezePrimary
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
    /// Print the schedule as it was carried out, and examples of what was told to be lost and held all the same
    #[arg(long)]
    schedule: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seconds = arguments.minutes.map(|minutes| minutes * 60).or(arguments.seconds).unwrap_or(30);
    let options = Options {
        mode: arguments.mode,
        seed: arguments.seed,
        lasts: Duration::from_secs(seconds),
        nodes: arguments.nodes.into(),
        subscribers: arguments.subscribers.into(),
        publishers: arguments.publishers.into(),
        per_second: arguments.rate.into(),
        without: arguments.without,
    };
    let mut folder = tempfile::Builder::new().prefix("auditor-").tempdir().expect("a folder for the logs");
    let record = run(&options, folder.path());
    let verdict = judge(&record);
    print!("{}", report::summary(&options, &record, &verdict));
    if arguments.schedule {
        record.faults.iter().for_each(|fault| println!("{fault}"));
        print!("{}", report::held_examples(&record, &verdict));
    }
    if verdict.violations.is_empty() {
        println!("passed");
        return ExitCode::SUCCESS;
    }
    print!("{}", report::findings(&record, &verdict));
    folder.disable_cleanup(true);
    println!(
        "\nfailed with seed {}: {} findings; logs of the nodes are in {}",
        options.seed,
        verdict.violations.len(),
        folder.path().display()
    );
    ExitCode::FAILURE
}
