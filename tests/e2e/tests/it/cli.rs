//! `towncrier publish` and `towncrier subscribe`.

use towncrier_e2e::{Hub, Lines, Proxy, SOON, Signal, Towncrier, Value, eventually};

/// Starts a live tail and waits until the hub knows it.
fn tail(hub: &Hub, url: &str, topic: &str) -> Lines {
    let tail = Towncrier::new(&["subscribe", "--url", url, "--topic", topic, "--json"]).follow();
    connected(hub, topic);
    tail
}

fn connected(hub: &Hub, topic: &str) {
    eventually("the tail is connected", SOON, || match hub.sessions(topic) {
        sessions if sessions.len() == 1 => Ok(()),
        sessions => Err(format!("{sessions:?}")),
    });
}

/// The next line that is an event of a publisher.
#[track_caller]
fn event(tail: &mut Lines) -> Value {
    tail.find(|line| {
        line["data"].is_string() && !matches!(line["event"].as_str(), Some("connected" | "heartbeat" | "gap" | "close"))
    })
}

#[test]
fn what_one_publishes_the_other_prints() {
    let hub = Hub::start();
    let mut tail = tail(&hub, &hub.url(""), "orders/*");

    let published = Towncrier::new(&[
        "publish",
        "--url",
        &hub.url(""),
        "--topic",
        "orders/42",
        "--event",
        "created",
        r#"{"order":42}"#,
    ])
    .run();

    assert_eq!(published.code, Some(0), "{published:?}");
    let printed = event(&mut tail);
    assert_eq!(printed["event"], "created");
    assert_eq!(printed["data"], r#"{"order":42}"#);
    assert!(printed["id"].is_string(), "{printed}");
    let stored = hub.get("/admin/v1/topics/orders%2F42/history").ok();
    let id = stored["events"][0]["id"].as_str().expect("id");
    assert!(published.stdout.contains(id), "{id} is not in {:?}", published.stdout);
}

#[test]
fn text_is_published_as_it_is() {
    let hub = Hub::start();
    let mut tail = tail(&hub, &hub.url(""), "news");

    for data in ["plain text", "two\nlines", "-5", "Grüße"] {
        let published = Towncrier::new(&["publish", "--url", &hub.url(""), "--topic", "news", "--", data]).run();
        assert_eq!(published.code, Some(0), "{published:?}");
        assert_eq!(event(&mut tail)["data"], data);
    }
}

#[test]
fn a_tail_goes_on_where_its_connection_was_cut() {
    let hub = Hub::with("session.retry", "100ms").start();
    let proxy = Proxy::to(hub.addr());
    let mut tail = tail(&hub, &proxy.url(""), "numbers");

    for round in 0..3 {
        let first: Vec<_> = (0..10).map(|number| format!("{round}.{number}")).collect();
        for data in &first {
            hub.publish("numbers", data);
        }
        proxy.cut();
        hub.publish("numbers", &format!("{round}.meanwhile"));
        for expected in first.iter().map(String::as_str).chain([format!("{round}.meanwhile").as_str()]) {
            assert_eq!(event(&mut tail)["data"], expected);
        }
    }
    assert!(proxy.accepted() >= 4, "{} connections", proxy.accepted());
}

#[test]
fn a_tail_waits_for_a_hub_that_is_away() {
    let hub = Hub::with("session.retry", "100ms").start();
    let proxy = Proxy::to(hub.addr());
    let mut tail = tail(&hub, &proxy.url(""), "news");
    hub.publish("news", "before");
    assert_eq!(event(&mut tail)["data"], "before");

    let hub = hub.restart();
    proxy.retarget(hub.addr());
    connected(&hub, "news");
    hub.publish("news", "after");

    assert_eq!(event(&mut tail)["data"], "after");
}

#[test]
fn a_tail_ends_when_it_is_interrupted() {
    let hub = Hub::start();
    let mut tail = tail(&hub, &hub.url(""), "news");

    tail.signal(Signal::INT);

    assert_eq!(tail.wait_exit(SOON).code(), Some(0));
    eventually("the hub sees it go", SOON, || match hub.sessions("news") {
        sessions if sessions.is_empty() => Ok(()),
        sessions => Err(format!("{sessions:?}")),
    });
}

#[test]
fn what_cannot_be_published_is_a_plain_error() {
    let mut hub = Hub::start();
    let url = hub.url("");
    let publish = |arguments: &[&str]| Towncrier::new(&[&["publish", "--url", &url], arguments].concat()).run();

    let reserved = publish(&["--topic", "news", "--event", "gap", "x"]);
    assert!(matches!(reserved.code, Some(1..)), "{reserved:?}");
    assert!(reserved.stderr.contains("event"), "{reserved:?}");
    let pattern = publish(&["--topic", "news/*", "x"]);
    assert!(matches!(pattern.code, Some(1..)) && pattern.stderr.contains("topic"), "{pattern:?}");

    hub.kill();
    let away = publish(&["--timeout", "1s", "--topic", "news", "x"]);
    assert!(matches!(away.code, Some(1..)), "{away:?}");
    assert!(away.stderr.contains("published") && !away.stderr.contains("panicked"), "{away:?}");
}
