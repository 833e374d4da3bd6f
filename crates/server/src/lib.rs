//! Towncrier, a hub for Server-Sent Events: all of the program but its allocator, so that what it reads can be fuzzed.

mod cli;
mod config;
#[cfg(feature = "faults")]
#[doc(hidden)]
pub mod faults;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod serve;

pub use cli::main;
