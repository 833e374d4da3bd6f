//! Long polling, for clients that cannot stream.

use std::{
    thread,
    time::{Duration, Instant},
};

use towncrier_e2e::{Connection, Hub, SOON, Signal, Value, encode, eventually, json};

fn poll(hub: &Hub, query: &str) -> Value {
    hub.get(&format!("/poll?{query}")).ok()
}

/// The cursor of an answer, ready for the next request.
fn cursor(answer: &Value) -> String {
    encode(answer["cursor"].as_str().unwrap_or_else(|| panic!("no cursor: {answer}")))
}

fn data(answer: &Value) -> Vec<&str> {
    let events = answer["events"].as_array().unwrap_or_else(|| panic!("no events: {answer}"));
    events.iter().map(|event| event["data"].as_str().expect("a string")).collect()
}

#[test]
fn the_first_poll_gives_a_cursor_at_once() {
    let hub = Hub::start();
    hub.publish("news", "old");

    let answer = poll(&hub, "topic=news&wait=60");

    assert_eq!(answer["events"], json!([]));
    assert!(answer.get("gap").is_none(), "{answer}");
    hub.publish("news", "new");
    assert_eq!(data(&poll(&hub, &format!("topic=news&wait=60&cursor={}", cursor(&answer)))), ["new"]);
}

#[test]
fn an_event_comes_with_all_its_parts() {
    let hub = Hub::start();
    let start = cursor(&poll(&hub, "topic=orders/*"));
    let id = hub.send(&json!({"topic": "orders/42", "event": "created", "data": {"order": 42}})).ok()["id"].clone();
    hub.publish("orders/43", "two\r\nlines");

    let answer = poll(&hub, &format!("topic=orders/*&cursor={start}"));

    let created = json!({"id": id, "topic": "orders/42", "event": "created", "data": "{\"order\":42}"});
    assert_eq!(answer["events"][0], created);
    assert!(answer["events"][1]["event"].is_null(), "{answer}");
    assert_eq!(answer["events"][1]["data"], "two\nlines", "as in SSE");
}

#[test]
fn a_poll_waits_for_an_event() {
    let hub = Hub::start();
    let start = cursor(&poll(&hub, "topic=news"));

    let answer = thread::scope(|scope| {
        let waiting = scope.spawn(|| poll(&hub, &format!("topic=news&wait=60&cursor={start}")));
        hub.publish("elsewhere", "not this");
        hub.publish("news", "this");
        waiting.join().expect("an answer")
    });

    assert_eq!(data(&answer), ["this"]);
}

#[test]
fn a_poll_that_waits_in_vain_is_answered_with_a_cursor() {
    let hub = Hub::start();
    let start = cursor(&poll(&hub, "topic=news"));
    let asked = Instant::now();

    let answer = poll(&hub, &format!("topic=news&wait=1&cursor={start}"));

    assert!(asked.elapsed() >= Duration::from_millis(900), "{:?}", asked.elapsed());
    assert_eq!(answer["events"], json!([]));
    hub.publish("news", "1");
    assert_eq!(data(&poll(&hub, &format!("topic=news&cursor={}", cursor(&answer)))), ["1"]);
}

#[test]
fn the_newest_few_come_with_the_first_poll_when_asked_for() {
    let hub = Hub::start();
    hub.publish_numbers("news", 5);

    let answer = poll(&hub, "topic=news&last=2&wait=60");

    assert_eq!(data(&answer), ["4", "5"]);
}

#[test]
fn what_was_lost_is_told_and_the_rest_given() {
    let hub = Hub::with("history.events", "5").start();
    let start = cursor(&poll(&hub, "topic=news"));
    hub.publish_numbers("news", 10);

    let answer = poll(&hub, &format!("topic=news&wait=60&cursor={start}"));

    assert_eq!(answer["gap"], json!({"reason": "expired", "topics": ["news"]}));
    assert_eq!(data(&answer), ["6", "7", "8", "9", "10"]);
    let next = poll(&hub, &format!("topic=news&wait=0&cursor={}", cursor(&answer)));
    assert!(next.get("gap").is_none(), "{next}");
}

#[test]
fn an_unknown_cursor_is_a_gap() {
    let hub = Hub::start();
    for unknown in ["nonsense", "9999999999999-0", "%00", "%0d%0a"] {
        let answer = poll(&hub, &format!("topic=news&wait=60&cursor={unknown}"));
        assert_eq!(answer["gap"]["reason"], "unknown_cursor", "{answer}");
        hub.publish("news", "1");
        assert_eq!(data(&poll(&hub, &format!("topic=news&cursor={}", cursor(&answer)))), ["1"]);
    }
}

#[test]
fn polls_in_a_row_miss_and_repeat_nothing() {
    const EVENTS: usize = 600;
    let hub = Hub::with("history.events", "1000").start();
    let mut next = cursor(&poll(&hub, "topic=n"));

    let got = thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..EVENTS {
                hub.publish("n", &number.to_string());
            }
        });
        let mut got: Vec<String> = Vec::new();
        while got.len() < EVENTS {
            let answer = poll(&hub, &format!("topic=n&wait=10&cursor={next}"));
            assert!(answer.get("gap").is_none(), "{answer}");
            assert_ne!(answer["events"], json!([]), "after {got:?}");
            got.extend(data(&answer).into_iter().map(str::to_owned));
            next = cursor(&answer);
        }
        got
    });

    let expected: Vec<_> = (0..EVENTS).map(|number| number.to_string()).collect();
    assert_eq!(got, expected);
}

#[test]
fn a_long_history_comes_in_several_answers() {
    let hub = Hub::with("history.events", "2000").start();
    let numbers = hub.publish_numbers("news", 1_200);

    let mut got = Vec::new();
    let mut next = "earliest".to_owned();
    let mut answers = 0;
    while got.len() < numbers.len() {
        let answer = poll(&hub, &format!("topic=news&wait=5&cursor={next}"));
        let part = data(&answer);
        assert!((1..=500).contains(&part.len()), "{} events", part.len());
        got.extend(part.into_iter().map(str::to_owned));
        next = cursor(&answer);
        answers += 1;
    }

    assert_eq!(got, numbers);
    assert!(answers >= 3);
}

#[test]
fn an_answer_has_a_bound_in_bytes() {
    let hub =
        Hub::with("limits.data_bytes", "64KiB").set("http.body_bytes", "16MiB").set("history.bytes", "64MiB").start();
    let large: Vec<String> = (10..50).map(|number| format!("{number}{}", "x".repeat(60_000))).collect();
    hub.publish_each("news", large.clone());

    let mut got = Vec::new();
    let mut next = "earliest".to_owned();
    while got.len() < large.len() {
        let answer = hub.get(&format!("/poll?topic=news&wait=5&cursor={next}"));
        assert!(answer.body.len() < 1_200_000, "{} bytes", answer.body.len());
        let answer = answer.ok();
        got.extend(data(&answer).into_iter().map(str::to_owned));
        next = cursor(&answer);
    }

    assert!(got == large);
}

#[test]
fn streams_and_polls_share_their_cursors() {
    let hub = Hub::start();
    let mut session = hub.subscribe(&["news"]);
    hub.publish_numbers("news", 3);
    session.event();

    let answer = poll(&hub, &format!("topic=news&cursor={}", session.cursor));
    assert_eq!(data(&answer), ["2", "3"]);

    hub.publish("news", "4");
    let cursor = answer["cursor"].as_str().expect("cursor");
    assert_eq!(hub.subscription(&["news"]).last_event_id(cursor).open().event().data, "4");
}

#[test]
fn what_a_poll_may_not_ask() {
    let hub = Hub::start();
    for (query, field) in [
        ("", "topic"),
        ("topic=", "topic"),
        ("topic=a%00", "topic"),
        ("topic=a&wait=61", "wait"),
        ("topic=a&wait=-1", "wait"),
        ("topic=a&wait=soon", "wait"),
        ("topic=a&last=0", "last"),
        ("topic=a&last=1001", "last"),
        ("topic=a&user=", "user"),
    ] {
        assert_eq!(hub.get(&format!("/poll?{query}")).problem(400)["field"], field, "{query}");
    }
}

#[test]
fn a_poll_that_waits_is_answered_when_the_hub_stops() {
    let hub = Hub::start();
    let cursor = poll(&hub, "topic=news")["cursor"].as_str().expect("a cursor").to_owned();
    let waiting = {
        let (addr, cursor) = (hub.addr(), cursor.clone());
        std::thread::spawn(move || {
            let mut connection = Connection::open(addr);
            let head = format!("GET /poll?topic=news&cursor={cursor}&wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n");
            connection.send(head).expect("send");
            connection.response(Duration::from_secs(20)).expect("an answer").ok()
        })
    };
    eventually("the poll waits", SOON, || {
        match hub.get("/metrics").text().contains("towncrier_poll_requests_total 2") {
            true => Ok(()),
            false => Err("not yet"),
        }
    });
    let began = Instant::now();
    hub.signal(Signal::TERM);
    let answer = waiting.join().expect("answered");
    assert_eq!(answer["cursor"], cursor.as_str());
    assert!(began.elapsed() < Duration::from_secs(5));
}
