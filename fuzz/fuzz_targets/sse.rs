//! An event type in a line, and data: a parser that is not ours hears from the frame what was published, and nothing else, and
//! wherever the stream is cut.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use tokio_util::codec::Decoder as _;
use towncrier_wire::{Cursor, Event, EventId, EventType, Partitions, Topic, sse};

/// What this parser tells of a block: its id, type and data. One without data, such as a heartbeat, it tells with an empty one.
#[derive(Debug, PartialEq, Eq)]
struct Heard {
    id: Option<String>,
    event_type: Option<String>,
    data: String,
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some((event_type, data)) = text.split_once('\n') else { return };
    let event_type = EventType::new(event_type).ok();
    let id = EventId::new(1_795_161_600_123, data.len() as u64).unwrap_or(EventId::MAX);
    let topic = Topic::new("a").expect("is a topic");
    let event = Event::new(topic, id, EventId::ZERO, event_type.clone(), data);
    let cursor = Cursor::everywhere(Partitions::new(3).expect("is a number of partitions"), id);
    let direct = sse::direct(event_type.as_ref(), data);
    assert_eq!(event.data(), data);
    // The type and the id are short; of the data, the weight must tell the truth.
    let around = event_type.as_ref().map_or(0, |event_type| event_type.as_str().len()) + 64;
    assert!(event.frame().len() <= sse::data_weight(data) + around, "the frame is heavier than its data says");

    let received = received(data);
    assert_eq!(event.received_data(), received);
    let expect = |id: Option<String>| Heard {
        id,
        event_type: event_type.as_ref().map(|event_type| event_type.as_str().to_owned()),
        data: received.clone(),
    };
    // Each between two heartbeats, so that whatever leaks out of it is heard.
    let ping = sse::ping(Some(&id));
    let mut stream = BytesMut::from(&ping[..]);
    for frame in [event.frame(), &event.frame_with(&cursor), &direct] {
        stream.extend_from_slice(frame);
        stream.extend_from_slice(&ping);
    }
    let beat = || Heard { id: Some(id.to_string()), event_type: None, data: String::new() };
    let mut expected = vec![beat()];
    for id in [Some(id.to_string()), Some(cursor.to_string()), None] {
        expected.extend([expect(id), beat()]);
    }
    assert_eq!(hear(&[&stream]), expected);
    let cut = data.len() * 31 % stream.len();
    assert_eq!(hear(&[&stream[..cut], &stream[cut..]]), expected, "cut at {cut}");
});

/// Each line end as a line feed, character by character.
fn received(data: &str) -> String {
    let mut out = String::new();
    let mut chars = data.chars().peekable();
    while let Some(char) = chars.next() {
        if char == '\r' {
            chars.next_if_eq(&'\n');
        }
        out.push(if char == '\r' { '\n' } else { char });
    }
    out
}

fn hear(chunks: &[&[u8]]) -> Vec<Heard> {
    let (mut decoder, mut buffer, mut heard) = (russe::Decoder::default(), BytesMut::new(), Vec::new());
    for chunk in chunks {
        buffer.extend_from_slice(chunk);
        while let Some(item) = decoder.decode(&mut buffer).expect("is a stream of events") {
            match item {
                russe::Event::Message(message) => heard.push(Heard {
                    id: message.id.map(|id| id.to_string()),
                    event_type: message.event.map(|event_type| event_type.to_string()),
                    data: message.data.to_string(),
                }),
                russe::Event::Comment(comment) => assert_eq!(comment.trim(), "ping"),
                russe::Event::Retry(retry) => panic!("nobody told to retry in {retry:?}"),
            }
        }
    }
    heard
}
