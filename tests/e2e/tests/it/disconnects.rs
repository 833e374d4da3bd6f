//! Clients that go away: seen within a second or two, however they went.

use std::time::Duration;

use towncrier_e2e::{Hub, Proxy, SOON, Subscribe, eventually};

/// A second or two, and some patience with a busy machine.
const PROMPTLY: Duration = Duration::from_secs(4);

#[track_caller]
fn registry_empties(hub: &Hub, topic: &str, within: Duration) {
    eventually("the session is gone from the registry", within, || match hub.sessions(topic) {
        sessions if sessions.is_empty() => Ok(()),
        sessions => Err(format!("{} sessions", sessions.len())),
    });
}

#[track_caller]
fn registry_fills(hub: &Hub, topic: &str, count: usize) {
    eventually("the sessions are in the registry", SOON, || match hub.sessions(topic) {
        sessions if sessions.len() == count => Ok(()),
        sessions => Err(format!("{} sessions", sessions.len())),
    });
}

#[test]
fn a_closed_connection() {
    let hub = Hub::start();
    let session = hub.subscribe(&["news"]);
    registry_fills(&hub, "news", 1);

    drop(session);

    registry_empties(&hub, "news", PROMPTLY);
}

#[test]
fn a_half_closed_connection() {
    let hub = Hub::start();
    let mut session = hub.subscribe(&["news"]);
    registry_fills(&hub, "news", 1);

    session.connection().half_close();

    registry_empties(&hub, "news", PROMPTLY);
    assert!(session.connection().closed_within(PROMPTLY), "the hub closes its side too");
}

#[test]
fn a_reset_connection() {
    let hub = Hub::start();
    let session = hub.subscribe(&["news"]);
    registry_fills(&hub, "news", 1);

    session.into_connection().reset();

    registry_empties(&hub, "news", PROMPTLY);
}

#[test]
fn a_hundred_at_once() {
    let hub = Hub::start();
    let sessions: Vec<_> = (0..100).map(|_| hub.subscribe(&["news"])).collect();
    registry_fills(&hub, "news", 100);

    drop(sessions);

    registry_empties(&hub, "news", PROMPTLY);
    let node = &hub.get("/admin/v1/nodes").ok()["nodes"][0];
    assert_eq!(node["sessions"], 0);
}

#[test]
fn a_waiting_poll_that_gives_up_leaves_nothing_behind() {
    let hub = Hub::start();
    let cursor = hub.subscribe(&["news"]).cursor;
    for _ in 0..20 {
        let mut connection = towncrier_e2e::Connection::open(hub.addr());
        let request = format!("GET /poll?topic=news&wait=60&cursor={cursor} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        connection.send(request).expect("send");
    }

    registry_empties(&hub, "news", PROMPTLY);
    hub.publish("news", "1");
    assert_eq!(hub.subscription(&["news"]).last_event_id(&cursor).open().event().data, "1");
}

#[test]
fn a_peer_that_has_vanished_below_its_proxy() {
    let hub = Hub::with("http.tcp_user_timeout", "1s")
        .set("session.heartbeat", "300ms")
        .set("session.outbox_bytes", "64MiB")
        .set("http.send_buffer", "16KiB")
        .set("http.body_bytes", "16MiB")
        .set("limits.data_bytes", "64KiB")
        .start();
    let proxy = Proxy::to(hub.addr());
    let mut session = Subscribe::to(proxy.addr()).topic("news").open();
    hub.publish("news", "still there");
    assert_eq!(session.event().data, "still there");

    // The data that nobody takes closes the window; no slow-consumer bound is in reach, so only the timeout can end it.
    proxy.freeze();
    let large = "x".repeat(60_000);
    for _ in 0..4 {
        hub.publish_each("news", vec![large.clone(); 50]);
    }

    registry_empties(&hub, "news", Duration::from_secs(8));
    let cursor = session.cursor.clone();
    proxy.cut();
    proxy.thaw();
    let mut back = Subscribe::to(proxy.addr()).topic("news").last_event_id(&cursor).open();
    assert_eq!(back.take(200).len(), 200, "what the dead link swallowed");
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_replay() {
    let hub =
        Hub::with("history.events", "1000").set("http.send_buffer", "16KiB").set("http.body_bytes", "16MiB").start();
    hub.publish_each("news", vec!["x".repeat(4_000); 1_000]);
    for _ in 0..10 {
        let leaving = hub.subscription(&["news"]).query("cursor", "earliest").small_buffer().open();
        leaving.into_connection().reset();
    }
    let mut staying = hub.subscription(&["news"]).query("cursor", "earliest").open();
    assert_eq!(staying.take(1_000).len(), 1_000);
    drop(staying);

    registry_empties(&hub, "news", PROMPTLY);
}
