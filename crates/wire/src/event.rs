//! Events: as they come from a publisher, and as the hub stores and sends them.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;

use crate::{Cursor, EventId, EventType, Name, Topic, TraceContext, sse};

/// What a publisher hands over, already checked.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Where to.
    pub topic: Topic,
    /// Its type, if it has one.
    pub event_type: Option<EventType>,
    /// Its data: any UTF-8, at most [`crate::limits::DATA_BYTES_MAX`] bytes.
    pub data: Arc<str>,
    /// Makes a repeated publish to the same topic take effect once.
    pub idempotency_key: Option<Name>,
    /// The trace that it is part of, if its publisher is followed: it goes along to every node that delivers the event, and
    /// not to subscribers.
    pub trace: Option<TraceContext>,
}

impl NewEvent {
    /// About what it will cost to keep, in bytes: for bounds on what is under way.
    #[must_use]
    pub fn cost(&self) -> usize {
        size_of::<Event>() + self.topic.as_str().len() + sse::data_weight(&self.data)
    }
}

/// A stored event with its frame, encoded once per node and shared by all that send it.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    topic: Topic,
    id: EventId,
    prev: EventId,
    event_type: Option<EventType>,
    frame: Bytes,
    id_line_len: usize,
    data: Bytes,
    /// Boxed, for most events have none.
    trace: Option<Box<TraceContext>>,
}

impl Event {
    /// Encodes a stored event. `prev` is the id of the topic's event before it, [`EventId::ZERO`] where there is none.
    #[must_use]
    pub fn new(topic: Topic, id: EventId, prev: EventId, event_type: Option<EventType>, data: &str) -> Self {
        let encoded = sse::encode_event(&id, event_type.as_ref().map(EventType::as_str), data);
        let frame = encoded.frame;
        // One line of data lies in the frame as it came: no second copy of it.
        let data = match encoded.single_line {
            Some(range) => frame.slice(range),
            None => Bytes::copy_from_slice(data.as_bytes()),
        };
        Self { topic, id, prev, event_type, frame, id_line_len: encoded.id_line_len, data, trace: None }
    }

    /// The same as part of a trace.
    #[must_use]
    pub fn traced(mut self, trace: Option<TraceContext>) -> Self {
        self.trace = trace.map(Box::new);
        self
    }

    /// The trace that it is part of. What is read from history may have none: whoever reads
    /// it later is not who it was sent to.
    #[must_use]
    pub fn trace(&self) -> Option<&TraceContext> {
        self.trace.as_deref()
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> EventId {
        self.id
    }

    /// The id of the topic's event before this one; [`EventId::ZERO`] for the first that is known.
    #[must_use]
    pub fn prev(&self) -> EventId {
        self.prev
    }

    /// The type.
    #[must_use]
    pub fn event_type(&self) -> Option<&EventType> {
        self.event_type.as_ref()
    }

    /// The data as it was published.
    #[must_use]
    pub fn data(&self) -> &str {
        std::str::from_utf8(&self.data).unwrap_or_default()
    }

    /// The data as an SSE client receives it: each line end is a line feed.
    #[must_use]
    pub fn received_data(&self) -> Cow<'_, str> {
        if self.data().contains('\r') {
            return self.data().replace("\r\n", "\n").replace('\r', "\n").into();
        }
        self.data().into()
    }

    /// The whole SSE frame, with the event id as its `id:`.
    #[must_use]
    pub fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// The frame with a cursor in place of the event id, for hubs with several partitions.
    #[must_use]
    pub fn frame_with(&self, cursor: &Cursor) -> Bytes {
        sse::with_id(cursor, &self.frame[self.id_line_len..])
    }

    /// What it costs to keep, in bytes: for bounds on memory, so never less than the truth by much.
    #[must_use]
    pub fn cost(&self) -> usize {
        // Data of more than one line lies beside the frame, see `new`.
        let in_frame = self.frame.as_ptr_range().contains(&self.data.as_ptr());
        let data = if in_frame { 0 } else { self.data.len() };
        let trace = if self.trace.is_some() { size_of::<TraceContext>() } else { 0 };
        size_of::<Self>() + self.topic.as_str().len() + self.frame.len() + data + trace
    }
}
