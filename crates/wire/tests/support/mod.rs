//! Judges of what we send: the standard's own algorithm, and two parsers that we did not write.

#![allow(dead_code, reason = "no test crate needs all of it")]

use bytes::BytesMut;
use eventsource_stream::Eventsource as _;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio_util::codec::Decoder as _;

/// An event as a script gets it. `id` is `lastEventId`, so it may stem from an earlier block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) event: String,
    pub(crate) data: String,
}

pub(crate) fn event(id: &str, event: &str, data: &str) -> Event {
    Event { id: id.into(), event: event.into(), data: data.into() }
}

/// All that a client knows after a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Heard {
    pub(crate) events: Vec<Event>,
    /// What `Last-Event-ID` would say.
    pub(crate) last_id: String,
    pub(crate) retry: Option<u64>,
}

/// WHATWG HTML §9.2.6, "Interpreting an event stream", byte by byte so that no chunk boundary can matter.
#[derive(Default)]
struct Spec {
    line: Vec<u8>,
    begun: bool,
    after_cr: bool,
    data: String,
    event: String,
    id: String,
    heard: Heard,
}

impl Spec {
    fn byte(&mut self, byte: u8) {
        if std::mem::take(&mut self.after_cr) && byte == b'\n' {
            return;
        }
        if !matches!(byte, b'\r' | b'\n') {
            return self.line.push(byte);
        }
        self.after_cr = byte == b'\r';
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let begun = std::mem::replace(&mut self.begun, true);
        self.line(if begun { &line } else { line.strip_prefix('\u{feff}').unwrap_or(&line) });
    }

    fn line(&mut self, line: &str) {
        match line.split_once(':') {
            _ if line.is_empty() => self.dispatch(),
            Some(("", _comment)) => {}
            Some((name, value)) => self.field(name, value.strip_prefix(' ').unwrap_or(value)),
            None => self.field(line, ""),
        }
    }

    fn field(&mut self, name: &str, value: &str) {
        match name {
            "event" => self.event = value.into(),
            "data" => self.data.extend([value, "\n"]),
            "id" if !value.contains('\0') => self.id = value.into(),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.heard.retry = value.parse().ok().or(self.heard.retry);
            }
            _ => {}
        }
    }

    fn dispatch(&mut self) {
        self.heard.last_id.clone_from(&self.id);
        let (name, mut data) = (std::mem::take(&mut self.event), std::mem::take(&mut self.data));
        if data.pop().is_some() {
            let name = if name.is_empty() { "message" } else { &name };
            self.heard.events.push(event(&self.id, name, &data));
        }
    }
}

/// Hears chunks as the standard says.
pub(crate) fn spec(chunks: &[&[u8]]) -> Heard {
    let mut spec = Spec::default();
    chunks.iter().copied().flatten().for_each(|&byte| spec.byte(byte));
    spec.heard
}

/// Hears chunks through `russe`. It gives each block's own id; that ids last until the next is added here.
pub(crate) fn russe(chunks: &[&[u8]]) -> Heard {
    let (mut decoder, mut buffer, mut heard) = (russe::Decoder::default(), BytesMut::new(), Heard::default());
    for chunk in chunks {
        buffer.extend_from_slice(chunk);
        while let Some(item) = decoder.decode(&mut buffer).unwrap() {
            let retry = match item {
                russe::Event::Message(message) => {
                    heard.last_id = message.id.map_or(heard.last_id, String::from);
                    let name = message.event.as_deref().unwrap_or("message");
                    heard.events.push(event(&heard.last_id, name, &message.data));
                    message.retry
                }
                russe::Event::Retry(retry) => Some(retry),
                russe::Event::Comment(_) => None,
            };
            heard.retry = retry.map_or(heard.retry, |retry| u64::try_from(retry.as_millis()).ok());
        }
    }
    heard
}

/// Hears the events of chunks through `eventsource-stream`, which does not tell ids and retries of blocks without data.
pub(crate) fn eventsource_stream(chunks: &[&[u8]]) -> Vec<Event> {
    stream::iter(chunks.iter().map(Ok::<_, std::convert::Infallible>))
        .eventsource()
        .map(|item| item.map(|item| event(&item.id, &item.event, &item.data)).unwrap())
        .collect()
        .now_or_never()
        .unwrap()
}

/// Every way to cut a stream in two, and into single bytes. Long ones only into single bytes.
pub(crate) fn cuts(stream: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut cuts = vec![vec![stream], stream.chunks(1).collect()];
    if stream.len() < 1000 {
        cuts.extend((0..stream.len()).map(|at| vec![&stream[..at], &stream[at..]]));
    }
    cuts
}

pub(crate) fn heard(events: &[Event], last_id: &str, retry: Option<u64>) -> Heard {
    Heard { events: events.to_vec(), last_id: last_id.into(), retry }
}
