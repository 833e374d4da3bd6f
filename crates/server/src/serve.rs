//! The hub itself.

use std::error::Error;

use crate::config::Config;

/// Runs the hub until it is told to stop.
///
/// # Errors
/// If it cannot start.
pub(crate) fn run(config: &Config) -> Result<(), Box<dyn Error>> {
    Err(format!("serve is not wired yet (it would listen on {})", config.http.listen).into())
}
