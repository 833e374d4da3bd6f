//! A stream of events, read with `russe`.

use std::{
    io,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use serde_json::Value;
use tokio_util::codec::Decoder as _;

use crate::{Connection, body::Progress};

/// One event as a client sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// Its `id:` line, if it had one.
    pub id: Option<String>,
    /// Its `event:` line, if it had one.
    pub kind: Option<String>,
    /// Its data.
    pub data: String,
}

impl Event {
    /// The id of an event that must have one.
    #[track_caller]
    #[must_use]
    pub fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_else(|| panic!("no id: {self:?}"))
    }

    /// The data as JSON.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn is(&self, kind: &str) -> bool {
        self.kind.as_deref() == Some(kind)
    }
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// With the last chunk, as HTTP says it must.
    Clean,
    /// In the middle.
    Cut,
}

/// What a stream carries.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Item {
    /// A block with an event.
    Event {
        /// The event.
        event: Event,
        /// The `retry:` of its block.
        retry: Option<Duration>,
    },
    /// A `retry:` without an event.
    Retry(Duration),
    /// The `: ping` comment with its bare `id:`.
    Heartbeat(Option<String>),
    /// The end of the body.
    End(End),
}

/// A stream of events on a connection whose head has been read.
#[derive(Debug)]
pub struct Stream {
    connection: Connection,
    bytes: BytesMut,
    decoder: russe::Decoder,
    pinged: bool,
}

impl Stream {
    /// Reads the body of the answer whose head has been read.
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        Self { connection, bytes: BytesMut::new(), decoder: russe::Decoder::default(), pinged: false }
    }

    pub(crate) fn into_connection(self) -> Connection {
        self.connection
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    #[track_caller]
    pub(crate) fn next(&mut self, deadline: Instant) -> Option<Item> {
        self.try_next(deadline).unwrap_or_else(|error| panic!("reading the stream: {error}"))
    }

    /// The next item; `None` when `deadline` passes first.
    ///
    /// # Errors
    /// What the connection says, and `InvalidData` for what is no event stream.
    pub fn try_next(&mut self, deadline: Instant) -> io::Result<Option<Item>> {
        loop {
            let malformed = |error| io::Error::new(io::ErrorKind::InvalidData, format!("{error:?}"));
            while let Some(decoded) = self.decoder.decode(&mut self.bytes).map_err(malformed)? {
                if let Some(item) = self.item(decoded) {
                    return Ok(Some(item));
                }
            }
            match self.connection.read_body(&mut self.bytes, deadline) {
                Ok(Progress::More) => {}
                Ok(Progress::Clean) => return Ok(Some(Item::End(End::Clean))),
                Ok(Progress::Cut) => return Ok(Some(Item::End(End::Cut))),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    fn item(&mut self, decoded: russe::Event) -> Option<Item> {
        let message = match decoded {
            russe::Event::Comment(text) => {
                assert_eq!(text, "ping", "the only comment of the protocol");
                self.pinged = true;
                return None;
            }
            russe::Event::Retry(retry) => return Some(Item::Retry(retry)),
            russe::Event::Message(message) => message,
        };
        let event = Event {
            id: message.id.map(String::from),
            kind: message.event.map(String::from),
            data: message.data.into(),
        };
        // `russe` gives a block with no data as an event; only the hub's heartbeat has one, behind its comment.
        let pinged = std::mem::take(&mut self.pinged);
        if pinged && event.kind.is_none() && event.data.is_empty() {
            return Some(Item::Heartbeat(event.id));
        }
        Some(Item::Event { event, retry: message.retry })
    }
}
