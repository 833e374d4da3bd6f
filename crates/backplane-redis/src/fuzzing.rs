//! What reads the bytes that come by pub/sub, for the fuzz targets: nothing here is for anybody else.

use std::sync::Arc;

use bytes::Bytes;
use towncrier_backplane::ControlMessage;
use towncrier_wire::{Event, EventId, Topic, TraceContext};

use crate::message;

/// What a payload says.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// An event, encoded, and its idempotency key.
    Event(Arc<Event>, Option<String>),
    /// The trace of an event.
    Trace {
        /// Where the event goes.
        topic: Topic,
        /// Which it is.
        id: EventId,
        /// Its trace.
        trace: TraceContext,
    },
    /// A beat of a node.
    Beat {
        /// Of which partition.
        partition: usize,
        /// Tells beats apart.
        nonce: u64,
        /// The partition's newest id.
        head: EventId,
    },
    /// What another node says.
    Control(ControlMessage),
    /// A census that is open.
    Census {
        /// Of which partition.
        partition: usize,
        /// Of which server.
        era: String,
    },
}

/// `None` if it is not the hub's.
#[must_use]
pub fn parse(payload: &Bytes) -> Option<Message> {
    Some(match message::parse(payload)? {
        message::Message::Event(told) => {
            let key = told.key.as_ref().map(|key| key.as_str().to_owned());
            Message::Event(told.encode(None), key)
        }
        message::Message::Trace { topic, id, trace } => Message::Trace { topic, id, trace },
        message::Message::Beat { partition, nonce, head } => Message::Beat { partition, nonce, head },
        message::Message::Control(message) => Message::Control(message),
        message::Message::Census { partition, era } => Message::Census { partition, era },
    })
}
