//! The log: on standard error, for people on a terminal and as JSON for machines.

mod json;
mod repeats;
#[cfg(test)]
mod tests;

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tracing::{Level, Metadata, level_filters::LevelFilter};
use tracing_log::{AsLog as _, log};
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry,
    filter::{FilterExt as _, FilterFn},
    fmt,
    layer::SubscriberExt as _,
    reload,
    util::{SubscriberInitExt as _, TryInitError},
};

pub use self::repeats::Repeats;
use self::{
    json::Json,
    repeats::{Counter, Limited},
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
const QUIET: &str = "actix_server=warn,";

/// Libraries that write out what goes over a connection, headers with secrets among it, at level trace. That is not logged,
/// whatever is asked for.
const DUMPS: &[&str] = &["ureq_proto"];

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read; the text says which part and why.
    #[error("{0}")]
    Filter(String),
    /// The process has a log already.
    #[error("the log is already set up: {0}")]
    Twice(#[from] TryInitError),
    /// The log is gone.
    #[error("the log cannot be changed: {0}")]
    Gone(#[from] reload::Error),
}

/// The log of the process, while it runs.
#[derive(Clone, Debug)]
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    text: Arc<Mutex<String>>,
    counter: Arc<Counter>,
}

impl Log {
    /// The filter that holds, as it was given.
    #[must_use]
    pub fn filter(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets another filter, in the form that [`init`] takes. Takes a lock, and looks at every place that logs.
    ///
    /// # Errors
    /// If it cannot be read; then the one before holds.
    pub fn set_filter(&self, filter: &str) -> Result<(), LogError> {
        let parsed = parse(filter)?;
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        self.filter.reload(parsed)?;
        // Libraries that log by the `log` crate are asked by it first.
        log::set_max_level(LevelFilter::current().as_log());
        filter.clone_into(&mut text);
        Ok(())
    }

    /// Tells how often lines came again that were held back, of periods that are over. To be called every second or so.
    pub fn tell_repeats(&self) {
        write(&self.counter.tell(false));
    }

    /// The same at the end of the program, for all.
    pub fn finish(&self) {
        write(&self.counter.tell(true));
    }
}

/// See [`DUMPS`].
fn without_dumps() -> FilterFn<fn(&Metadata<'_>) -> bool> {
    let passes: fn(&Metadata<'_>) -> bool = |metadata| {
        let library = metadata.target().split("::").next().unwrap_or_default();
        *metadata.level() < Level::TRACE || !DUMPS.contains(&library)
    };
    FilterFn::new(passes).with_max_level_hint(LevelFilter::TRACE)
}

fn write(lines: &str) {
    // Whoever closed standard error does not want to read this.
    let _ = io::stderr().lock().write_all(lines.as_bytes());
}

/// Sets up the log of the whole process. Everything goes to standard error, so that standard output stays the
/// sub-command's own.
///
/// `filter` is a level (`off`, `error`, `warn`, `info`, `debug`, `trace`) and, divided by commas, levels for single
/// targets: `info,towncrier_http=debug`.
///
/// # Errors
/// If the filter cannot be read, or the log is set up already.
pub fn init(format: Format, filter: &str, repeats: Repeats) -> Result<Log, LogError> {
    let (reloaded, handle) = reload::Layer::new(parse(filter)?);
    let terminal = io::stderr().is_terminal();
    let human = match format {
        Format::Auto => terminal,
        Format::Human => true,
        Format::Json => false,
    };
    let counter = Arc::new(Counter::new(repeats, !human, Instant::now));
    let log = Log { filter: handle, text: Arc::new(Mutex::new(filter.to_owned())), counter: counter.clone() };
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = if human {
        let lines = lines.with_ansi(terminal && std::env::var_os("NO_COLOR").is_none());
        lines.map_event_format(|format| Limited { format, counter }).boxed()
    } else {
        lines.fmt_fields(Json).event_format(Limited { format: Json, counter }).boxed()
    };
    tracing_subscriber::registry().with(lines.with_filter(reloaded.and(without_dumps()))).try_init()?;
    Ok(log)
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
    let mut general = LevelFilter::OFF;
    for directive in &directives {
        // A word alone would be taken for a target with everything on, so `inof` would log at trace.
        if directive.contains(['=', '[']) {
            continue;
        }
        general = directive.parse().ok().filter(|_| !directive.is_empty()).ok_or_else(|| {
            let levels = "off, error, warn, info, debug, trace";
            LogError::Filter(format!("`{directive}` is neither a level ({levels}) nor `target=level`"))
        })?;
    }
    // The library takes no spaces around commas; people write them. What comes later holds over what came before.
    let mut compact = directives.join(",");
    if general > LevelFilter::WARN {
        compact.insert_str(0, QUIET);
    }
    EnvFilter::builder().parse(compact).map_err(|error| LogError::Filter(error.to_string()))
}
