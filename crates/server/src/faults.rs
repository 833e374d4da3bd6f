//! A hub that its starter holds by the inside, for the tests of what happens when a part of it breaks.

use std::{error::Error, path::PathBuf};

use towncrier_actors::Hub;

use crate::{config, serve};

/// Runs the hub of these files as `towncrier serve` does, and hands it over once it listens.
///
/// # Errors
/// As the program would tell them.
pub fn run(files: &[PathBuf], started: impl FnOnce(&Hub)) -> Result<(), Box<dyn Error>> {
    let loaded = config::load(files).map_err(|problems| problems.to_string())?;
    serve::run_with(&loaded.config, started)
}
