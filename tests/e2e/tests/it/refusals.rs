//! What a publisher may not send: a problem that names the field, and nothing delivered.

use towncrier_e2e::{Hub, Subscriber, json};

const JSON: &str = "application/json";

/// Checks each `(body, field)` for this status, and that a session that wants everything gets none of it.
#[track_caller]
fn refused(hub: &Hub, everything: &mut Subscriber, status: u16, table: &[(&str, Option<&str>)]) {
    for (body, field) in table {
        let problem = hub.post_bytes("/admin/v1/publish", JSON, body.as_bytes()).problem(status);
        if let Some(field) = field {
            assert_eq!(problem["field"], *field, "{body}: {problem}");
        }
    }
    hub.publish("end", "end");
    assert_eq!(everything.event().data, "end", "a refused publish is delivered to nobody");
}

#[test]
fn bodies_that_are_no_publish_request() {
    let hub = Hub::start();
    let mut everything = hub.subscribe(&["**"]);
    let deep = format!(r#"{{"topic":"a","data":{}1{}}}"#, "[".repeat(2_000), "]".repeat(2_000));
    let bottomless = format!(r#"{{"topic":"a","data":{}"#, r#"{"a":"#.repeat(10_000));
    refused(
        &hub,
        &mut everything,
        400,
        &[
            ("", None),
            ("{", None),
            ("null", None),
            ("[]", None),
            ("\"text\"", None),
            (r#"{"topic":"a","data":1} and more"#, None),
            (r#"{"topic":"a","data":"\ud800"}"#, None),
            (r#"{"topic":"a","data":01}"#, None),
            (r#"{"topic":"a","data":NaN}"#, None),
            ("{\"topic\":\"a\",\"data\":\"raw \n line end\"}", None),
            (&deep, None),
            (&bottomless, None),
        ],
    );
    hub.post_bytes("/admin/v1/publish", JSON, b"{\"topic\":\"a\",\"data\":\"\xff\xfe\"}").problem(400);
    hub.post_bytes("/admin/v1/publish", JSON, b"{\"topic\":\"\xc0\xaf\",\"data\":\"\"}").problem(400);
    hub.post_bytes("/admin/v1/publish", JSON, &[0; 100]).problem(400);
    hub.post_bytes("/admin/v1/publish/batch", JSON, br#"{"topic":"a","data":1}"#).problem(400);
    hub.publish("end", "end");
    assert_eq!(everything.event().data, "end");
}

#[test]
fn fields_that_are_missing_or_too_many() {
    let hub = Hub::start();
    refused(
        &hub,
        &mut hub.subscribe(&["**"]),
        400,
        &[
            (r#"{"data":1}"#, Some("topic")),
            (r#"{"topic":"a"}"#, Some("data")),
            (r#"{"topic":"a","topics":["b"],"data":1}"#, Some("topics")),
            (r#"{"topic":"a","data":1,"nonsense":2}"#, Some("nonsense")),
            (r#"{"topic":"a","data":1,"id":"1-1"}"#, Some("id")),
            (r#"{"topic":5,"data":1}"#, Some("topic")),
            (r#"{"topic":null,"data":1}"#, Some("topic")),
            (r#"{"topics":"a","data":1}"#, Some("topics")),
            (r#"{"topics":[],"data":1}"#, Some("topics")),
            (r#"{"topics":["a","b","c",5],"data":1}"#, Some("topics[3]")),
            (r#"{"topic":"a","event":5,"data":1}"#, Some("event")),
            (r#"{"topic":"a","data":1,"idempotency_key":5}"#, Some("idempotency_key")),
        ],
    );
}

#[test]
fn topics_that_are_no_topics() {
    let hub = Hub::start();
    let long = format!(r#"{{"topic":"{}","data":1}}"#, "x".repeat(257));
    let long_in_bytes = format!(r#"{{"topic":"{}","data":1}}"#, "ü".repeat(129));
    let many = json!({"topics": (0..101).map(|number| number.to_string()).collect::<Vec<_>>(), "data": 1}).to_string();
    refused(
        &hub,
        &mut hub.subscribe(&["**"]),
        400,
        &[
            (r#"{"topic":"","data":1}"#, Some("topic")),
            (r#"{"topic":"a\nb","data":1}"#, Some("topic")),
            (r#"{"topic":"a\rb","data":1}"#, Some("topic")),
            (r#"{"topic":"a\u0000b","data":1}"#, Some("topic")),
            (r#"{"topic":"a\u001bb","data":1}"#, Some("topic")),
            (r#"{"topic":"a\u007fb","data":1}"#, Some("topic")),
            (r#"{"topic":"a\u0085b","data":1}"#, Some("topic")),
            (r#"{"topic":"*","data":1}"#, Some("topic")),
            (r#"{"topic":"a/*","data":1}"#, Some("topic")),
            (r#"{"topic":"a/**","data":1}"#, Some("topic")),
            (r#"{"topic":"a*b","data":1}"#, Some("topic")),
            (&long, Some("topic")),
            (&long_in_bytes, Some("topic")),
            (r#"{"topics":["a","b","c","*"],"data":1}"#, Some("topics[3]")),
            (&many, Some("topics")),
        ],
    );

    hub.publish(&"x".repeat(256), "256 bytes are a topic");
}

#[test]
fn types_that_could_forge_a_frame_or_pass_for_the_hubs_own() {
    let hub = Hub::start();
    let bodies: Vec<String> = [
        "a\nb",
        "a\rb",
        "a\r\nb",
        "a\nid: 0-0",
        "a\0b",
        "\u{1b}",
        "\u{7f}",
        "\u{85}",
        "",
        "connected",
        "heartbeat",
        "gap",
        "close",
    ]
    .iter()
    .map(|kind| json!({"topic": "a", "event": kind, "data": 1}).to_string())
    .chain([json!({"topic": "a", "event": "x".repeat(129), "data": 1}).to_string()])
    .collect();
    let table: Vec<_> = bodies.iter().map(|body| (body.as_str(), Some("event"))).collect();

    refused(&hub, &mut hub.subscribe(&["**"]), 400, &table);

    hub.send(&json!({"topic": "a", "event": "x".repeat(128), "data": 1})).ok();
}

#[test]
fn idempotency_keys_out_of_bounds() {
    let hub = Hub::start();
    let long = json!({"topic": "a", "data": 1, "idempotency_key": "k".repeat(129)}).to_string();
    refused(
        &hub,
        &mut hub.subscribe(&["**"]),
        400,
        &[
            (r#"{"topic":"a","data":1,"idempotency_key":""}"#, Some("idempotency_key")),
            (&long, Some("idempotency_key")),
        ],
    );
}

#[test]
fn too_much_data() {
    let hub = Hub::with("limits.data_bytes", "1KiB").set("http.body_bytes", "8KiB").start();
    let mut everything = hub.subscribe(&["**"]);
    let string = json!({"topic": "a", "data": "x".repeat(1_025)}).to_string();
    let compact = json!({"topic": "a", "data": vec![1; 600]}).to_string();
    let body = json!({"topic": "a", "data": "x".repeat(9_000)}).to_string();
    refused(&hub, &mut everything, 413, &[(&string, Some("data")), (&compact, Some("data")), (&body, None)]);

    hub.publish("a", &"x".repeat(1_024));
    assert_eq!(everything.event().data.len(), 1_024);
}

#[test]
fn other_content_types() {
    let hub = Hub::start();
    let body = br#"{"topic":"a","data":1}"#;
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/x-ndjson", "nonsense", ""] {
        let problem = hub.post_bytes("/admin/v1/publish", content_type, body).problem(415);
        let field = problem["field"].as_str().unwrap_or_default();
        assert!(field.eq_ignore_ascii_case("content-type"), "{problem}");
    }
    hub.post_bytes("/admin/v1/publish/batch", "text/plain", body).problem(415);
}

#[test]
fn other_methods() {
    let hub = Hub::start();
    hub.get("/admin/v1/publish").problem(405);
    hub.delete("/admin/v1/publish/batch").problem(405);
    hub.post("/admin/v1/topics", &json!({})).problem(405);
    hub.post("/events?topic=a", &json!({})).problem(405);
}
