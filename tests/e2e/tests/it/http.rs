//! The HTTP surface: probes, slow and broken requests, and what a client sends behind its GET.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use towncrier_e2e::{Connection, Hub, Response, SOON, Signal};

#[test]
fn probes_and_metrics_answer() {
    let hub = Hub::start();
    let _session = hub.subscribe(&["news"]);
    hub.publish("news", "x");

    assert_eq!(hub.get("/health").status(), 200);
    assert_eq!(hub.get("/ready").status(), 200);
    let metrics = hub.get("/metrics");
    assert_eq!(metrics.status(), 200);
    let text = metrics.text();
    let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(samples.iter().any(|line| line.starts_with("towncrier_")), "{text}");
    for sample in samples {
        let value = sample.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        assert!(value.is_some(), "not a sample: {sample}");
    }
}

#[test]
fn the_demo_page_is_served_from_the_binary() {
    let hub = Hub::start();
    let page = hub.get("/");
    assert_eq!(page.status(), 200);
    assert!(page.head.header("content-type").is_some_and(|kind| kind.starts_with("text/html")), "{:?}", page.head);
    assert!(page.text().contains("data-testid"), "{}", page.text());
}

#[test]
fn a_connection_may_carry_several_requests_before_its_stream() {
    let hub = Hub::start();
    let mut connection = Connection::open(hub.addr());
    for _ in 0..3 {
        connection.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("send");
        assert_eq!(connection.response(SOON).expect("an answer").status(), 200);
    }
    connection.send("GET /events?topic=news HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("send");
    let head = connection.head(SOON).expect("an answer");
    assert_eq!((head.status, head.header("x-accel-buffering")), (200, Some("no")));
}

#[test]
fn a_request_may_arrive_byte_by_byte() {
    let hub = Hub::start();
    let mut connection = Connection::open(hub.addr());
    for byte in b"GET /events?topic=news HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n" {
        connection.send([*byte]).expect("send");
    }
    assert_eq!(connection.head(SOON).expect("an answer").status, 200);
}

#[test]
fn slow_heads_are_not_waited_for() {
    let hub = Hub::with("http.request_head_timeout", "500ms").start();
    let beginnings = [
        "",
        "G",
        "GET /events?topic=news",
        "GET /events?topic=news HTTP/1.1\r\nHost: h",
        "POST /admin/v1/publish HTTP/1.1\r\n",
    ];

    for beginning in beginnings {
        let mut connection = Connection::open(hub.addr());
        connection.send(beginning).expect("send");
        match connection.response(SOON) {
            // Any status would stop an `EventSource` for good.
            Ok(answer) => panic!("{beginning:?} is answered {}", answer.status()),
            Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::TimedOut, "{beginning:?} is waited for"),
        }
    }
}

#[test]
fn a_head_that_drips_in_is_slow_too() {
    let hub = Hub::with("http.request_head_timeout", "500ms").start();
    let mut connection = Connection::open(hub.addr());
    connection.send("GET /events?topic=news HTTP/1.1\r\n").expect("send");
    let started = Instant::now();

    let dripping = |connection: &mut Connection| connection.send("X-Drip: drop\r\n").is_ok();
    while dripping(&mut connection) && !connection.closed_within(Duration::from_millis(50)) {
        assert!(started.elapsed() < SOON, "the hub still reads the head");
    }
}

#[test]
fn a_hub_that_stood_still_takes_no_client_for_slow() {
    const HEAD_TIMEOUT: Duration = Duration::from_secs(1);
    let hub = Hub::with("http.request_head_timeout", "1s").start();
    let small = "GET /events?topic=news HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".to_owned();
    let large = small.replace("Accept", &format!("Cookie: {}\r\nAccept", "c".repeat(6000)));
    let open = || (0..8).map(|_| Connection::open(hub.addr())).collect::<Vec<_>>();
    let send = |connections: &mut Vec<Connection>, head: &str| {
        connections.iter_mut().for_each(|connection| connection.send(head).expect("send"));
    };

    let (mut before, mut before_large) = (open(), open());
    hub.get("/health").ok();
    hub.signal(Signal::STOP);
    let (mut meanwhile, mut meanwhile_large, mut after) = (open(), open(), open());
    send(&mut before, &small);
    send(&mut before_large, &large);
    send(&mut meanwhile, &small);
    send(&mut meanwhile_large, &large);
    sleep(HEAD_TIMEOUT * 3);
    hub.signal(Signal::CONT);
    send(&mut after, &small);

    let all = [("before", before), ("before, large", before_large), ("meanwhile", meanwhile)];
    for (when, connections) in all.into_iter().chain([("meanwhile, large", meanwhile_large), ("after", after)]) {
        let statuses: Vec<_> =
            connections.into_iter().map(|mut connection| connection.head(SOON).expect("an answer").status).collect();
        assert_eq!(statuses, [200; 8], "{when}");
    }
}

#[test]
fn slow_bodies_are_not_waited_for() {
    let hub = Hub::with("http.request_body_timeout", "500ms").start();
    for target in ["/admin/v1/publish", "/admin/v1/publish/batch", "/admin/v1/broadcast"] {
        let mut connection = Connection::open(hub.addr());
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
        );
        connection.send(head + r#"{"topic":"#).expect("send");
        connection.response(SOON).expect("an answer").problem(408);
    }
}

#[test]
fn what_a_client_sends_behind_its_get_is_bounded_and_harmless() {
    let hub = Hub::with("session.heartbeat", "200ms").start();
    let mut bystander = hub.subscribe(&["news"]);
    hub.publish("news", "warm");
    bystander.event();
    let before_kib = hub.rss_kib();
    let garbage = [0x16; 64 * 1024];
    let requests = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2_000);

    for junk in [&garbage[..], requests.as_bytes(), b"\r\n\r\n\r\n\r\n"] {
        let mut session = hub.subscribe(&["news"]);
        session.connection().flood(junk, 32 << 20, Duration::from_millis(500));
        hub.publish("news", "alive");
        assert_eq!(bystander.event().data, "alive");
    }

    let grown_kib = hub.rss_kib().saturating_sub(before_kib);
    assert!(grown_kib < 8 * 1024, "{grown_kib} KiB");
}

#[test]
fn broken_requests_are_refused_and_harm_nobody() {
    let hub = Hub::start();
    let long_target = format!("GET /events?topic={} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(1 << 20));
    let long_header = format!("GET /events?topic=a HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let many_headers = format!("GET /events?topic=a HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(10_000));
    let broken: [&[u8]; 10] = [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello, more or less",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"GET /events?topic=a HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /events?topic=\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /events?topic=a HTTP/1.1\r\nHost: localhost\r\nbad header\r\n\r\n",
        b"POST /admin/v1/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        long_target.as_bytes(),
        long_header.as_bytes(),
        many_headers.as_bytes(),
    ];

    for request in broken {
        let mut connection = Connection::open(hub.addr());
        // The hub may refuse, and close, before it has read all.
        let _ = connection.send(request);
        connection.half_close();
        let answer = connection.response(SOON).map(|answer| answer.status());
        let shown = String::from_utf8_lossy(&request[..request.len().min(60)]);
        match answer {
            Ok(status) => assert!((400..600).contains(&status), "{shown:?}: {status}"),
            Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::TimedOut, "{shown:?}"),
        }
    }
    assert_eq!(hub.get("/health").status(), 200);
}

#[test]
fn a_body_that_lies_about_its_length_is_refused_early() {
    let hub = Hub::with("limits.data_bytes", "16KiB").set("http.body_bytes", "64KiB").start();
    let mut connection = Connection::open(hub.addr());
    connection
        .send("POST /admin/v1/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n{")
        .expect("send");
    connection.response(SOON).expect("an answer").problem(413);

    endless(&hub).problem(413);
}

/// Sends chunk after chunk until the hub has had enough.
fn endless(hub: &Hub) -> Response {
    let mut connection = Connection::open(hub.addr());
    let head = "POST /admin/v1/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    connection.send(head).expect("send");
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    connection.flood(chunk.as_bytes(), 4 << 20, Duration::from_secs(1));
    connection.response(SOON).expect("an answer")
}

#[test]
fn pages_of_other_sites_are_no_clients_of_an_open_hub() {
    let hub = Hub::start();
    let request = |head: &str, body: &str| {
        let mut connection = Connection::open(hub.addr());
        connection.send(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())).expect("send");
        connection.response(SOON).expect("an answer")
    };
    let publish = r#"{"topic":"a","data":1}"#;
    // A name that its owner made to point to this machine.
    request("GET /admin/v1/stats HTTP/1.1\r\nHost: evil.example:8080", "").problem(403);
    let foreign = "POST /admin/v1/publish HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\nContent-Type: application/json";
    request(foreign, publish).problem(403);
    let own = "POST /admin/v1/publish HTTP/1.1\r\nHost: localhost\r\nOrigin: http://127.0.0.1:8080\r\nContent-Type: application/json";
    assert_eq!(request(own, publish).status(), 200);

    let hub = Hub::with("auth.open_to_network", "true").start();
    let mut connection = Connection::open(hub.addr());
    connection.send("GET /admin/v1/stats HTTP/1.1\r\nHost: hub.example\r\n\r\n").expect("send");
    assert_eq!(connection.response(SOON).expect("an answer").status(), 200, "whoever opens it to the network means it");
}

#[test]
fn probes_may_ask_for_the_head_alone() {
    let hub = Hub::start();
    for target in ["/", "/health", "/ready", "/metrics"] {
        let mut connection = Connection::open(hub.addr());
        connection
            .send(format!("HEAD {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
            .expect("send");
        assert_eq!(connection.head(SOON).expect("a head").status, 200, "{target}");
        assert!(connection.closed_within(SOON), "{target}: nothing follows the head");
    }
}
