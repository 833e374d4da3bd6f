//! What people and programs see.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

use super::stream::Message;

/// Held while a line is written.
pub(super) static OUTPUT: Mutex<()> = Mutex::new(());

/// Writes events to standard output, a line each.
pub(super) struct Printer {
    json: bool,
}

impl Printer {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Writes one event, and gives it to the reader at once.
    pub(super) fn print(&self, message: &Message) -> io::Result<()> {
        let line = if self.json { json_line(message) } else { human_line(message) };
        let _line = OUTPUT.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stdout = io::stdout().lock();
        stdout.write_all(line.as_bytes())?;
        stdout.flush()
    }
}

/// Tells the user something on standard error.
pub(super) fn note(text: &str) {
    // There is nobody to tell if this fails.
    let _ = writeln!(io::stderr(), "towncrier: {}", printable(text));
}

fn json_line(message: &Message) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        id: Option<&'a str>,
        event: Option<&'a str>,
        data: &'a str,
    }

    let line = Line { id: message.id.as_deref(), event: message.event.as_deref(), data: &message.data };
    serde_json::to_string(&line).expect("strings are always JSON") + "\n"
}

fn human_line(message: &Message) -> String {
    let part = |part: &Option<String>| part.as_deref().map_or_else(|| "-".into(), printable);
    format!("{} {} {}\n", part(&message.id), part(&message.event), printable(&message.data))
}

/// Control characters spelled out: whoever publishes must not steer the subscriber's terminal.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() && char != '\t' {
            write!(out, "{}", char.escape_default()).expect("writing to a string does not fail");
        } else {
            out.push(char);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let message = Message { id: Some("1-0".into()), event: None, data: "a\n\u{1b}[31m\tü \"x\"".into() };
        assert_eq!(human_line(&message), "1-0 - a\\n\\u{1b}[31m\tü \"x\"\n");
        assert_eq!(json_line(&message), "{\"id\":\"1-0\",\"event\":null,\"data\":\"a\\n\\u001b[31m\\tü \\\"x\\\"\"}\n");
    }
}
