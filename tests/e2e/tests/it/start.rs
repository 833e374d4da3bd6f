//! Where a subscription starts.

use towncrier_e2e::{Hub, encode};

#[test]
fn without_a_cursor_only_live_events_come() {
    let hub = Hub::start();
    hub.publish("news", "old");
    let mut session = hub.subscribe(&["news"]);

    hub.publish("news", "new");

    assert_eq!(session.event().data, "new");
}

#[test]
fn earliest_replays_all_that_is_retained() {
    let hub = Hub::with("history.events", "5").start();
    hub.publish_numbers("a", 8);
    hub.publish_numbers("b", 2);
    let mut session = hub.subscription(&["a", "b"]).query("cursor", "earliest").open();

    let mut replayed = session.data(7);
    hub.publish("a", "live");

    assert_eq!(session.event().data, "live");
    replayed.sort();
    assert_eq!(replayed, ["1", "2", "4", "5", "6", "7", "8"]);
}

#[test]
fn the_newest_few_of_each_topic_come_first_when_asked_for() {
    let hub = Hub::start();
    hub.publish_numbers("a", 5);
    hub.publish_each("b", vec!["b1".to_owned(), "b2".to_owned()]);
    let mut session = hub.subscription(&["a", "b", "empty"]).query("last", "3").open();
    hub.publish("b", "live");

    let got = session.data(6);
    assert_eq!(got[5], "live");
    let of_a: Vec<_> = got.iter().filter(|data| data.len() == 1).collect();
    assert_eq!(of_a, ["3", "4", "5"]);
    let of_b: Vec<_> = got[..5].iter().filter(|data| data.starts_with('b')).collect();
    assert_eq!(of_b, ["b1", "b2"]);
}

#[test]
fn a_cursor_wins_over_last() {
    let hub = Hub::start();
    let mut session = hub.subscribe(&["news"]);
    hub.publish_numbers("news", 5);
    session.take(4);

    let mut back = hub.subscription(&["news"]).query("last", "5").last_event_id(&session.cursor).open();

    assert_eq!(back.event().data, "5");
}

#[test]
fn a_cursor_may_come_by_any_of_its_names() {
    let hub = Hub::start();
    let mut session = hub.subscribe(&["news"]);
    hub.publish_numbers("news", 3);
    let first = session.event();
    let cursor = first.id();

    for name in ["lastEventId", "last_event_id", "lastEventID", "cursor"] {
        let mut back = hub.subscription(&["news"]).query(name, cursor).open();
        assert!(back.resumed, "{name}");
        assert_eq!(back.data(2), ["2", "3"], "{name}");
    }
    let mut back = hub.subscription(&[]).path(&format!("/topics/news/events?cursor={}", encode(cursor))).open();
    assert_eq!(back.data(2), ["2", "3"], "by path");
}

#[test]
fn the_header_wins_over_the_query() {
    let hub = Hub::start();
    let mut session = hub.subscribe(&["news"]);
    hub.publish_numbers("news", 3);
    let events = session.take(2);
    let (older, newer) = (events[0].id(), events[1].id());

    // An EventSource keeps the query of its first connection and adds the header when it comes back.
    let mut back = hub.subscription(&["news"]).query("lastEventId", older).last_event_id(newer).open();

    assert_eq!(back.event().data, "3");
}
