//! What the user sees: progress while it runs, then a table, and JSON for scripts.

use std::fmt::{Display, Write as _};
use std::fs;
use std::io::{IsTerminal, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::Error;

/// The result of a scenario.
pub(crate) trait Report: Display + Serialize {
    /// Whether every delivery was right.
    fn passed(&self) -> bool;
}

/// Prints the table, writes the JSON, and tells how the process should end.
pub(crate) fn publish(report: &impl Report, json: Option<&Path>) -> Result<ExitCode, Error> {
    let mut stdout = std::io::stdout().lock();
    write!(stdout, "{report}").and_then(|()| stdout.flush()).map_err(Error::io("stdout"))?;
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(report).map_err(Error::io("JSON"))?;
        fs::write(path, text + "\n").map_err(Error::io(format!("{}", path.display())))?;
    }
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

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

/// Text in columns: the first to the left, the rest to the right.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn row<const N: usize>(&mut self, cells: [&dyn Display; N]) -> &mut Self {
        self.rows.push(cells.iter().map(ToString::to_string).collect());
        self
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        let widths: Vec<usize> =
            (0..columns).map(|column| cells(column).map(|cell| cell.chars().count()).max().unwrap_or(0)).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if column == 0 {
                    write!(line, "{cell:<width$}")?;
                } else {
                    write!(line, "  {cell:>width$}")?;
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A number to `digits` places, or a dash where there is none.
pub(crate) fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::default();
        table.row([&"name", &"value"]).row([&"µs", &12]).row([&"long name"]);
        assert_eq!(table.to_string(), "name       value\nµs            12\nlong name\n");
    }

    #[test]
    fn numbers() {
        assert_eq!(number(Some(1.257), 2), "1.26");
        assert_eq!(number(None, 2), "-");
    }
}
