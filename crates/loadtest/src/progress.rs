//! What is going on, while it goes on.

use std::io::{IsTerminal, Write as _};
use std::time::{Duration, Instant};

/// A line on stderr that says what is going on: rewritten in place on a terminal, now and then a new one elsewhere.
#[derive(Debug)]
pub(crate) struct Progress {
    every: Option<Duration>,
    shown: Instant,
    in_place: bool,
    dirty: bool,
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        let in_place = std::io::stderr().is_terminal();
        let every = if in_place { Duration::from_millis(250) } else { Duration::from_secs(5) };
        Self { every: (!quiet).then_some(every), shown: Instant::now(), in_place, dirty: false }
    }

    /// Shows `text` if it is time for it again.
    pub(crate) fn show(&mut self, text: impl FnOnce() -> String) {
        if self.every.is_none_or(|every| self.shown.elapsed() < every) {
            return;
        }
        self.shown = Instant::now();
        let text = text();
        // Progress is a courtesy: a closed stderr must not end a measurement.
        if self.in_place {
            self.dirty = true;
            let _ = write!(std::io::stderr(), "\r\x1b[K{text}");
        } else {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.dirty {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
