//! What comes by pub/sub, as the scripts write it:
//!
//! * `e <id> <prev> <bytes of type> <bytes of topic> <bytes of key> <type><topic><key><data>`: an event, with its idempotency
//!   key: if the publisher's answer and the event are both lost, who was told of it knows that it must not be stored again;
//! * `t <id> <traceparent> <topic>`: the trace of the event of this id, if it has one, just before that. Not in the event's own
//!   message nor in its stream, where a node of a version without traces would take it for somebody else's and lose the event;
//! * `n <node> <text>`: what another node says;
//! * `h <partition> <nonce> <head>`: a beat of this node, behind every event of the partition up to that head;
//! * `c <partition> <era>`: a census is open, in which this node's part is wanted.

use std::sync::Arc;

use bytes::Bytes;
use towncrier_backplane::ControlMessage;
use towncrier_wire::{Event, EventId, EventType, Name, Topic, TraceContext};

/// An event that is not encoded yet: many are not wanted here.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) topic: Topic,
    pub(crate) id: EventId,
    pub(crate) prev: EventId,
    pub(crate) key: Option<Name>,
    event_type: Option<EventType>,
    data: Bytes,
}

#[derive(Debug)]
pub(crate) enum Message {
    Event(Told),
    Trace { topic: Topic, id: EventId, trace: TraceContext },
    Beat { partition: usize, nonce: u64, head: EventId },
    Control(ControlMessage),
    Census { partition: usize, era: String },
}

impl Told {
    pub(crate) fn encode(self, trace: Option<TraceContext>) -> Arc<Event> {
        // `parse` has checked it.
        let data = std::str::from_utf8(&self.data).unwrap_or_default();
        Arc::new(Event::new(self.topic, self.id, self.prev, self.event_type, data).traced(trace))
    }
}

/// `None` if it is not the hub's.
pub(crate) fn parse(payload: &Bytes) -> Option<Message> {
    let text = std::str::from_utf8(payload).ok()?;
    let mut parts = text.splitn(7, ' ');
    match parts.next()? {
        "e" => {
            let id = parts.next()?.parse().ok()?;
            let prev = parts.next()?.parse().ok()?;
            let type_len: usize = parts.next()?.parse().ok()?;
            let topic_len: usize = parts.next()?.parse().ok()?;
            let key_len: usize = parts.next()?.parse().ok()?;
            let rest = parts.next()?;
            let (event_type, rest) = rest.split_at_checked(type_len)?;
            let (topic, rest) = rest.split_at_checked(topic_len)?;
            let (key, data) = rest.split_at_checked(key_len)?;
            let key = if key.is_empty() { None } else { Some(Name::new(key).ok()?) };
            let event_type = event_type_of(event_type)?;
            let data = payload.slice_ref(data.as_bytes());
            Some(Message::Event(Told { topic: Topic::new(topic).ok()?, id, prev, key, event_type, data }))
        }
        "t" => {
            let mut parts = text.splitn(4, ' ').skip(1);
            let (id, trace) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            Some(Message::Trace { topic: Topic::new(parts.next()?).ok()?, id, trace })
        }
        "n" => {
            let (from, payload_text) = text.get(2..)?.split_once(' ')?;
            let payload = payload.slice_ref(payload_text.as_bytes());
            Some(Message::Control(ControlMessage { from: from.parse().ok()?, payload }))
        }
        "h" => {
            let partition = parts.next()?.parse().ok()?;
            let nonce = parts.next()?.parse().ok()?;
            Some(Message::Beat { partition, nonce, head: parts.next()?.parse().ok()? })
        }
        "c" => {
            let partition = parts.next()?.parse().ok()?;
            Some(Message::Census { partition, era: parts.next()?.to_owned() })
        }
        _ => None,
    }
}

/// The type as it is stored, where none is empty; `None` if it cannot be one.
pub(crate) fn event_type_of(stored: &str) -> Option<Option<EventType>> {
    if stored.is_empty() { Some(None) } else { EventType::new(stored).ok().map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_and_beats_are_read_and_garbage_is_not() {
        let read = |text: &str| parse(&Bytes::copy_from_slice(text.as_bytes()));
        let Some(Message::Event(told)) = read("e 5-1 4-0 3 5 2 newa b/ck1data with  spaces\n") else {
            panic!("an event")
        };
        assert_eq!(
            (told.topic.as_str(), told.id.to_string(), told.prev.to_string()),
            ("a b/c", "5-1".into(), "4-0".into())
        );
        assert_eq!(told.key.as_ref().map(Name::as_str), Some("k1"));
        let event = told.encode(None);
        assert_eq!((event.event_type().unwrap().as_str(), event.data()), ("new", "data with  spaces\n"));
        let Some(Message::Event(told)) = read("e 5-1 0-0 0 1 0 a") else { panic!("an event") };
        assert_eq!(told.encode(None).data(), "");
        assert!(matches!(read("h 3 77 5-1"), Some(Message::Beat { partition: 3, nonce: 77, .. })));

        let Some(Message::Control(said)) = read("n 00000000000000ff {\"a\": 1}\nb c") else { panic!("a message") };
        assert_eq!((said.from.to_string().as_str(), &said.payload[..]), ("00000000000000ff", &b"{\"a\": 1}\nb c"[..]));

        let traced = "t 5-1 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 a b/c";
        let Some(Message::Trace { topic, id, trace }) = read(traced) else { panic!("a trace") };
        assert_eq!(format!("t {id} {trace} {topic}"), traced);

        assert!(matches!(read("c 3 ab:1.2"), Some(Message::Census { partition: 3, era }) if era == "ab:1.2"));

        for garbage in [
            "",
            "n",
            "n ",
            "n 1 x",
            "e",
            "x 1 2",
            "e 5-1 4-0 3 900 0 newtopic",
            "e 5-1 4-0 0 0 0 ",
            "e 51 40 0 1 a",
            "t 5-1 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "t 5-1 00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01 a",
            "t 5-1 a",
            "h 1 2",
            "h 1 2 3",
            "c 3",
        ] {
            assert!(read(garbage).is_none(), "{garbage}");
        }
        assert!(parse(&Bytes::from_static(b"e 5-1 4-0 0 1 0 a\xff")).is_none());
    }
}
