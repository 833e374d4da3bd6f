//! Streams on the plain port go straight on their sockets, or through actix-http: nobody can tell, but by what they cost.

use std::time::Duration;

use towncrier_e2e::{Connection, Hub, SOON, Signal, eventually};

/// The same hub twice: with streams straight on their sockets, and through actix-http.
fn both(key: &str, value: &str) -> [Hub; 2] {
    ["true", "false"].map(|lean| Hub::with(key, value).set("http.lean", lean).start())
}

/// The head of an answer, without what differs from time to time, or by whether its connection goes on.
fn head(hub: &Hub, request: &str) -> Vec<String> {
    let mut connection = Connection::open(hub.addr());
    connection.send(request).expect("send");
    let head = connection.head(SOON).expect("an answer");
    let mut lines: Vec<_> = head
        .headers()
        .filter(|(name, _)| !["date", "connection", "traceparent"].contains(name))
        .map(|(name, value)| {
            // The names of headers in a header come in any order.
            let mut values: Vec<_> = value.split(", ").collect();
            values.sort_unstable();
            format!("{name}: {}", values.join(", "))
        })
        .collect();
    lines.sort();
    lines.insert(0, head.status.to_string());
    lines
}

#[test]
fn the_answers_are_the_same() {
    let hubs = both("cors.origins", "https://app.example.com");
    let requests = [
        "GET /events?topic=a HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n",
        "GET /events?topic=a HTTP/1.1\r\nHost: localhost\r\nOrigin: https://app.example.com\r\n\r\n",
        "GET /topics/a/b/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "GET /topics/a%2Fb/events?lastEventId=nonsense HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /events?topic=a&cursor=closed HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /events?topic=a&heartbeat=often HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /topics/a HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /events?topic=a HTTP/1.0\r\nHost: localhost\r\n\r\n",
        "GET /events?topic=a HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "GET /events?topic=a HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
    ];
    for request in requests {
        let [lean, other] = [&hubs[0], &hubs[1]].map(|hub| head(hub, request));
        assert_eq!(lean, other, "{request:?}");
    }
}

#[test]
fn an_answer_that_is_no_stream_ends_its_connection() {
    let hub = Hub::with("http.lean", "true").start();
    let mut connection = Connection::open(hub.addr());
    connection.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("send");
    let answer = connection.response(SOON).expect("an answer");
    assert_eq!(answer.head.header("connection"), Some("close"));
    answer.problem(400);
    assert!(connection.closed_within(SOON));
}

/// It has nothing to say; what it says all the same is not kept.
#[test]
fn a_client_that_talks_too_much_is_sent_away() {
    let hub = Hub::with("http.lean", "true").start();
    let mut session = hub.subscribe(&["news"]);
    session.connection().send([b'x'; 3000]).expect("send");
    hub.publish("news", "still there");
    assert_eq!(session.event().data, "still there");
    // The hub may close before it has read all.
    let _ = session.connection().send([b'x'; 3000]);
    gone(&hub);
}

#[test]
fn a_client_that_resets_its_connection_is_gone_at_once() {
    for hub in both("session.heartbeat", "1h") {
        for reset in [true, false] {
            let mut connection = Connection::open(hub.addr());
            connection.send("GET /events?topic=news HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("send");
            assert_eq!(connection.head(SOON).expect("an answer").status, 200);
            eventually("the session is there", SOON, || is(&hub, 1));
            match reset {
                true => connection.reset(),
                false => drop(connection),
            }
            gone(&hub);
        }
    }
}

/// A request behind the first one, in the same packet, is what an odd client sends; both transports take it.
#[test]
fn a_request_behind_a_subscription_harms_nobody() {
    for hub in both("session.heartbeat", "1h") {
        let mut connection = Connection::open(hub.addr());
        let subscribe = "GET /events?topic=news HTTP/1.1\r\nHost: localhost\r\n\r\n";
        connection.send(format!("{subscribe}GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")).expect("send");
        assert_eq!(connection.head(SOON).expect("an answer").status, 200);
        eventually("the session is there", SOON, || is(&hub, 1));
    }
}

/// As browsers open them ahead of time.
#[test]
fn connections_without_a_request_keep_no_hub_from_ending() {
    for mut hub in both("http.request_head_timeout", "1m") {
        let _silent: Vec<_> = (0..4).map(|_| Connection::open(hub.addr())).collect();
        hub.get("/health").ok();
        hub.signal(Signal::TERM);
        assert!(hub.wait_exit(SOON).success());
        assert!(!hub.log().contains("did not end in time"), "{}", hub.log());
    }
}

/// Each event is more than a chunk, more than a socket's buffer, and the client takes its time.
#[test]
fn events_beyond_a_chunk_arrive_whole() {
    let payloads: Vec<_> = (0..6).map(|number| format!("{number}:{}", "x".repeat(200_000 + number))).collect();
    for hub in both("http.send_buffer", "8KiB") {
        let mut session = hub.subscribe(&["news"]);
        for payload in &payloads {
            hub.publish("news", payload);
        }
        std::thread::sleep(Duration::from_millis(300));
        for payload in &payloads {
            assert!(session.event().data == *payload, "an event of {} bytes", payload.len());
        }
    }
}

fn is(hub: &Hub, sessions: usize) -> Result<(), String> {
    let there = hub.sessions("news").len();
    if there == sessions { Ok(()) } else { Err(format!("{there} sessions")) }
}

fn gone(hub: &Hub) {
    eventually("the session is gone", SOON, || is(hub, 0));
}
