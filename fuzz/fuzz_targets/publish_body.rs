//! The body of a publish, of a direct event and of a batch, all three at once: what is taken is what a JSON parser that is not
//! told about events reads there, and no more than that.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use towncrier_http::fuzzing::{batch, compact, direct, publish};
use towncrier_wire::sse;

const DATA_BYTES_MAX: usize = 1024;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    check_publish(text);
    check_direct(text);
    check_batch(text);
});

fn check_publish(text: &str) {
    let (events, many) = match publish(text, DATA_BYTES_MAX) {
        Ok(taken) => taken,
        Err(refused) => {
            let detail = refused.0["detail"].as_str().unwrap_or_default();
            assert!(!detail.is_empty() && refused.0["field"].is_string(), "{refused:?}");
            return;
        }
    };
    // Numbers beyond a float are passed on, and are none to this parser.
    let Ok(body) = serde_json::from_str::<Value>(text) else { return check_passed_on(&events[0].data) };
    let topics: Vec<&Value> = match &body["topics"] {
        Value::Array(topics) => topics.iter().collect(),
        _ => vec![&body["topic"]],
    };
    assert_eq!(many, body["topics"].is_array());
    assert_eq!(topics, events.iter().map(|event| event.topic.as_str()).collect::<Vec<_>>());
    for event in &events {
        assert_eq!(body["event"].as_str(), event.event_type.as_ref().map(|event_type| event_type.as_str()));
        assert_eq!(body["idempotency_key"].as_str(), event.idempotency_key.as_ref().map(|key| key.as_str()));
        check_data(&body["data"], &event.data);
    }
    // Nothing that is taken depends on how it is written.
    let (again, _) = publish(&body.to_string(), DATA_BYTES_MAX + text.len() * 32).expect("is the same again");
    assert_eq!(again.len(), events.len());
}

fn check_direct(text: &str) {
    let Ok((data, event_type)) = direct(text, DATA_BYTES_MAX) else { return };
    let Ok(body) = serde_json::from_str::<Value>(text) else { return check_passed_on(&data) };
    assert_eq!(body["event"].as_str(), event_type.as_deref());
    check_data(&body["data"], &data);
}

fn check_data(sent: &Value, taken: &str) {
    assert!(sse::data_weight(taken) <= DATA_BYTES_MAX, "more than is allowed");
    match sent {
        Value::String(text) => assert_eq!(text, taken),
        value => {
            assert_eq!(serde_json::from_str::<Value>(taken).ok().as_ref(), Some(value), "{taken}");
            check_passed_on(taken);
        }
    }
}

/// JSON goes out in one line, and as short as can be.
fn check_passed_on(taken: &str) {
    if serde_json::from_str::<&serde_json::value::RawValue>(taken).is_ok() {
        assert_eq!(compact(taken), *taken);
    }
}

fn check_batch(text: &str) {
    if let Ok(items) = batch(text, false) {
        let whole = format!("[{}]", items.join(","));
        assert_eq!(compact(&whole), compact(text.trim()));
        items.iter().for_each(|item| check_publish(item));
    }
    let lines = batch(text, true).expect("lines are always told apart");
    assert!(lines.iter().all(|line| !line.trim().is_empty() && !line.contains('\n')));
}
