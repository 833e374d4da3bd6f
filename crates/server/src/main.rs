//! Towncrier, a hub for Server-Sent Events: the program.

/// Costs the fewest resident bytes for each connection of those that were measured.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    towncrier::main()
}
