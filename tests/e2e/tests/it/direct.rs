//! What an administrator does to sessions: events of their own, and the end.

use towncrier_e2e::{End, Hub, SOON, Subscriber, eventually, json};

fn as_user(hub: &Hub, user: &str) -> Subscriber {
    hub.subscription(&["news"]).query("user", user).open()
}

#[test]
fn a_direct_event_reaches_one_session_and_leaves_its_cursor() {
    let hub = Hub::start();
    let mut session = as_user(&hub, "anna");
    let mut other = as_user(&hub, "anna");
    let target = format!("/admin/v1/sessions/{}/events", session.session);

    let answer = hub.post(&target, &json!({"event": "hint", "data": {"for": "you"}})).ok();
    hub.post(&target, &json!({"data": "untyped\nand in lines"})).ok();
    hub.publish("news", "for all");

    assert_eq!(answer, json!({"delivered": 1}));
    let hint = session.event();
    assert_eq!((hint.id.as_ref(), hint.kind.as_deref(), hint.data.as_str()), (None, Some("hint"), r#"{"for":"you"}"#));
    assert_eq!(session.event().data, "untyped\nand in lines");
    assert_eq!(session.event().data, "for all");
    assert_eq!(other.event().data, "for all");
    assert_eq!(hub.get("/admin/v1/topics/news/history").ok()["events"].as_array().map(Vec::len), Some(1), "not stored");
}

#[test]
fn a_user_is_reached_in_each_of_their_sessions() {
    let hub = Hub::start();
    let mut anna = [as_user(&hub, "anna/ü"), as_user(&hub, "anna/ü")];
    let mut bert = as_user(&hub, "bert");

    let answer = hub.post("/admin/v1/users/anna%2F%C3%BC/events", &json!({"event": "hint", "data": "hi"})).ok();
    hub.publish("news", "for all");

    assert_eq!(answer, json!({"delivered": 2}));
    for session in &mut anna {
        assert_eq!(session.data(2), ["hi", "for all"]);
    }
    assert_eq!(bert.event().data, "for all");
    assert_eq!(hub.post("/admin/v1/users/nobody/events", &json!({"data": ""})).ok(), json!({"delivered": 0}));
}

#[test]
fn a_broadcast_reaches_everyone() {
    let hub = Hub::start();
    let mut sessions = [hub.subscribe(&["a"]), hub.subscribe(&["b"]), as_user(&hub, "anna")];

    let answer = hub.post("/admin/v1/broadcast", &json!({"event": "maintenance", "data": "at noon"})).ok();

    assert_eq!(answer, json!({"delivered": 3}));
    for session in &mut sessions {
        let event = session.event();
        assert_eq!((event.id, event.kind.as_deref(), event.data.as_str()), (None, Some("maintenance"), "at noon"));
    }
}

#[test]
fn direct_events_obey_the_rules_of_events() {
    let hub = Hub::with("limits.data_bytes", "1KiB").start();
    let mut session = as_user(&hub, "anna");
    let to_session = format!("/admin/v1/sessions/{}/events", session.session);
    for target in [to_session.as_str(), "/admin/v1/users/anna/events", "/admin/v1/broadcast"] {
        for kind in ["connected", "heartbeat", "gap", "close", "a\nb", "\0", ""] {
            assert_eq!(hub.post(target, &json!({"event": kind, "data": 1})).problem(400)["field"], "event");
        }
        assert_eq!(hub.post(target, &json!({"event": "x"})).problem(400)["field"], "data");
        assert_eq!(hub.post(target, &json!({"topic": "news", "data": 1})).problem(400)["field"], "topic");
        assert_eq!(hub.post(target, &json!({"data": "x".repeat(1_025)})).problem(413)["field"], "data");
        hub.post_bytes(target, "text/plain", b"{}").problem(415);
    }
    hub.post("/admin/v1/sessions/nobody/events", &json!({"data": 1})).problem(404);
    hub.publish("news", "end");
    assert_eq!(session.event().data, "end", "a refused event is delivered to nobody");
}

#[test]
fn a_disconnected_session_is_told_not_to_come_back() {
    let hub = Hub::start();
    let mut session = as_user(&hub, "anna");
    let target = format!("/admin/v1/sessions/{}", session.session);

    assert_eq!(hub.delete(&target).ok(), json!({"disconnected": 1}));

    let close = session.closed("disconnected");
    assert_eq!(close.json()["reconnect"], false);
    assert_eq!(close.id(), "closed");
    eventually("the session is gone", SOON, || match hub.get(&target) {
        answer if answer.status() == 404 => Ok(()),
        answer => Err(answer.text()),
    });
    hub.delete(&target).problem(404);

    let (head, mut connection) = hub.subscription(&["news"]).last_event_id("closed").answer();
    assert_eq!(head.status, 204, "which stops an EventSource for good");
    assert!(connection.closed_within(std::time::Duration::ZERO) || head.header("content-type").is_none());
    assert_eq!(hub.subscription(&["news"]).query("lastEventId", "closed").answer().0.status, 204);
}

#[test]
fn a_disconnected_user_loses_all_their_sessions_and_no_one_elses() {
    let hub = Hub::start();
    let mut anna = [as_user(&hub, "anna"), as_user(&hub, "anna")];
    let mut bert = as_user(&hub, "bert");

    assert_eq!(hub.delete("/admin/v1/users/anna/sessions").ok(), json!({"disconnected": 2}));
    assert_eq!(hub.delete("/admin/v1/users/nobody/sessions").ok(), json!({"disconnected": 0}));

    for session in &mut anna {
        assert_eq!(session.closed("disconnected").json()["reconnect"], false);
    }
    hub.publish("news", "still here");
    assert_eq!(bert.event().data, "still here");
}

#[test]
fn the_event_before_the_end_is_whole() {
    let hub = Hub::with("http.body_bytes", "1MiB").set("limits.data_bytes", "256KiB").start();
    let mut session = hub.subscribe(&["news"]);
    let large = "x".repeat(200 * 1024);

    hub.publish("news", &large);
    eventually("the event is on its way", SOON, || {
        let deliveries = &hub.get("/admin/v1/stats").ok()["since_start"]["deliveries"];
        if deliveries == 1 { Ok(()) } else { Err(deliveries.to_string()) }
    });
    hub.delete(&format!("/admin/v1/sessions/{}", session.session)).ok();

    let (events, end) = session.rest();
    assert_eq!(end, End::Clean);
    assert_eq!(events.iter().map(|event| event.data.len()).next(), Some(large.len()));
    assert_eq!(events.last().and_then(|event| event.kind.as_deref()), Some("close"));
}
