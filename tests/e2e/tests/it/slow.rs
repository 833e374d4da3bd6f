//! Clients that do not keep up: bounded, told, and nobody else waits for them.

use std::{collections::HashMap, time::Duration};

use towncrier_e2e::{Builder, Event, Hub, SOON, Subscriber, eventually};

const EVENTS: usize = 3_000;
const PADDING: usize = 4_000;
/// So few at once that a client which reads between two batches never lags.
const BATCH: usize = 20;

fn small_outbox() -> Builder {
    Hub::with("session.outbox_bytes", "256KiB")
        .set("limits.data_bytes", "64KiB")
        .set("http.send_buffer", "16KiB")
        .set("http.body_bytes", "16MiB")
        .set("http.tcp_user_timeout", "60s")
}

/// Data that begins with its number and is long enough to fill a socket soon.
fn numbered(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("{number:05} {}", "x".repeat(PADDING))).collect()
}

fn number(event: &Event) -> usize {
    event.data[..5].parse().unwrap_or_else(|_| panic!("no number: {event:?}"))
}

/// Opens a session that reads nothing until it is asked to.
fn stalled(hub: &Hub, topics: &[&str]) -> Subscriber {
    hub.subscription(topics).small_buffer().open()
}

#[test]
fn a_slow_session_is_ended_and_has_all_when_it_comes_back() {
    let hub = small_outbox()
        .set("session.slow", "disconnect")
        .set("history.events", "10000")
        .set("history.bytes", "256MiB")
        .start();
    let mut slow = stalled(&hub, &["news"]);
    let mut fast = hub.subscribe(&["news"]);

    for start in (0..EVENTS).step_by(BATCH) {
        hub.publish_each("news", numbered(start..start + BATCH));
        assert_eq!(fast.take(BATCH).iter().map(number).collect::<Vec<_>>(), (start..start + BATCH).collect::<Vec<_>>());
    }

    eventually("only the fast one is left", SOON, || match hub.sessions("news") {
        sessions if sessions == [fast.session.clone()] => Ok(()),
        sessions => Err(format!("{sessions:?}")),
    });
    let (mut got, _) = slow.rest();
    if let Some(close) = got.pop_if(|event| event.kind.as_deref() == Some("close")) {
        assert_eq!(close.json()["reason"], "slow");
        assert_eq!(close.json()["reconnect"], true);
    }
    assert!(got.len() < EVENTS, "it was ended before it had all");
    let mut back = hub.subscription(&["news"]).last_event_id(&slow.cursor).open();
    assert!(back.resumed);
    got.extend(back.take(EVENTS - got.len()));
    assert_eq!(got.iter().map(number).collect::<Vec<_>>(), (0..EVENTS).collect::<Vec<_>>());
}

#[test]
fn slow_sessions_cost_bounded_memory() {
    let hub = small_outbox().set("history.events", "10").start();
    let mut fast = hub.subscribe(&["news"]);
    for start in (0..500).step_by(BATCH) {
        hub.publish_each("news", numbered(start..start + BATCH));
        fast.take(BATCH);
    }
    let before_kib = hub.rss_kib();

    let slow: Vec<_> = (0..10).map(|_| stalled(&hub, &["news"])).collect();
    let mut most_kib = 0;
    for start in (0..10_000).step_by(BATCH) {
        hub.publish_each("news", numbered(start..start + BATCH));
        fast.take(BATCH);
        most_kib = most_kib.max(hub.rss_kib());
    }

    let grown_kib = most_kib.saturating_sub(before_kib);
    assert!(grown_kib < 16 * 1024, "{grown_kib} KiB for 40 MB to 10 sessions that read nothing");
    drop(slow);
}

#[test]
fn each_slow_session_is_slow_on_its_own() {
    let hub = small_outbox().set("history.events", "10000").set("history.bytes", "256MiB").start();
    let mut slow = stalled(&hub, &["a", "b"]);
    let mut same_topics = hub.subscribe(&["a", "b"]);
    let mut other_topics = hub.subscribe(&["b"]);

    for start in (0..1_000).step_by(BATCH) {
        hub.publish_each("a", numbered(start..start + BATCH));
        hub.publish_each("b", numbered(start..start + BATCH));
        same_topics.take(2 * BATCH);
        other_topics.take(BATCH);
    }
    hub.publish("b", "end");

    assert_eq!(same_topics.event().data, "end");
    assert_eq!(other_topics.event().data, "end");
    slow.rest();
}

#[test]
fn a_conflated_session_gets_the_newest_of_each_topic_behind_a_gap() {
    let hub = small_outbox().set("session.slow", "conflate").start();
    let mut slow = stalled(&hub, &["a", "b"]);
    let mut fast = hub.subscribe(&["a", "b"]);
    for start in (0..1_000).step_by(BATCH) {
        for topic in ["a", "b"] {
            let data = numbered(start..start + BATCH).into_iter().map(|data| format!("{data} {topic}")).collect();
            hub.publish_each(topic, data);
        }
        fast.take(2 * BATCH);
    }
    assert!(hub.sessions("a").contains(&slow.session), "it is conflated, not ended");

    let mut newest: HashMap<char, usize> = HashMap::new();
    let mut may_skip = String::new();
    let (mut gaps, mut received) = (0, 0);
    while newest.get(&'a') != Some(&999) || newest.get(&'b') != Some(&999) {
        let event = slow.event();
        if event.kind.as_deref() == Some("gap") {
            assert_eq!(event.json()["reason"], "dropped", "{event:?}");
            gaps += 1;
            may_skip = "ab".to_owned();
            continue;
        }
        received += 1;
        let topic = event.data.chars().next_back().expect("data");
        let before = newest.insert(topic, number(&event));
        let follows = number(&event) == before.map_or(0, |before| before + 1);
        let skips = may_skip.contains(topic) && before.is_none_or(|before| number(&event) > before);
        assert!(follows || skips, "{} of {topic} after {before:?}, with {gaps} gaps", number(&event));
        may_skip.retain(|other| other != topic);
    }

    assert!(gaps > 0 && received < 2_000, "{gaps} gaps, {received} events");
    hub.publish("a", "00000 live again");
    assert_eq!(slow.event().data, "00000 live again");
}

#[test]
fn direct_events_past_the_queue_of_a_slow_session_are_counted_and_told() {
    let hub = small_outbox().set("session.slow", "conflate").start();
    let mut slow = stalled(&hub, &["news"]);
    let target = format!("/admin/v1/sessions/{}/events", slow.session);
    let data = "x".repeat(PADDING);

    let mut delivered = 0;
    eventually("the queue of direct events is full", Duration::from_secs(60), || {
        let answer = hub.post(&target, &towncrier_e2e::json!({"event": "hint", "data": data})).ok();
        match answer["delivered"].as_u64() {
            Some(0) => Ok(()),
            Some(1) => {
                delivered += 1;
                Err(format!("{delivered} delivered"))
            }
            _ => panic!("{answer}"),
        }
    });

    let mut hints = 0;
    let gap = loop {
        let event = slow.event();
        match event.kind.as_deref() {
            Some("hint") => hints += 1,
            _ => break event,
        }
    };
    assert_eq!((gap.kind.as_deref(), &gap.json()["reason"]), (Some("gap"), &"dropped".into()));
    assert_eq!(hints, delivered, "what was counted as delivered");
}

#[test]
fn a_namespace_bounds_how_many_events_a_second_its_sessions_get() {
    let namespace = "[[namespaces]]\nprefix = \"ticks/\"\nsession.events_per_second = 4\n";
    let hub = Hub::with("history.events", "100").file(namespace).start();
    let mut limited = hub.subscribe(&["ticks/a"]);
    let mut free = hub.subscribe(&["news"]);
    hub.publish_each("ticks/a", (0..30).map(|number| number.to_string()).collect());
    hub.publish_each("news", (0..30).map(|number| number.to_string()).collect());
    assert_eq!(free.take(30).len(), 30);

    let data: Vec<_> = limited.take(4).into_iter().map(|event| event.data).collect();
    assert_eq!(data, ["0", "1", "2", "3"]);
    let gap = limited.event();
    assert_eq!((gap.kind.as_deref(), gap.data.as_str()), (Some("gap"), r#"{"reason":"dropped","topics":["ticks/a"]}"#));
    eventually("the drops are counted", SOON, || match hub.metric(r#"towncrier_drops_total{reason="over_rate"}"#) {
        26.0 => Ok(()),
        dropped => Err(dropped),
    });
    let resumed: Vec<_> = hub.subscription(&["ticks/a"]).last_event_id(&limited.cursor).open().take(26);
    assert_eq!(resumed.last().map(|event| event.data.as_str()), Some("29"), "history has them");
}
