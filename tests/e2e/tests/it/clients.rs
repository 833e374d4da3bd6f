//! SSE clients that others wrote, as judges of the wire format.

use std::{process::Command, thread};

use towncrier_e2e::{Event, Hub, Judge, Proxy, SOON, eventually, json};

use crate::payloads::PAYLOADS;

/// Publishes every payload, typed and untyped in turn, and compares what the judge saw.
#[track_caller]
fn judge(program: &str) {
    let hub = Hub::with("session.heartbeat", "200ms").start();
    let url = hub.url("/events?topic=any&topic=judges/*");
    let mut judge = Judge::start(program, &url, PAYLOADS.len(), &["größer"]);

    let mut expected = Vec::new();
    for (index, (sent, received)) in PAYLOADS.iter().enumerate() {
        let kind = (index % 2 == 1).then_some("größer");
        let mut publish = json!({"topic": "any", "data": sent});
        if let Some(kind) = kind {
            publish["event"] = kind.into();
        }
        hub.send(&publish).ok();
        expected.push((kind, *received));
    }

    let events = judge.events(PAYLOADS.len());
    let seen: Vec<_> = events.iter().map(|event| (event.kind.as_deref(), event.data.as_str())).collect();
    assert_eq!(seen, expected);
    ids_differ(&events);
}

#[track_caller]
fn ids_differ(events: &[Event]) {
    for pair in events.windows(2) {
        assert!(!pair[0].id().is_empty() && pair[0].id() != pair[1].id(), "{pair:?}");
    }
}

#[test]
fn npm_eventsource() {
    judge("eventsource.mjs");
}

#[test]
fn npm_eventsource_parser() {
    judge("parser.mjs");
}

#[test]
fn python_sseclient() {
    judge("judge_sseclient.py");
}

#[test]
fn python_httpx_sse() {
    judge("judge_httpx_sse.py");
}

#[test]
fn npm_eventsource_comes_back_by_itself_after_a_cut() {
    let hub = Hub::with("session.retry", "100ms").set("history.events", "1000").start();
    let proxy = Proxy::to(hub.addr());
    let mut judge = Judge::start("eventsource.mjs", &proxy.url("/events?topic=numbers"), 300, &[]);

    let mut expected = Vec::new();
    for _ in 0..3 {
        expected.extend(hub.publish_numbers("numbers", 50));
        proxy.cut();
        expected.extend(hub.publish_numbers("numbers", 50));
    }

    let got: Vec<_> = judge.events(300).into_iter().map(|event| event.data).collect();
    assert_eq!(got, expected);
    assert!(proxy.accepted() >= 2, "{} connections", proxy.accepted());
}

#[test]
fn curl_sees_the_bytes_of_the_protocol() {
    let hub = Hub::with("session.retry", "2s").start();
    let url = hub.url("/topics/any/events");
    let received = tempfile::NamedTempFile::new().expect("a file");
    let read = || std::fs::read_to_string(received.path()).expect("UTF-8");
    let output = thread::scope(|scope| {
        let curl = scope.spawn(|| {
            let file = received.path().to_str().expect("a path");
            Command::new("curl").args(["-sSN", "--max-time", "30", "-o", file, &url]).output().expect("curl")
        });
        eventually("curl is connected", SOON, || read().ends_with("\n\n").then_some(()).ok_or_else(read));
        let session = hub.sessions("any").pop().expect("curl's");
        hub.send(&json!({"topic": "any", "event": "created", "data": "one\ntwo"})).ok();
        hub.publish("any", " untyped");
        hub.delete(&format!("/admin/v1/sessions/{session}")).ok();
        curl.join().expect("curl")
    });

    assert!(output.status.success(), "{output:?}");
    let text = read();
    let blocks: Vec<&str> = text.split_terminator("\n\n").collect();
    let [first, created, untyped, close] = blocks[..] else { panic!("{text}") };
    assert!(first.starts_with("retry: ") && first.contains("\nevent: connected\ndata: {"), "{text}");
    assert!(created.starts_with("id: ") && created.ends_with("\nevent: created\ndata: one\ndata: two"), "{text}");
    assert!(
        untyped.starts_with("id: ") && untyped.ends_with("\ndata:  untyped") && !untyped.contains("event:"),
        "{text}"
    );
    assert!(
        close.contains("id: closed") && close.contains(r#"data: {"reason":"disconnected","reconnect":false}"#),
        "{text}"
    );
    assert!(text.ends_with("\n\n"), "{text:?}");
}
