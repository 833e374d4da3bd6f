//! `towncrier check-config`.

use std::process::ExitCode;

use clap::Args;

use super::{ConfigArgs, EXIT_USAGE};
use crate::config;

#[derive(Debug, Args)]
pub(super) struct CheckConfigArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print every key with its default, as a file, and check nothing.
    #[arg(long, conflicts_with = "files")]
    default: bool,
}

pub(super) fn run(args: &CheckConfigArgs) -> ExitCode {
    if args.default {
        print!("{}", config::default_toml());
        return ExitCode::SUCCESS;
    }
    match config::load(&args.config.files) {
        Ok(loaded) => {
            println!("ok");
            for changed in loaded.changed {
                println!("{} = {}  # {}", changed.key, changed.value, changed.origin);
            }
            ExitCode::SUCCESS
        }
        Err(problems) => {
            eprintln!("{problems}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}
