//! What a stream looks like: its head, its first block, its events and heartbeats.

use std::{collections::HashSet, time::Duration};

use towncrier_e2e::{Hub, encode, json};

use crate::payloads;

#[test]
fn the_first_block_greets_with_a_cursor_and_a_jittered_retry() {
    let hub = Hub::with("session.retry", "2s").start();

    let sessions: Vec<_> = (0..16).map(|_| hub.subscribe(&["news"])).collect();

    let retries: HashSet<_> = sessions.iter().map(|session| session.retry).collect();
    let range = Duration::from_millis(1_000)..=Duration::from_millis(3_000);
    assert!(retries.iter().all(|retry| range.contains(retry)), "{retries:?}");
    assert!(retries.len() > 8, "drawn anew for each connection: {retries:?}");

    let names: HashSet<_> = sessions.iter().map(|session| &session.session).collect();
    assert_eq!(names.len(), 16);
    for session in &sessions {
        assert!(!session.resumed);
        assert_eq!(session.node, sessions[0].node);
        assert!(is_cursor(&session.cursor), "{:?}", session.cursor);
    }
}

#[test]
fn the_head_keeps_proxies_from_buffering_and_storing() {
    let hub = Hub::start();

    let head = hub.subscribe(&["news"]).head;

    let kind = head.header("content-type").expect("content-type");
    assert_eq!(kind.split(';').next(), Some("text/event-stream"));
    assert_eq!(head.header("cache-control"), Some("no-store, no-transform"));
    assert_eq!(head.header("x-accel-buffering"), Some("no"));
    assert_eq!(head.header("content-length"), None);
    assert!(matches!(head.header("content-encoding"), None | Some("identity")), "{head:?}");
}

#[test]
fn compression_is_never_put_between_an_event_and_its_reader() {
    let hub = Hub::start();
    let mut session = hub.subscription(&["news"]).header("Accept-Encoding", "gzip, br, zstd, deflate").open();

    hub.publish("news", "as it is");

    assert_eq!(session.event().data, "as it is");
}

#[test]
fn an_event_carries_its_id_its_type_and_its_data() {
    let hub = Hub::start();
    let mut session = hub.subscribe(&["orders/42"]);

    let answer = hub.send(&json!({"topic": "orders/42", "event": "created", "data": {"order": 42}})).ok();
    let id = answer["id"].as_str().expect("id");
    hub.publish("orders/42", "untyped");

    let created = session.event();
    assert!(is_cursor(created.id()), "{created:?}");
    assert_eq!(created.kind.as_deref(), Some("created"));
    assert_eq!(created.data, r#"{"order":42}"#);
    let history = hub.get("/admin/v1/topics/orders%2F42/history").ok();
    assert_eq!(history["events"][0]["id"], id);

    let untyped = session.event();
    assert_eq!(untyped.kind, None);
    assert_ne!(untyped.id, created.id);
}

#[test]
fn any_data_arrives_as_it_was_sent() {
    let hub = Hub::start();
    let mut session = hub.subscribe(&["any"]);

    hub.publish_each("any", payloads::sent());

    assert_eq!(session.data(payloads::PAYLOADS.len()), payloads::received());
}

#[test]
fn types_and_topics_may_be_any_text() {
    let hub = Hub::start();
    for (topic, kind) in
        [("städte/zürich", "größer"), ("a b/c?d#e&f=g+h%41", "with: colon"), ("🧑‍🚀", " spaced "), ("x/./../y", "data")]
    {
        let mut session = hub.subscribe(&[topic]);
        hub.send(&json!({"topic": topic, "event": kind, "data": ""})).ok();
        assert_eq!(session.event().kind.as_deref(), Some(kind));

        let mut session = hub.subscription(&[]).path(&format!("/topics/{}/events", encode(topic))).open();
        hub.publish(topic, "by path");
        assert_eq!(session.event().data, "by path", "{topic}");
    }
}

#[test]
fn a_large_event_arrives_whole_between_small_ones() {
    // Each line end counts 7 bytes.
    let hub = Hub::with("limits.data_bytes", "384KiB").set("http.body_bytes", "1MiB").start();
    let mut session = hub.subscribe(&["news"]);
    let large = "0123456789abcde\n".repeat(16 * 1024);

    hub.publish_each("news", vec!["before".to_owned(), large.clone(), "after".to_owned()]);

    assert_eq!(session.event().data, "before");
    assert!(session.event().data == large, "256 KiB in 16,384 lines");
    assert_eq!(session.event().data, "after");
}

#[test]
fn a_quiet_session_gets_heartbeats_with_a_checkpoint() {
    let hub = Hub::with("session.heartbeat", "200ms").start();
    let mut session = hub.subscribe(&["quiet"]);

    let checkpoint = session.heartbeat();
    assert!(is_cursor(&checkpoint), "{checkpoint:?}");
    session.heartbeat();

    hub.publish("quiet", "no more");
    assert_eq!(session.event().data, "no more");
}

#[test]
fn javascript_can_ask_to_see_heartbeats() {
    let hub = Hub::with("session.heartbeat", "200ms").start();
    let mut session = hub.subscription(&["quiet"]).query("heartbeat", "event").open();

    for _ in 0..2 {
        let heartbeat = session.event();
        assert_eq!(heartbeat.kind.as_deref(), Some("heartbeat"));
        assert_eq!(heartbeat.data, "{}");
        assert!(is_cursor(heartbeat.id()));
    }
}

#[test]
fn a_session_ends_at_its_lifetime_and_goes_on_in_the_next_one() {
    let hub = Hub::with("session.max_lifetime", "500ms").start();
    let mut session = hub.subscribe(&["news"]);
    hub.publish("news", "1");
    assert_eq!(session.event().data, "1");

    let close = session.closed("max_lifetime");
    assert_eq!(close.json()["reconnect"], true);

    hub.publish("news", "2");
    let mut next = hub.subscription(&["news"]).last_event_id(&session.cursor).open();
    assert!(next.resumed);
    assert_eq!(next.event().data, "2");
}

fn is_cursor(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(allowed)
}
