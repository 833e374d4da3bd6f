//! What reads a configuration, for the fuzz targets: nothing here is for anybody else.

use crate::config;

/// The keys that files of these texts and these variables set, with their values as in TOML; or what is wrong, a line each.
///
/// # Errors
/// If something is wrong.
pub fn load(files: &[&str], variables: &[(&str, &str)]) -> Result<Vec<(String, String)>, Vec<String>> {
    match config::of_texts(files, variables) {
        Ok(loaded) => Ok(loaded.changed.into_iter().map(|changed| (changed.key, changed.value)).collect()),
        Err(problems) => Err(problems.0.iter().map(ToString::to_string).collect()),
    }
}
