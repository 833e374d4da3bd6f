//! `towncrier check-config`.

use std::process::ExitCode;

use clap::Args;

use super::{ConfigArgs, EXIT_USAGE};
use crate::{
    config::{self, BackplaneKind, Config},
    serve::{options, surroundings},
};

#[derive(Debug, Args)]
pub(super) struct CheckConfigArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print every key with its default, as a file, and check nothing.
    #[arg(long, conflicts_with = "files")]
    default: bool,
    /// Also look at this machine, and at Redis if the configuration has one, and say what should be changed there. Writes
    /// nothing. Advice does not change the exit code; a Redis that a hub could not use makes it 1.
    #[arg(long, conflicts_with = "default")]
    connect: bool,
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
            if args.connect { look(&loaded.config) } else { ExitCode::SUCCESS }
        }
        Err(problems) => {
            eprintln!("{problems}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// Prints a line for each thing that should be changed around a hub with this configuration.
fn look(config: &Config) -> ExitCode {
    surroundings::raise_descriptor_limit();
    surroundings::machine(config).iter().for_each(|finding| println!("{finding}"));
    if config.backplane.kind == BackplaneKind::Embedded {
        return ExitCode::SUCCESS;
    }
    // The same that the hub uses, whatever else is linked; nobody else in this process has installed one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let looked = actix_rt::System::new().block_on(towncrier_backplane_redis::inspect(options::redis(config)));
    match looked {
        Ok(found) => {
            found.findings.iter().for_each(|finding| println!("{finding}"));
            found.unchecked.iter().for_each(|unchecked| println!("{unchecked}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("towncrier: {error}");
            ExitCode::FAILURE
        }
    }
}
