//! `configs/nginx.conf` in front of several nodes, with its buffering as it is by default.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use towncrier_e2e::{
    Connection, DevCluster, Hub, Nginx, Page, Redis, SOON, Signal, Subscribe, Towncrier, eventually, json,
};

/// What an event may take from a publisher to a session through nginx, on a busy machine: far less than the 15 s after
/// which a heartbeat would push it out of a buffer.
const AT_ONCE: Duration = Duration::from_secs(5);

#[test]
fn many_small_events_arrive_at_once() {
    let cluster = DevCluster::builder().start();
    let mut session = cluster.subscription(&["news"]).open();
    for number in 0..300 {
        let published = Instant::now();
        cluster.publish("news", &number.to_string());
        assert_eq!(session.event().data, number.to_string());
        assert!(published.elapsed() < AT_ONCE, "{number} took {:?}", published.elapsed());
    }
}

#[test]
fn big_events_arrive_at_once_and_whole() {
    let cluster = DevCluster::builder().start();
    let mut session = cluster.subscription(&["big"]).open();
    for size in [15_000, 17_000, 100_000, 250_000] {
        let data = "0123456789".repeat(size / 10);
        let published = Instant::now();
        cluster.publish("big", &data);
        assert!(session.event().data == data, "{size} bytes differ");
        assert!(published.elapsed() < AT_ONCE, "{size} bytes took {:?}", published.elapsed());
    }
}

#[test]
fn heartbeats_come_through() {
    let cluster = DevCluster::builder().arguments(&["--nodes", "2"]).set("session.heartbeat", "300ms").start();
    let mut session = cluster.subscription(&["quiet"]).open();
    for _ in 0..3 {
        session.heartbeat();
    }
}

/// What the hub learns of a slow client only if nginx takes no more than the client does: by default it would put a
/// gigabyte into a file, and the hub would believe all of it delivered.
#[test]
fn the_hub_feels_a_client_that_does_not_read() {
    const EVENTS: usize = 3_000;
    let hub = Hub::with("session.outbox_bytes", "256KiB")
        .set("limits.data_bytes", "64KiB")
        .set("http.send_buffer", "16KiB")
        .set("history.events", "10000")
        .start();
    let nginx = Nginx::start(&[hub.addr()]);
    let mut slow = Subscribe::to(nginx.addr()).topic("news").small_buffer().open();
    let data = |number: usize| format!("{number:05} {}", "x".repeat(10_000));

    for start in (0..EVENTS).step_by(20) {
        hub.publish_each("news", (start..start + 20).map(data).collect());
    }

    eventually("its session is ended", SOON, || match hub.sessions("news") {
        sessions if sessions.is_empty() => Ok(()),
        sessions => Err(format!("{sessions:?}")),
    });
    let (mut got, _) = slow.rest();
    if got.last().is_some_and(|event| event.kind.as_deref() == Some("close")) {
        got.pop();
    }
    assert!(got.len() < EVENTS, "it was ended before it had all");
    let mut resumed = Subscribe::to(nginx.addr()).topic("news").last_event_id(&slow.cursor).open();
    got.extend(resumed.take(EVENTS - got.len()));
    assert!(got.iter().enumerate().all(|(number, event)| event.data == data(number)));
}

#[test]
fn a_session_resumes_on_whatever_node_it_comes_to() {
    let cluster = DevCluster::builder().start();
    let mut session = cluster.subscription(&["news"]).open();
    let mut nodes = BTreeSet::from([session.node.clone()]);
    // Earlier streams stay open, so that nginx has a reason to take another node.
    let mut earlier = Vec::new();
    for round in 0..6 {
        cluster.publish("news", &round.to_string());
        let resumed = cluster.subscription(&["news"]).last_event_id(&session.cursor).open();
        assert!(resumed.resumed);
        nodes.insert(resumed.node.clone());
        earlier.push(std::mem::replace(&mut session, resumed));
        assert_eq!(session.data(1), [round.to_string()]);
    }
    assert_eq!(nodes.len(), 3, "{nodes:?}");
}

#[test]
fn when_a_node_is_killed_its_clients_go_on_at_another() {
    let redis = Redis::start();
    let node = || Hub::with("backplane.kind", "redis").set("backplane.redis.url", &redis.url()).start();
    let mut hubs = [node(), node(), node()];
    let nginx = Nginx::start(&hubs.each_ref().map(Hub::addr));
    let mut session = Subscribe::to(nginx.addr()).topic("news").open();
    hubs[0].publish("news", "0");
    assert_eq!(session.data(1), ["0"]);

    let own = hubs.iter().position(|hub| hub.sessions("news").contains(&session.session)).expect("one of them has it");
    hubs[own].kill();
    session.rest();
    for number in 1..=3 {
        hubs[(own + 1) % 3].publish("news", &number.to_string());
    }

    // More often than there are nodes: nginx must have noticed, and not only been lucky.
    for _ in 0..6 {
        let mut resumed = Subscribe::to(nginx.addr()).topic("news").last_event_id(&session.cursor).open();
        assert!(resumed.resumed && resumed.node != session.node, "{}", resumed.node);
        assert_eq!(resumed.data(3), ["1", "2", "3"]);
    }
    let mut resumed = Subscribe::to(nginx.addr()).topic("news").last_event_id(&session.cursor).open();
    let url = format!("http://{}", nginx.addr());
    for number in 4..=9 {
        let published = Towncrier::new(&["publish", "--url", &url, "--topic", "news", &number.to_string()]).run();
        assert_eq!(published.code, Some(0), "{published:?}");
    }
    assert_eq!(resumed.data(9), (1..=9).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn an_event_source_outlives_all_nodes() {
    let cluster = DevCluster::builder().arguments(&["--nodes", "1"]).start();
    let mut page = Page::open(&format!("http://{}/", cluster.hub()));
    page.listen("/events?topic=news", &[]);
    cluster.publish("news", "before");
    page.heard("the first", |events| events.iter().any(|event| event.data == "before"));

    cluster.node("node-1").kill();
    let nobody = eventually("nginx answers by itself", SOON, || {
        let (head, mut connection) = cluster.subscription(&["news"]).answer();
        let text = head.header("x-accel-buffering").is_none().then(|| connection.body(SOON).expect("a body"));
        text.map(|text| (head, text)).ok_or("a stream")
    });
    let (head, text) = (nobody.0, String::from_utf8(nobody.1).expect("UTF-8"));
    assert_eq!(head.status, 200, "any other stops an EventSource");
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    let retry = text.strip_prefix("retry: ").and_then(|rest| rest.trim_end().parse::<u64>().ok());
    assert!(retry.is_some_and(|retry| (1..=4000).contains(&retry)), "{text:?}");

    cluster.ready(cluster.nodes()[0]);
    eventually("it is published", SOON, || {
        let answer = cluster.post("/admin/v1/publish", &json!({"topic": "news", "data": "after"}));
        if answer.status() == 200 { Ok(()) } else { Err(answer.text()) }
    });
    page.heard("the last", |events| events.iter().any(|event| event.data == "after"));
}

#[test]
fn where_no_node_answers_a_publisher_is_told_to_come_back() {
    let mut hub = Hub::start();
    let nginx = Nginx::start(&[hub.addr()]);
    let probe = |method: &str, target: &str, body: &str| {
        let mut connection = Connection::open(nginx.addr());
        let head =
            format!("{method} {target} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n", nginx.addr(), body.len());
        connection.send(head + body).expect("send");
        connection.response(SOON).expect("an answer")
    };
    assert_eq!(probe("GET", "/health", "").status(), 200);
    hub.kill();
    for answer in [probe("POST", "/admin/v1/publish", "{}"), probe("GET", "/poll?topic=a", ""), probe("GET", "/", "")] {
        answer.problem(503);
        assert!(answer.head.header("retry-after").is_some(), "{:?}", answer.head);
    }
    // As curl asks, which is no EventSource.
    probe("GET", "/events?topic=a", "").problem(503);
}

#[test]
fn other_names_and_too_much_are_refused() {
    let hub = Hub::start();
    let nginx = Nginx::start(&[hub.addr()]);
    let status = |head: &str| {
        let mut connection = Connection::open(nginx.addr());
        connection.send(format!("{head}\r\n\r\n")).expect("send");
        connection.response(SOON).expect("an answer").status()
    };
    assert_eq!(status("GET /health HTTP/1.1\r\nHost: hub.localhost"), 200);
    assert_eq!(status("GET /health HTTP/1.1\r\nHost: evil.example"), 421);
    let publish = "POST /admin/v1/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
    assert_eq!(status(&format!("{publish}\r\nContent-Length: 9000000")), 413);
}

#[test]
fn browsers_may_come_by_http_2() {
    let hubs = [Hub::start()];
    let nginx = Nginx::tls(&hubs.each_ref().map(Hub::addr));
    let mut curl = Command::new("curl");
    curl.args(["--http2", "--silent", "--show-error", "--no-buffer", "--include", "--max-time", "60", "--cacert"]);
    curl.arg(nginx.certificate()).arg(nginx.tls_url("/events?topic=news"));
    let mut curl = curl.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("curl is installed");
    let stdout = BufReader::new(curl.stdout.take().expect("piped"));
    let (line, lines) = mpsc::sync_channel(1000);
    thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|text| line.send(text)));
    let find = |wanted: &str| {
        let deadline = Instant::now() + SOON;
        let mut seen = Vec::new();
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(text) if text.trim_end() == wanted => return,
                Ok(text) => seen.push(text),
                Err(error) => panic!("{error}: no {wanted:?} in {seen:#?}"),
            }
        }
    };
    find("HTTP/2 200");
    find("event: connected");
    for number in 0..20 {
        let published = Instant::now();
        hubs[0].publish("news", &number.to_string());
        find(&format!("data: {number}"));
        assert!(published.elapsed() < AT_ONCE, "{number} took {:?}", published.elapsed());
    }
    curl.kill().expect("kill curl");
    curl.wait().expect("its end");
}

#[test]
fn a_node_that_stops_gets_no_new_streams() {
    let hubs = [Hub::start(), Hub::start()];
    let nginx = Nginx::start(&hubs.each_ref().map(Hub::addr));
    let mut one = Subscribe::to(nginx.addr()).topic("news").open();
    let hub = hubs.iter().find(|hub| hub.sessions("news").contains(&one.session)).expect("one of them has it");
    hub.publish("news", "1");
    assert_eq!(one.event().data, "1");
    hub.signal(Signal::TERM);
    one.closed("shutdown");
    for _ in 0..4 {
        // As long as it still answers, it sends new streams away to come back.
        let next = eventually("a stream", SOON, || Subscribe::to(nginx.addr()).topic("news").try_open());
        assert_ne!(next.node, one.node);
    }
}
