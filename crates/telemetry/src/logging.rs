//! The log: on standard error, for people on a terminal and as JSON for machines.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::LevelFilter,
    fmt,
    layer::SubscriberExt as _,
    util::{SubscriberInitExt as _, TryInitError},
};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// [`Format::Human`] if standard error is a terminal, [`Format::Json`] otherwise.
    #[default]
    Auto,
    /// One line of text for each entry, with colours if standard error is a terminal.
    Human,
    /// One JSON object a line.
    Json,
}

/// Libraries whose usual talk is of no use to who runs the hub, unless they are asked for by name.
const QUIET: &str = "actix_server=warn";

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read; the text says which part and why.
    #[error("{0}")]
    Filter(String),
    /// The process has a log already.
    #[error("the log is already set up: {0}")]
    Twice(#[from] TryInitError),
}

/// Sets up the log of the whole process. Everything goes to standard error, so that standard output stays the
/// sub-command's own.
///
/// `filter` is a level (`off`, `error`, `warn`, `info`, `debug`, `trace`) and, divided by commas, levels for single
/// targets: `info,towncrier_http=debug`.
///
/// # Errors
/// If the filter cannot be read, or the log is set up already.
pub fn init(format: Format, filter: &str) -> Result<(), LogError> {
    let filter = parse(filter)?;
    let terminal = io::stderr().is_terminal();
    let human = match format {
        Format::Auto => terminal,
        Format::Human => true,
        Format::Json => false,
    };
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = if human {
        lines.with_ansi(terminal && std::env::var_os("NO_COLOR").is_none()).boxed()
    } else {
        lines.json().flatten_event(true).with_current_span(false).boxed()
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).try_init()?;
    Ok(())
}

/// Whether [`init`] would take this filter.
///
/// # Errors
/// With the part of the filter that cannot be read.
pub fn check_filter(filter: &str) -> Result<(), LogError> {
    parse(filter).map(drop)
}

fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    let directives: Vec<&str> = filter.split(',').map(str::trim).collect();
    for directive in &directives {
        // A word alone would be taken for a target with everything on, so `inof` would log at trace.
        let plain = !directive.contains(['=', '[']);
        if plain && (directive.is_empty() || directive.parse::<LevelFilter>().is_err()) {
            return Err(LogError::Filter(format!(
                "`{directive}` is neither a level (off, error, warn, info, debug, trace) nor `target=level`"
            )));
        }
    }
    // The library takes no spaces around commas; people write them. What comes later holds over what came before.
    let compact = format!("{QUIET},{}", directives.join(","));
    EnvFilter::builder().parse(compact).map_err(|error| LogError::Filter(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        for filter in ["info", "off", "info,towncrier_http=debug", "warn, towncrier=trace", "INFO"] {
            assert!(check_filter(filter).is_ok(), "{filter}");
        }
        for (filter, part) in [
            ("", "``"),
            ("inof", "`inof`"),
            ("info,", "``"),
            ("info,towncrier_http", "`towncrier_http`"),
            ("towncrier_http=loud", ""),
        ] {
            let error = check_filter(filter).expect_err(filter).to_string();
            assert!(error.contains(part), "{filter}: {error}");
        }
    }

    #[test]
    fn the_log_is_set_up_once() {
        assert!(matches!(init(Format::Json, "loud"), Err(LogError::Filter(_))));
        assert!(init(Format::Json, "off").is_ok());
        assert!(matches!(init(Format::Human, "off"), Err(LogError::Twice(_))));
    }
}
