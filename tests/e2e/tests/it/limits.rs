//! Limits, and how a client is told that it has hit one.

use towncrier_e2e::{Hub, SOON, Subscriber, encode, eventually};

/// Two sessions, which fill a hub with room for two once the harness's own probe has gone.
fn two_sessions(hub: &Hub) -> [Subscriber; 2] {
    [(); 2].map(|()| eventually("there is room", SOON, || hub.subscription(&["news"]).try_open()))
}

#[test]
fn a_full_hub_sends_streams_away_kindly_and_others_plainly() {
    full_at("http.max_connections", 503);
}

#[test]
fn so_does_a_hub_where_one_address_has_too_many() {
    full_at("http.max_connections_per_address", 429);
}

#[track_caller]
fn full_at(key: &str, status: u16) {
    let hub = Hub::with(key, "2").start();
    let [first, mut second] = two_sessions(&hub);

    let (head, mut connection) = hub.subscription(&["news"]).answer();
    assert_eq!(head.status, 200, "any other status stops an EventSource for good");
    assert!(head.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")), "{head:?}");
    let body = String::from_utf8(connection.body(SOON).expect("a clean end")).expect("text");
    let retry_ms: Option<u32> = body.trim().strip_prefix("retry: ").and_then(|retry| retry.parse().ok());
    assert!(retry_ms.is_some_and(|retry_ms| retry_ms <= 60_000), "{body:?}");

    for accept in ["application/json", "*/*"] {
        let (head, mut connection) = hub.subscription(&["news"]).accept(accept).answer();
        assert_eq!(head.status, status, "{accept}");
        let seconds: Option<u32> = head.header("retry-after").and_then(|seconds| seconds.parse().ok());
        assert!(seconds.is_some_and(|seconds| seconds <= 60), "{head:?}");
        assert!(
            head.header("content-type").is_some_and(|kind| kind.starts_with("application/problem+json")),
            "{head:?}"
        );
        connection.body(SOON).expect("a whole answer");
    }

    drop(first);
    eventually("the room of the first is free", SOON, || hub.subscription(&["news"]).try_open());
    eventually("there is room for an administrator", SOON, || {
        match hub.delete(&format!("/admin/v1/sessions/{}", second.session)) {
            answer if answer.status() == 200 => Ok(()),
            answer => Err(answer.text()),
        }
    });
    second.closed("disconnected");
}

#[test]
fn selectors_are_checked() {
    let hub = Hub::start();
    let long = "x".repeat(257);
    for selector in ["", "a\0b", "a\nb", "a\u{7f}", "a*", "*a", "a/b*/c", "***", "**/a", "a/**/b", &long, "a/\u{1b}[2J"]
    {
        let target = format!("/events?topic=fine&topic={}", encode(selector));
        assert_names_topic(&hub.get(&target).problem(400), selector);
    }
    for target in
        ["/events", "/events?nothing=here", "/events?topic=%ff", "/events?topic=a%c0%af", "/topics/a%ff/events"]
    {
        assert_names_topic(&hub.get(target).problem(400), target);
    }
    let _ = hub.subscribe(&[&long[1..]]);
}

#[test]
fn a_hundred_and_one_selectors_are_too_many() {
    let hub = Hub::start();
    let query: Vec<_> = (0..101).map(|number| format!("topic={number}")).collect();
    assert_names_topic(&hub.get(&format!("/events?{}", query.join("&"))).problem(400), "101");
}

#[track_caller]
fn assert_names_topic(problem: &towncrier_e2e::Value, what: &str) {
    let field = problem["field"].as_str().unwrap_or_default();
    assert!(field == "topic" || field.starts_with("topic["), "{what:?}: {problem}");
}

#[test]
fn other_parameters_of_a_subscription_are_checked() {
    let hub = Hub::start();
    let long = format!("user={}", "u".repeat(129));
    for (query, field) in [
        ("last=0", "last"),
        ("last=1001", "last"),
        ("last=-1", "last"),
        ("last=few", "last"),
        ("heartbeat=never", "heartbeat"),
        ("user=", "user"),
        ("user=a%00b", "user"),
        ("user=a%0ab", "user"),
        (&long, "user"),
    ] {
        let problem = hub.get(&format!("/events?topic=news&{query}")).problem(400);
        assert_eq!(problem["field"], field, "{query}: {problem}");
    }
}

#[test]
fn history_is_bounded_in_age() {
    let hub = Hub::with("history.age", "1s").start();
    let cursor = hub.subscribe(&["news"]).cursor;
    hub.publish("news", "soon gone");

    eventually("history forgets", SOON, || {
        let page = hub.get("/admin/v1/topics/news/history").ok();
        if page["events"].as_array().is_some_and(Vec::is_empty) { Ok(()) } else { Err(page) }
    });
    let mut back = hub.subscription(&["news"]).last_event_id(&cursor).open();
    back.gap("expired");
}

#[test]
fn history_is_bounded_in_bytes_and_topics() {
    let hub = Hub::with("history.bytes", "1MiB").set("history.topics", "100").start();
    let data = "x".repeat(10_000);
    for topic in 0..300 {
        hub.publish(&format!("topic/{topic}"), &data);
    }

    let page = hub.get("/admin/v1/topics?limit=1000").ok();
    let held: u64 =
        page["topics"].as_array().expect("topics").iter().map(|topic| topic["events"].as_u64().expect("events")).sum();
    assert!((1..=105).contains(&held), "{held} events of 10 kB each in 1 MiB and 100 topics");
    let newest = hub.get("/admin/v1/topics/topic%2F299/history").ok();
    assert_eq!(newest["events"].as_array().map(Vec::len), Some(1), "the newest stays");
}
