//! The load tool by itself: the same command line as `towncrier loadtest`.

use std::process::ExitCode;

use clap::Parser;

/// Measures a Server-Sent Events hub on this machine
#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    args: towncrier_loadtest::Args,
}

fn main() -> ExitCode {
    towncrier_loadtest::run(Cli::parse().args).unwrap_or_else(|error| {
        eprintln!("loadtest: {error}");
        ExitCode::FAILURE
    })
}
