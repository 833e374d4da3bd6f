//! Headless Chromium: the demo page, and a native `EventSource`.

use towncrier_e2e::{Event, Hub, Page, Proxy, Row, SOON, Subscribe, eventually, json};

use crate::payloads;

fn events(rows: &[Row]) -> Vec<&str> {
    rows.iter().filter(|row| row.kind == "event").filter_map(|row| row.data.as_deref()).collect()
}

fn has(rows: &[Row], kind: &str) -> bool {
    rows.iter().any(|row| row.kind == kind)
}

/// Opens the demo page and connects it to these topics.
fn connect(url: &str, topics: &str) -> Page {
    let mut page = Page::open(url);
    page.fill("topics", topics);
    page.click("connect");
    page.status("live");
    page
}

#[test]
fn the_page_shows_what_is_published_and_publishes_itself() {
    let hub = Hub::start();
    let mut page = connect(&hub.url("/"), "orders/*");
    let mut session = hub.subscribe(&["orders/42"]);

    hub.send(&json!({"topic": "orders/7", "event": "created", "data": "from outside"})).ok();
    page.fill("publish-topic", "orders/42");
    page.fill("publish-type", "paid");
    page.fill("publish-data", "from the page");
    page.click("publish-send");

    let published = session.event();
    assert_eq!((published.kind.as_deref(), published.data.as_str()), (Some("paid"), "from the page"));
    page.rows("both events are listed", |rows| (events(rows) == ["from outside", "from the page"]).then_some(()));
    let id = hub.get("/admin/v1/topics/orders%2F42").ok()["last_id"].as_str().expect("id").to_owned();
    eventually("the result is shown", SOON, || match page.text("publish-result") {
        result if result.contains(&id) => Ok(()),
        result => Err(result),
    });
    let session_id = page.text("session");
    assert!(hub.sessions("orders/7").iter().any(|id| session_id.contains(id)), "{session_id}");
    assert_eq!(page.complaints(), json!([]));
}

#[test]
fn the_page_drops_its_connection_and_resumes() {
    let hub = Hub::start();
    let mut page = connect(&hub.url("/"), "orders/42");
    page.fill("publish-topic", "orders/42");
    hub.publish("orders/42", "before");
    page.rows("the first is listed", |rows| (events(rows) == ["before"]).then_some(()));

    // While it is away the page publishes three events of its own; they come by replay, before what is live again.
    page.click("drop");
    page.rows("the drop is shown", |rows| has(rows, "reconnect").then_some(()));
    page.rows("it has resumed", |rows| (has(rows, "resumed") && events(rows).len() == 4).then_some(()));
    page.status("live");
    hub.publish("orders/42", "after");

    let listed = page.rows("the last is listed", |rows| (events(rows).last() == Some(&"after")).then(|| rows.to_vec()));
    let kinds: Vec<_> = listed.iter().map(|row| row.kind.as_str()).collect();
    assert_eq!(kinds, ["note", "event", "reconnect", "resumed", "event", "event", "event", "event"]);
    assert_eq!(page.complaints(), json!([]));
}

#[test]
fn the_page_disconnects() {
    let hub = Hub::start();
    let mut page = connect(&hub.url("/"), "news");

    page.click("disconnect");

    page.status("closed");
    eventually("the session is gone", SOON, || match hub.sessions("news") {
        sessions if sessions.is_empty() => Ok(()),
        sessions => Err(format!("{sessions:?}")),
    });
}

#[test]
fn the_page_resumes_after_a_cut_and_shows_a_gap_after_a_restart() {
    let hub = Hub::with("session.retry", "200ms").start();
    let proxy = Proxy::to(hub.addr());
    let mut page = connect(&proxy.url("/"), "news");
    hub.publish("news", "1");
    page.rows("the first is listed", |rows| (events(rows) == ["1"]).then_some(()));

    proxy.cut();
    hub.publish("news", "2");
    page.rows("what came meanwhile is listed", |rows| (events(rows) == ["1", "2"]).then_some(()));

    let hub = hub.restart();
    proxy.retarget(hub.addr());
    proxy.cut();
    page.rows("the gap is shown", |rows| has(rows, "gap").then_some(()));
    hub.publish("news", "3");
    page.rows("and life goes on", |rows| (events(rows) == ["1", "2", "3"]).then_some(()));
}

#[test]
fn the_page_tells_when_an_administrator_ends_it() {
    let hub = Hub::start();
    let mut page = connect(&hub.url("/"), "news");
    let session = eventually("the session is known", SOON, || hub.sessions("news").pop().ok_or("nobody"));

    hub.delete(&format!("/admin/v1/sessions/{session}")).ok();

    page.rows("the close is shown", |rows| has(rows, "close").then_some(()));
    page.status("closed");
}

fn published(heard: &[Event]) -> Vec<&str> {
    let own = |event: &&Event| !matches!(event.kind.as_deref(), Some("connected" | "gap" | "close"));
    heard.iter().filter(own).map(|event| event.data.as_str()).collect()
}

#[test]
fn a_native_event_source_gets_exactly_what_was_published() {
    let hub = Hub::with("session.heartbeat", "200ms").start();
    let mut page = Page::open(&hub.url("/"));
    page.listen("/events?topic=any", &["typed"]);

    hub.publish_each("any", payloads::sent());
    hub.send(&json!({"topic": "any", "event": "typed", "data": "the last"})).ok();

    let heard = page.heard("the last event", |heard| heard.last().is_some_and(|event| event.data == "the last"));
    let (last, rest) = heard.split_last().expect("events");
    assert_eq!(published(rest), payloads::received());
    assert_eq!(last.kind.as_deref(), Some("typed"));
}

#[test]
fn a_native_event_source_resumes_after_cuts_without_loss_or_repetition() {
    let hub = Hub::with("session.retry", "100ms").set("history.events", "1000").start();
    let proxy = Proxy::to(hub.addr());
    let mut page = Page::open(&proxy.url("/"));
    page.listen("/events?topic=numbers", &[]);

    let mut expected = Vec::new();
    for round in 1..=3 {
        expected.extend(hub.publish_numbers("numbers", 50));
        page.heard("some of a round", |heard| published(heard).len() > (round - 1) * 100);
        proxy.cut();
        expected.extend(hub.publish_numbers("numbers", 50));
    }

    let heard = page.heard("all of them", |heard| published(heard).len() >= 300);
    assert_eq!(published(&heard), expected);
    assert!(
        heard.iter().filter(|event| event.kind.as_deref() == Some("connected")).count() >= 4,
        "it was cut three times"
    );
}

#[test]
fn a_native_event_source_stops_when_it_is_told_to() {
    let hub = Hub::with("session.retry", "100ms").start();
    let proxy = Proxy::to(hub.addr());
    let mut page = Page::open(&proxy.url("/"));
    page.listen("/events?topic=news", &[]);
    let session = eventually("the session is known", SOON, || hub.sessions("news").pop().ok_or("nobody"));

    hub.delete(&format!("/admin/v1/sessions/{session}")).ok();
    page.heard("the close", |heard| heard.iter().any(|event| event.id.as_deref() == Some("closed")));

    page.stopped();
    assert_eq!(hub.sessions("news"), [""; 0]);
    let mut other = Subscribe::to(proxy.addr()).topic("news").open();
    hub.publish("news", "others go on");
    assert_eq!(other.event().data, "others go on");
}
