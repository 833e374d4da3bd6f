//! What comes by pub/sub: what is understood says the same when it is written as the scripts write it.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use towncrier_backplane_redis::fuzzing::{Message, parse};

fuzz_target!(|data: &[u8]| {
    let Some(message) = parse(&Bytes::copy_from_slice(data)) else { return };
    let written = write(&message);
    assert!(written.len() <= data.len(), "{message:?}");
    assert_eq!(parse(&written.into()).as_ref(), Some(&message));
});

fn write(message: &Message) -> Vec<u8> {
    match message {
        Message::Event(event, key) => {
            let event_type = event.event_type().map_or("", |event_type| event_type.as_str());
            let (topic, key) = (event.topic().as_str(), key.as_deref().unwrap_or_default());
            let lengths = [event_type, topic, key].map(str::len);
            let [event_type_len, topic_len, key_len] = lengths;
            let (id, prev, data) = (event.id(), event.prev(), event.data());
            format!("e {id} {prev} {event_type_len} {topic_len} {key_len} {event_type}{topic}{key}{data}").into_bytes()
        }
        Message::Trace { topic, id, trace } => format!("t {id} {trace} {topic}").into_bytes(),
        Message::Beat { partition, nonce, head } => format!("h {partition} {nonce} {head}").into_bytes(),
        Message::Control(message) => {
            let mut out = format!("n {} ", message.from).into_bytes();
            out.extend_from_slice(&message.payload);
            out
        }
        Message::Census { partition, era } => format!("c {partition} {era}").into_bytes(),
    }
}
