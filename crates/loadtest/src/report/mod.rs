//! What comes of a scenario: a document, which is a table for people and a page with charts, and JSON for scripts.

mod chart;
mod document;
mod html;
mod table;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

pub(crate) use chart::{Axis, Bars, Lines};
pub(crate) use document::Document;
pub(crate) use table::{Table, number};

use crate::args::Output;
use crate::machine::Machine;
use crate::{Error, Faults};

/// The result of a scenario.
pub(crate) trait Report: Serialize {
    /// Whether every delivery was right.
    fn passed(&self) -> bool;

    /// All of it for people.
    fn document(&self) -> Document;
}

/// What the JSON holds.
#[derive(Serialize)]
struct Whole<'a, R> {
    machine: &'a Machine,
    passed: bool,
    result: &'a R,
}

/// Prints the table, writes the files, and tells how the process should end.
pub(crate) fn publish(report: &impl Report, machine: &Machine, output: &Output) -> Result<ExitCode, Error> {
    let (document, passed) = (report.document(), report.passed());
    let mut stdout = std::io::stdout().lock();
    write!(stdout, "{document}").and_then(|()| stdout.flush()).map_err(Error::io("stdout"))?;
    if let Some(path) = &output.json {
        let whole = Whole { machine, passed, result: report };
        write_file(path, serde_json::to_string_pretty(&whole).map_err(Error::io("JSON"))? + "\n")?;
    }
    if let Some(path) = &output.html {
        write_file(path, html::page(&document, machine))?;
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write_file(path: &Path, text: String) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::io(format!("{}", path.display())))
}

impl Document {
    /// One line on what went wrong, or that nothing did.
    pub(crate) fn faults(&mut self, faults: &Faults, problem: Option<&str>) -> &mut Self {
        if faults.is_empty() {
            return self.text("Every event arrived once and in order.");
        }
        let Faults { lost, duplicated, reordered, misrouted, damaged, gaps, ended, refused } = faults;
        self.failure(format!(
            "FAILED: {lost} lost, {duplicated} duplicated, {reordered} out of order, {misrouted} misrouted, \
             {damaged} damaged, {gaps} gaps, {ended} streams ended, {refused} publishes refused or unanswered"
        ));
        if let Some(problem) = problem {
            self.failure(format!("first: {problem}"));
        }
        self
    }

    /// Says so if the client may be what limits the figures.
    pub(crate) fn client(&mut self, client_cores: f64, was_bottleneck: bool) -> &mut Self {
        if was_bottleneck {
            self.failure(format!("The client was the bottleneck: it used {:.0} % of its core.", client_cores * 100.0));
        }
        self
    }
}
