//! Towncrier, a hub for Server-Sent Events: the program.

mod cli;
mod config;
mod serve;

fn main() -> std::process::ExitCode {
    cli::main()
}
