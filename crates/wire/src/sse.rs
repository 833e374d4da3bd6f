//! Server-Sent Events, written exactly as the WHATWG HTML standard reads them (§9.2.6, "Interpreting an event stream").
//!
//! Fields that must be a single line are types that cannot hold a line end; data is split at every line end that a
//! parser knows. Each function returns whole blocks, blank line included, so that whatever is sent can be dispatched.

use std::{
    fmt::{Display, Write},
    ops::Range,
};

use bytes::Bytes;

/// What a line of data costs beyond its text.
const LINE_COST: usize = "data: \n".len();

/// An encoded event.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) frame: Bytes,
    /// How long the leading `id:` line is, line end included.
    pub(crate) id_line_len: usize,
    /// Where the data lies in the frame, if it is one line.
    pub(crate) single_line: Option<Range<usize>>,
}

/// Writes `id`, `event` if there is a type, and `data`.
pub(crate) fn encode_event(id: &impl Display, event_type: Option<&str>, data: &str) -> Encoded {
    let mut out = String::with_capacity(64 + event_type.map_or(0, str::len) + data.len());
    push_id(&mut out, id);
    let id_line_len = out.len();
    if let Some(event_type) = event_type {
        push_field(&mut out, "event", event_type);
    }
    let single_line = push_data(&mut out, data);
    out.push('\n');
    if single_line.is_none() {
        // The text has outgrown its first capacity by doubling: up to half of it would lie idle for as long as it is kept.
        out.shrink_to_fit();
    }
    Encoded { frame: out.into(), id_line_len, single_line }
}

/// A frame whose `id:` line is replaced: `rest` is the frame after its own.
pub(crate) fn with_id(id: &impl Display, rest: &[u8]) -> Bytes {
    let mut line = String::with_capacity(crate::limits::CURSOR_BYTES_MAX + 8);
    push_id(&mut line, id);
    let mut out = Vec::with_capacity(line.len() + rest.len());
    out.extend_from_slice(line.as_bytes());
    out.extend_from_slice(rest);
    out.into()
}

/// An event that has no id, so that it leaves the client's cursor where it is.
#[must_use]
pub fn direct(event_type: Option<&crate::EventType>, data: &str) -> Bytes {
    let mut out = String::with_capacity(32 + data.len());
    if let Some(event_type) = event_type {
        push_field(&mut out, "event", event_type.as_str());
    }
    push_data(&mut out, data);
    out.push('\n');
    out.into()
}

/// One of the hub's own events. `retry` is in milliseconds.
#[must_use]
pub fn control(name: &'static str, id: Option<&dyn Display>, retry_ms: Option<u64>, data: &str) -> Bytes {
    let mut out = String::with_capacity(96 + data.len());
    if let Some(retry_ms) = retry_ms {
        let _ = writeln!(out, "retry: {retry_ms}");
    }
    if let Some(id) = id {
        push_id(&mut out, id);
    }
    push_field(&mut out, "event", name);
    push_data(&mut out, data);
    out.push('\n');
    out.into()
}

/// A block that only sets the client's reconnection time, in milliseconds.
#[must_use]
pub fn retry(retry_ms: u64) -> Bytes {
    format!("retry: {retry_ms}\n\n").into()
}

/// A heartbeat that no script sees, with a checkpoint of the cursor where there is one to give. A block without data
/// dispatches nothing but does commit its id.
#[must_use]
pub fn ping(id: Option<&dyn Display>) -> Bytes {
    let mut out = String::from(": ping\n");
    if let Some(id) = id {
        push_id(&mut out, id);
    }
    out.push('\n');
    out.into()
}

fn push_id(out: &mut String, id: &(impl Display + ?Sized)) {
    let start = out.len();
    let _ = writeln!(out, "id: {id}");
    debug_assert!(!out[start..out.len() - 1].contains(['\r', '\n', '\0']));
}

fn push_field(out: &mut String, name: &str, value: &str) {
    // The space belongs to the format: a parser strips one, so that a value's own leading space survives.
    for part in [name, ": ", value, "\n"] {
        out.push_str(part);
    }
}

/// Writes one `data` line for each line of `data`; gives the range of the only line, if there is only one.
fn push_data(out: &mut String, data: &str) -> Option<Range<usize>> {
    let Some(first) = data.find(['\r', '\n']) else {
        let start = out.len() + "data: ".len();
        push_field(out, "data", data);
        return Some(start..start + data.len());
    };
    push_field(out, "data", &data[..first]);
    let mut rest = &data[first..];
    while let Some(end) = rest.chars().next() {
        rest = &rest[1..];
        if end == '\r' {
            rest = rest.strip_prefix('\n').unwrap_or(rest);
        }
        let line = rest.find(['\r', '\n']).unwrap_or(rest.len());
        push_field(out, "data", &rest[..line]);
        rest = &rest[line..];
    }
    None
}

/// What an event's data weighs in its frame, in bytes: its text, and for each line end in it the start of another `data`
/// line. What bounds data must bound this, or a few bytes of line ends would become many.
#[must_use]
pub fn data_weight(data: &str) -> usize {
    let bytes = data.as_bytes();
    let ends = (0..bytes.len()).filter(|&at| match bytes[at] {
        b'\n' => at == 0 || bytes[at - 1] != b'\r',
        other => other == b'\r',
    });
    bytes.len() + ends.count() * LINE_COST
}
