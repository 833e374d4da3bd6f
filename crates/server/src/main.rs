//! Towncrier, a hub for Server-Sent Events: the program.

mod cli;
mod config;
mod serve;

/// Costs the fewest resident bytes for each connection of those that were measured.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
