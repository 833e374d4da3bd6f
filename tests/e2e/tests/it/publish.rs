//! Publishing: what is answered, and what then arrives.

use std::collections::HashSet;

use towncrier_e2e::{Hub, Value, json};

#[test]
fn an_acknowledged_event_is_stored() {
    let hub = Hub::start();

    let id = hub.publish("news", "hello");

    let history = hub.get("/admin/v1/topics/news/history").ok();
    assert_eq!(history["events"][0]["id"], id);
    assert_eq!(history["events"][0]["data"], "hello");
}

#[test]
fn several_topics_get_one_event_each() {
    let hub = Hub::start();
    let mut session = hub.subscribe(&["**"]);

    let answer = hub.send(&json!({"topics": ["a", "b/c", "d"], "event": "sale", "data": 5})).ok();

    let events = answer["events"].as_array().expect("events");
    assert_eq!(events.iter().map(|event| &event["topic"]).collect::<Vec<_>>(), ["a", "b/c", "d"]);
    let ids: HashSet<_> = events.iter().map(|event| event["id"].as_str().expect("id")).collect();
    assert_eq!(ids.len(), 3, "{answer}");
    for event in session.take(3) {
        assert_eq!((event.kind.as_deref(), event.data.as_str()), (Some("sale"), "5"));
    }
}

#[test]
fn a_hundred_topics_are_taken() {
    let hub = Hub::start();
    let topics: Vec<String> = (0..100).map(|number| format!("topic/{number}")).collect();

    let answer = hub.send(&json!({"topics": topics, "data": ""})).ok();

    assert_eq!(answer["events"].as_array().map(Vec::len), Some(100));
}

#[test]
fn a_retried_publish_takes_effect_once() {
    let hub = Hub::start();
    let mut session = hub.subscribe(&["orders/*"]);
    let publish = |topic: &str, key: &str, data: &str| {
        hub.send(&json!({"topic": topic, "data": data, "idempotency_key": key})).ok()
    };

    let first = publish("orders/1", "created", "1");
    let retried = publish("orders/1", "created", "1 again");
    let other_topic = publish("orders/2", "created", "2");
    let other_key = publish("orders/1", "paid", "3");

    assert!(first.get("duplicate").is_none_or(|duplicate| duplicate == false), "{first}");
    assert_eq!(retried["duplicate"], true);
    assert_eq!(retried["id"], first["id"]);
    assert!(other_topic.get("duplicate").is_none_or(|duplicate| duplicate == false), "{other_topic}");
    assert_ne!(other_key["id"], first["id"]);
    assert_eq!(session.data(3), ["1", "2", "3"]);
}

#[test]
fn a_retry_is_known_even_after_its_event_has_left_the_history() {
    let hub = Hub::with("history.events", "2").start();
    let publish = || hub.send(&json!({"topic": "news", "data": "x", "idempotency_key": "k"})).ok();

    let first = publish();
    hub.publish_numbers("news", 10);
    let retried = publish();

    assert_eq!((&retried["id"], &retried["duplicate"]), (&first["id"], &json!(true)));
}

#[test]
fn many_who_retry_at_once_make_one_event() {
    let hub = Hub::start();
    let mut session = hub.subscribe(&["news"]);
    let body = json!({"topic": "news", "data": "once", "idempotency_key": "k"});

    let answers: Vec<Value> = std::thread::scope(|scope| {
        let racing: Vec<_> = (0..8).map(|_| scope.spawn(|| hub.send(&body).ok())).collect();
        racing.into_iter().map(|answer| answer.join().expect("an answer")).collect()
    });

    let ids: HashSet<_> = answers.iter().map(|answer| answer["id"].as_str()).collect();
    assert_eq!(ids.len(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| answer["duplicate"] == true).count(), 7, "{answers:?}");
    hub.publish("news", "end");
    assert_eq!(session.data(2), ["once", "end"]);
}

#[test]
fn any_json_is_data_and_a_string_goes_out_as_it_is() {
    let hub = Hub::start();
    let mut session = hub.subscribe(&["news"]);
    let table = [
        (r#""text""#, "text"),
        (r#""""#, ""),
        (r#""\u0041\n\"\u0000\ud83d\ude80""#, "A\n\"\0🚀"),
        (r#""{\"a\": 1}""#, r#"{"a": 1}"#),
        ("null", "null"),
        ("true", "true"),
        ("-12.5", "-12.5"),
        ("18446744073709551615", "18446744073709551615"),
        ("[ ]", "[]"),
        ("{ }", "{}"),
        (r#"[ 1 , "two" , [ null ] ]"#, r#"[1,"two",[null]]"#),
        ("{ \"b\" : 1,\r\n \"a\" : { \"c d\" : \"e \\\" f\" } }", r#"{"b":1,"a":{"c d":"e \" f"}}"#),
    ];

    for (sent, expected) in table {
        let body = format!(r#"{{"topic":"news","data":{sent}}}"#);
        hub.post_bytes("/admin/v1/publish", "application/json", body.as_bytes()).ok();
        assert_eq!(session.event().data, expected, "{sent}");
    }
}

#[test]
fn a_charset_may_stand_behind_the_content_type() {
    let hub = Hub::start();
    for content_type in ["application/json; charset=utf-8", "Application/JSON;charset=UTF-8"] {
        hub.post_bytes("/admin/v1/publish", content_type, br#"{"topic":"news","data":1}"#).ok();
    }
}

#[test]
fn a_batch_is_answered_item_by_item_and_a_bad_one_stops_no_other() {
    let hub = Hub::start();
    let mut session = hub.subscribe(&["**"]);
    let batch = json!([
        {"topic": "a", "data": 1},
        {"topic": "a", "event": "connected", "data": 2},
        {"data": 3},
        "not an object",
        {"topics": ["b", "c"], "data": 4},
        {"topic": "a", "data": 5, "nonsense": true},
        {"topic": "a", "data": 6, "idempotency_key": "k"},
        {"topic": "a", "data": 7, "idempotency_key": "k"},
        {"topic": "d", "data": 8},
    ]);

    let answer = hub.post("/admin/v1/publish/batch", &batch).ok();
    let answers = answer.as_array().expect("a list");

    assert_eq!(answers.len(), 9, "{answer}");
    check_batch(answers);
    let mut got = session.data(5);
    got.sort();
    assert_eq!(got, ["1", "4", "4", "6", "8"]);
    hub.publish("z", "end");
    assert_eq!(session.event().data, "end");
}

#[test]
fn a_batch_may_come_as_one_object_a_line() {
    let hub = Hub::start();
    let mut session = hub.subscribe(&["**"]);
    let lines = [
        r#"{"topic":"a","data":1}"#,
        r#"{"topic":"a","event":"connected","data":2}"#,
        r#"{"data":3}"#,
        r#"{"topic":"a","#,
        r#"{"topics":["b","c"],"data":4}"#,
        r#"{"topic":"a","data":5,"nonsense":true}"#,
        r#"{"topic":"a","data":6,"idempotency_key":"k"}"#,
        r#"{"topic":"a","data":7,"idempotency_key":"k"}"#,
        r#"{"topic":"d","data":8}"#,
    ];

    let answer = hub.post_bytes("/admin/v1/publish/batch", "application/x-ndjson", lines.join("\n").as_bytes());

    assert_eq!(answer.status(), 200, "{}", answer.text());
    let kind = answer.head.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("application/x-ndjson"), "{kind}");
    let answers: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    check_batch(&answers);
    let mut got = session.data(5);
    got.sort();
    assert_eq!(got, ["1", "4", "4", "6", "8"]);
}

/// The answers to the two batches above.
fn check_batch(answers: &[Value]) {
    assert_eq!(answers.len(), 9, "{answers:#?}");
    assert!(answers[0]["id"].is_string() && answers[0]["topic"] == "a", "{}", answers[0]);
    for (index, field) in [(1, Some("event")), (2, Some("topic")), (3, None), (5, Some("nonsense"))] {
        let error = &answers[index]["error"];
        assert_eq!(error["status"], 400, "{index}: {}", answers[index]);
        if let Some(field) = field {
            assert!(error["field"].as_str().is_some_and(|path| path.contains(field)), "{index}: {error}");
        }
        assert!(answers[index].get("id").is_none(), "{}", answers[index]);
    }
    assert_eq!(answers[4]["events"].as_array().map(Vec::len), Some(2), "{}", answers[4]);
    assert_eq!(answers[7]["duplicate"], true);
    assert_eq!(answers[7]["id"], answers[6]["id"]);
    assert_eq!(answers[8]["topic"], "d");
}

#[test]
fn a_batch_has_a_bound() {
    let hub = Hub::with("limits.batch_events", "3").start();
    let mut session = hub.subscribe(&["a"]);
    let batch = |count| Value::from(vec![json!({"topic": "a", "data": count}); count]);

    assert_eq!(hub.post("/admin/v1/publish/batch", &batch(3)).ok().as_array().map(Vec::len), Some(3));
    hub.post("/admin/v1/publish/batch", &batch(4)).problem(413);
    let lines = batch(4).as_array().expect("a list").iter().map(|item| format!("{item}\n")).collect::<String>();
    hub.post_bytes("/admin/v1/publish/batch", "application/x-ndjson", lines.as_bytes()).problem(413);
    hub.publish("a", "end");

    assert_eq!(session.data(4), ["3", "3", "3", "end"]);
}

#[test]
fn an_empty_batch_is_answered_with_an_empty_one() {
    let hub = Hub::start();
    assert_eq!(hub.post("/admin/v1/publish/batch", &json!([])).ok(), json!([]));
}
