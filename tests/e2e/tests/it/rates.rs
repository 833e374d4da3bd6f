//! How often clients may come, publish and ask, and how they are told that it was too often.
//!
//! The rates are one a second or less, so that what a slow machine does in between is not made up for.

use towncrier_e2e::{Builder, Head, Hub, Response, SOON, Subscribe, encode, eventually, json};

/// A client behind the proxy that the hub believes.
fn client(hub: &Hub, address: &str) -> Subscribe {
    hub.subscription(&["news"]).header("X-Forwarded-For", address)
}

fn behind_a_proxy(key: &str, value: &str) -> Builder {
    Hub::with(key, value).set("http.trusted_proxies", "127.0.0.1")
}

#[track_caller]
fn retry_after_s(head: &Head) -> u32 {
    let seconds = head.header("retry-after").unwrap_or_else(|| panic!("no Retry-After: {head:?}"));
    seconds.parse().unwrap_or_else(|_| panic!("{head:?}"))
}

fn hits(hub: &Hub, limit: &str) -> f64 {
    hub.metric(&format!("towncrier_limits_hit_total{{limit=\"{limit}\"}}"))
}

#[test]
fn an_address_that_comes_too_often_is_sent_away() {
    let hub = behind_a_proxy("limits.connects_per_second_per_address", "1")
        .set("limits.connects_burst_per_address", "3")
        .start();
    let let_in = (0..20).filter(|_| client(&hub, "198.51.100.1").try_open().is_ok()).count();
    assert!((3..20).contains(&let_in), "{let_in} of 20");

    let address = "2001:db8::1";
    let _sessions: Vec<_> = (0..3).map(|_| client(&hub, address).open()).collect();
    let (head, mut connection) = client(&hub, "2001:db8::2").answer();
    assert_eq!(head.status, 200, "any other status stops an EventSource for good");
    let body = String::from_utf8(connection.body(SOON).expect("a clean end")).expect("text");
    let retry_ms: Option<u32> = body.trim().strip_prefix("retry: ").and_then(|retry| retry.parse().ok());
    assert!(retry_ms.is_some_and(|retry_ms| (5_000..=60_000).contains(&retry_ms)), "{body:?}");
    let (head, _) = client(&hub, address).accept("*/*").answer();
    assert_eq!(head.status, 429);
    assert!((1..=10).contains(&retry_after_s(&head)), "{head:?}");
    let poll = hub.request("GET", "/poll?topic=news", &[("X-Forwarded-For", address)], "");
    poll.problem(429);

    assert!(hits(&hub, "connects_per_address") >= 3.0, "those of the first address not counted");
    let _another = client(&hub, "2001:db8:0:1::1").open();
    eventually("it may come again", SOON, || client(&hub, address).try_open());
}

#[test]
fn all_together_may_come_only_so_often() {
    let hub = behind_a_proxy("limits.connects_per_second", "1").set("limits.connects_burst", "3").start();
    let _sessions: Vec<_> = (1..=3).map(|number| client(&hub, &format!("198.51.100.{number}")).open()).collect();
    let (head, _) = client(&hub, "198.51.100.4").accept("*/*").answer();
    assert_eq!(head.status, 503, "it is not this client's fault");
    assert!((1..=10).contains(&retry_after_s(&head)), "{head:?}");
    assert_eq!(hits(&hub, "connects"), 1.0);
    eventually("others may come again", SOON, || client(&hub, "198.51.100.4").try_open());
}

fn publish(hub: &Hub, address: &str, topic: &str, count: usize) -> Response {
    let events = vec![json!({"topic": topic, "data": 1}); count];
    let headers = [("Content-Type", "application/json"), ("X-Forwarded-For", address)];
    hub.request("POST", "/admin/v1/publish/batch", &headers, json!(events).to_string())
}

#[test]
fn a_client_may_publish_only_so_often() {
    let hub = behind_a_proxy("limits.publishes_per_second_per_client", "1")
        .set("limits.publishes_burst_per_client", "30")
        .start();
    let mut session = hub.subscribe(&["news"]);
    let problem = publish(&hub, "198.51.100.1", "news", 31).problem(413);
    assert!(problem["detail"].as_str().expect("detail").contains("30 at once"), "{problem}");
    assert_eq!(publish(&hub, "198.51.100.1", "news", 30).status(), 200);
    let refused = publish(&hub, "198.51.100.1", "news", 20);
    refused.problem(429);
    let wait_s = retry_after_s(&refused.head);
    assert!((10..=25).contains(&wait_s), "20 events take 20 s to be paid for, not {wait_s}");
    assert_eq!(publish(&hub, "198.51.100.2", "news", 1).status(), 200, "another client");

    assert_eq!(session.take(31).len(), 31);
    assert_eq!(hub.metric("towncrier_publishes_total{result=\"stored\"}"), 31.0, "what is refused reaches nobody");
    assert_eq!(hits(&hub, "publishes"), 2.0);
    assert_eq!(hub.metric("towncrier_publishes_total{result=\"refused\"}"), 51.0);
    eventually("it may publish again", SOON, || match publish(&hub, "198.51.100.1", "news", 1) {
        answer if answer.status() == 200 => Ok(()),
        answer => Err(answer.text()),
    });
}

#[test]
fn direct_events_count_as_published() {
    let hub = behind_a_proxy("limits.publishes_per_second_per_client", "1").start();
    let session = hub.subscribe(&["news"]);
    let send = |target: &str, address: &str| {
        let headers = [("Content-Type", "application/json"), ("X-Forwarded-For", address)];
        hub.request("POST", target, &headers, r#"{"data":"x"}"#)
    };
    for (number, target) in
        ["/admin/v1/broadcast".to_owned(), format!("/admin/v1/sessions/{}/events", encode(&session.session))]
            .iter()
            .enumerate()
    {
        let address = format!("198.51.100.{number}");
        let answers: Vec<u16> = (0..20).map(|_| send(target, &address).status()).collect();
        assert_eq!(answers[0], 200, "{target}");
        assert!(answers.contains(&429), "{target}: {answers:?}");
    }
}

#[test]
fn a_namespace_may_have_a_rate_of_its_own() {
    let hub = behind_a_proxy("limits.publishes_per_second_per_client", "1")
        .file(
            "namespaces = [
                { prefix = \"free/\", limits = { publishes_per_second_per_client = 0 } },
                { prefix = \"bulk/\", limits = { publishes_burst_per_client = 50 } },
            ]",
        )
        .start();
    assert_eq!(publish(&hub, "198.51.100.1", "free/a", 500).status(), 200);
    assert_eq!(publish(&hub, "198.51.100.1", "bulk/a", 50).status(), 200);
    publish(&hub, "198.51.100.1", "bulk/b", 40).problem(429);
    publish(&hub, "198.51.100.1", "bulk/b", 51).problem(413);
    assert_eq!(publish(&hub, "198.51.100.1", "news", 1).status(), 200, "each namespace counts for itself");
    publish(&hub, "198.51.100.1", "news", 2).problem(413);
    assert_eq!(publish(&hub, "198.51.100.1", "free/a", 500).status(), 200);
}

#[test]
fn an_address_may_ask_only_so_often_but_probes_and_streams_go_on() {
    let hub = behind_a_proxy("limits.requests_per_second_per_address", "1")
        .set("limits.requests_burst_per_address", "5")
        .start();
    let ask = |target: &str| hub.request("GET", target, &[("X-Forwarded-For", "198.51.100.1")], "");
    let answers: Vec<_> = (0..30).map(|_| ask("/admin/v1/stats")).collect();
    assert!(answers[..5].iter().all(|answer| answer.status() == 200));
    let refused = answers.iter().find(|answer| answer.status() != 200).expect("a limit");
    refused.problem(429);
    assert!((1..=10).contains(&retry_after_s(&refused.head)), "{:?}", refused.head);
    ask("/nowhere").problem(429);
    for target in ["/health", "/ready", "/poll?topic=news"] {
        let each: Vec<u16> = (0..20).map(|_| ask(target).status()).collect();
        assert_eq!(each, [200; 20], "{target}");
    }
    let _session = client(&hub, "198.51.100.1").open();
    assert!(hits(&hub, "requests") >= 20.0);
}

#[test]
fn nothing_is_limited_by_default() {
    let hub = Hub::start();
    for _ in 0..300 {
        assert_eq!(hub.get("/poll?topic=news").status(), 200);
    }
    assert_eq!(publish(&hub, "198.51.100.1", "news", 1000).status(), 200);
    assert_eq!(hits(&hub, "connects"), 0.0);
}
