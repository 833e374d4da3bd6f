//! The command line: what can be asked of the program, and who answers.

mod backoff;
mod check_config;
mod cluster;
mod hash_password;
mod health;
mod hub;
mod publish;
mod signals;
mod subscribe;
mod tether;
mod token;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};

use crate::{config, serve};

/// A hub for Server-Sent Events.
#[derive(Debug, Parser)]
#[command(name = "towncrier", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the hub; also what happens without a sub-command.
    Serve(ConfigArgs),
    /// Say what is wrong with the configuration, or what differs from the defaults.
    CheckConfig(check_config::CheckConfigArgs),
    /// Run several nodes with Redis and nginx on this machine, to try a cluster.
    Cluster(cluster::ClusterArgs),
    /// Ask a hub on this machine whether it works, and exit with 0 if it does.
    Health(health::HealthArgs),
    /// Publish one event.
    Publish(publish::PublishArgs),
    /// Print events as they come, and go on after interruptions.
    Subscribe(subscribe::SubscribeArgs),
    /// Make a token, for trying things out.
    Token(token::TokenArgs),
    /// Read a password, and print its hash for the configuration.
    HashPassword,
    /// Measure a hub on this machine, and check every delivery.
    Loadtest(Box<towncrier_loadtest::Args>),
    /// Run a program that ends with the process that started it.
    #[command(hide = true)]
    Tether(tether::TetherArgs),
}

/// Where the configuration is.
#[derive(Debug, Args)]
struct ConfigArgs {
    /// A configuration file; repeat it for more, the later over the earlier [default: configs/towncrier.toml, if it is
    /// there].
    #[arg(long = "config", value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// The process's exit when the command line or the configuration is bad, as clap has it.
const EXIT_USAGE: u8 = 2;

/// Does what the command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command.unwrap_or(Command::Serve(cli.config)) {
        Command::Serve(args) => run_serve(&args),
        Command::CheckConfig(args) => check_config::run(&args),
        Command::Cluster(args) => cluster::run(&args),
        Command::Health(args) => exit(health::run(&args)),
        Command::Publish(args) => exit(publish::run(args)),
        Command::Subscribe(args) => exit(subscribe::run(args)),
        Command::Token(args) => exit(token::run(&args)),
        Command::HashPassword => exit(hash_password::run()),
        Command::Loadtest(args) => towncrier_loadtest::run(*args).unwrap_or_else(|error| exit(Err(error))),
        Command::Tether(args) => exit(Err(tether::run(&args))),
    }
}

fn run_serve(args: &ConfigArgs) -> ExitCode {
    match config::load(&args.files) {
        Ok(loaded) => exit(serve::run(&loaded.config)),
        Err(problems) => {
            eprintln!("{problems}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn exit<E: std::fmt::Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("towncrier: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A time on the command line, written as in the configuration; not zero.
fn parse_time(text: &str) -> Result<Duration, &'static str> {
    let time = config::parse_duration(text).filter(|time| !time.is_zero());
    time.ok_or("must be a time such as 500ms, 10s or 1m")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_is_the_default() {
        let cli = Cli::try_parse_from(["towncrier", "--config", "a", "--config", "b"]).expect("good");
        assert!(cli.command.is_none());
        assert_eq!(cli.config.files, [PathBuf::from("a"), PathBuf::from("b")]);
        assert!(Cli::try_parse_from(["towncrier", "--config", "a", "check-config"]).is_err());
    }
}
