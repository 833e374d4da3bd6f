//! Which events a session gets.

use towncrier_e2e::{Hub, json};

#[test]
fn a_topic_in_the_path_may_have_its_slashes_encoded_or_not() {
    let hub = Hub::start();
    for path in [
        "/topics/orders/42/events",
        "/topics/orders%2F42/events",
        "/topics/orders%2f42/events",
        "/topics/orders/*/events",
        "/topics/**/events",
    ] {
        let mut session = hub.subscription(&[]).path(path).open();
        hub.publish("orders/42", path);
        assert_eq!(session.event().data, path);
    }
}

#[test]
fn a_topic_may_be_called_events() {
    let hub = Hub::start();
    let mut session = hub.subscription(&[]).path("/topics/events/events/events").open();

    hub.publish("events/events", "found");

    assert_eq!(session.event().data, "found");
}

#[test]
fn selectors_match_whole_segments() {
    let hub = Hub::start();
    let table = [
        ("a", "a", true),
        ("a", "a/b", false),
        ("a", "A", false),
        ("a/b", "a", false),
        ("a/b", "a/b/c", false),
        ("*", "a", true),
        ("*", "a/b", false),
        ("a/*", "a/b", true),
        ("a/*", "a", false),
        ("a/*", "ab", false),
        ("a/*", "a/b/c", false),
        ("*/b", "a/b", true),
        ("*/b", "b", false),
        ("a/*/c", "a/b/c", true),
        ("a/*/c", "a/b/d", false),
        ("*/*", "a/b", true),
        ("a/**", "a/b", true),
        ("a/**", "a/b/c/d", true),
        ("a/**", "a", false),
        ("a/**", "ab/c", false),
        ("*/b/**", "a/b/c/d", true),
        ("*/b/**", "a/b", false),
        ("**", "a", true),
        ("**", "a/b/c", true),
    ];

    for (selector, topic, matches) in table {
        let mut session = hub.subscribe(&[selector, "end"]);
        hub.publish(topic, topic);
        hub.publish("end", "end");

        let expected: &[&str] = if matches { &[topic, "end"] } else { &["end"] };
        assert_eq!(session.data(expected.len()), expected, "{selector} and {topic}");
    }
}

#[test]
fn an_event_that_several_selectors_want_comes_once() {
    let hub = Hub::start();
    let mut session = hub.subscribe(&["orders/42", "orders/*", "orders/**", "**", "orders/42", "news"]);

    hub.publish("orders/42", "once");
    hub.publish("news", "then this");

    assert_eq!(session.data(2), ["once", "then this"]);
}

#[test]
fn events_of_several_topics_come_in_the_order_of_their_ids() {
    let hub = Hub::with("backplane.partitions", "1").start();
    let mut session = hub.subscribe(&["a", "b/*", "c/**"]);

    let mut published = Vec::new();
    for round in 0..50 {
        for topic in ["a", "b/1", "not/this", "c/1/2"] {
            let id = hub.publish(topic, &format!("{topic} {round}"));
            published.push((id, topic));
        }
    }

    let order: Vec<_> = published.iter().map(|(id, _)| parts(id)).collect();
    assert!(order.is_sorted_by(|a, b| a < b), "ids go up: {published:?}");
    let expected: Vec<_> =
        (0..50).flat_map(|round| ["a", "b/1", "c/1/2"].map(|topic| format!("{topic} {round}"))).collect();
    assert_eq!(session.data(expected.len()), expected);
}

#[test]
fn with_several_partitions_each_topic_keeps_its_order() {
    let hub = Hub::with("backplane.partitions", "8").start();
    let topics: Vec<String> = (0..20).map(|number| format!("topic/{number}")).collect();
    let mut session = hub.subscribe(&["topic/*"]);

    for round in 0..20 {
        let all: Vec<_> =
            topics.iter().map(|topic| json!({"topic": topic, "data": format!("{topic} {round:02}")})).collect();
        hub.post("/admin/v1/publish/batch", &all.into()).ok();
    }

    let mut got = session.data(400);
    let cursor = session.cursor.clone();
    for topic in &topics {
        let prefix = format!("{topic} ");
        let of_topic: Vec<_> = got.iter().filter(|data| data.starts_with(&prefix)).collect();
        assert!(of_topic.is_sorted() && of_topic.len() == 20, "{of_topic:?}");
    }
    got.sort();
    got.dedup();
    assert_eq!(got.len(), 400);

    for topic in &topics {
        hub.publish(topic, "later");
    }
    let mut back = hub.subscription(&["topic/*"]).last_event_id(&cursor).open();
    assert_eq!(back.data(20), ["later"; 20]);
}

#[test]
fn a_hundred_selectors_are_served() {
    let hub = Hub::start();
    let topics: Vec<String> = (0..100).map(|number| format!("topic/{number}")).collect();
    let selectors: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut session = hub.subscribe(&selectors);

    for topic in &topics {
        hub.publish(topic, topic);
    }

    let mut got = session.data(100);
    got.sort();
    let mut expected = topics.clone();
    expected.sort();
    assert_eq!(got, expected);
}

/// The two numbers of an event id.
fn parts(id: &str) -> (u64, u64) {
    let (ms, seq) = id.split_once('-').unwrap_or_else(|| panic!("not <ms>-<seq>: {id}"));
    (ms.parse().expect("decimal"), seq.parse().expect("decimal"))
}
