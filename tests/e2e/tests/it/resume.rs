//! Coming back with a cursor: each event once, in order, or a `gap` that says so.

use std::thread;

use towncrier_e2e::{End, Hub, Proxy, Subscribe};

#[test]
fn what_was_published_meanwhile_comes_first() {
    let hub = Hub::start();
    let mut session = hub.subscribe(&["news", "orders/*"]);
    hub.publish("news", "1");
    assert_eq!(session.event().data, "1");
    let cursor = session.cursor.clone();
    drop(session);

    hub.publish("orders/7", "2");
    hub.publish("elsewhere", "not this");
    hub.publish("news", "3");
    let mut back = hub.subscription(&["news", "orders/*"]).last_event_id(&cursor).open();
    hub.publish("news", "4");

    assert!(back.resumed);
    assert_eq!(back.data(3), ["2", "3", "4"]);
}

#[test]
fn the_cursor_of_the_first_block_is_a_place_to_come_back_to() {
    let hub = Hub::start();
    let session = hub.subscribe(&["news"]);
    let cursor = session.cursor.clone();
    drop(session);

    hub.publish("news", "1");
    let mut back = hub.subscription(&["news"]).last_event_id(&cursor).open();

    assert!(back.resumed);
    assert_eq!(back.event().data, "1");
}

#[test]
fn connections_cut_within_frames_lose_and_repeat_nothing() {
    const EVENTS: usize = 2_000;
    let hub = Hub::with("history.events", "10000").start();
    let proxy = Proxy::to(hub.addr());
    proxy.cut_each_after(6_007);
    let subscribe = || Subscribe::to(proxy.addr()).topic("numbers");
    let mut session = subscribe().open();

    thread::scope(|scope| {
        scope.spawn(|| {
            for start in (0..EVENTS).step_by(10) {
                let part = (start..start + 10).map(|number| number.to_string()).collect();
                hub.publish_each("numbers", part);
            }
        });

        let mut got = Vec::new();
        while got.len() < EVENTS {
            let (events, end) = session.rest_of(EVENTS - got.len());
            got.extend(events.into_iter().map(|event| event.data));
            if end == Some(End::Cut) {
                session = subscribe().last_event_id(&session.cursor).open();
                assert!(session.resumed);
            }
        }
        let expected: Vec<_> = (0..EVENTS).map(|number| number.to_string()).collect();
        assert_eq!(got, expected);
    });
    assert!(proxy.accepted() > 10, "only {} connections: nothing was cut", proxy.accepted());
}

#[test]
fn many_sessions_that_resume_at_once_each_get_all() {
    let hub = Hub::with("history.events", "1000").start();
    let first = hub.subscribe(&["numbers"]).cursor;
    let numbers = hub.publish_numbers("numbers", 500);

    let mut back: Vec<_> = (0..50).map(|_| hub.subscription(&["numbers"]).last_event_id(&first).open()).collect();
    hub.publish("numbers", "live");

    for session in &mut back {
        assert_eq!(session.data(500), numbers);
        assert_eq!(session.event().data, "live");
    }
}

#[test]
fn what_history_no_longer_holds_is_a_gap() {
    let hub = Hub::with("history.events", "5").start();
    let mut session = hub.subscribe(&["news", "quiet"]);
    hub.publish("news", "0");
    session.event();
    let cursor = session.cursor.clone();
    drop(session);

    hub.publish_numbers("news", 10);
    let mut back = hub.subscription(&["news", "quiet"]).last_event_id(&cursor).open();

    let gap = back.gap("expired");
    assert_eq!(gap["topics"][0], "news", "{gap}");
    assert_eq!(gap["topics"].as_array().map(Vec::len), Some(1), "{gap}");
    assert_eq!(back.data(5), ["6", "7", "8", "9", "10"]);

    let mut again = hub.subscription(&["news", "quiet"]).last_event_id(&back.cursor).open();
    hub.publish("news", "11");
    assert_eq!(again.event().data, "11", "a gap is told once");
}

#[test]
fn what_history_still_holds_is_no_gap() {
    let hub = Hub::with("history.events", "5").start();
    let mut session = hub.subscribe(&["news"]);
    hub.publish_numbers("news", 5);
    session.take(5);
    let cursor = session.cursor.clone();
    drop(session);

    hub.publish_numbers("news", 5);
    hub.publish_numbers("elsewhere", 50);
    let mut back = hub.subscription(&["news"]).last_event_id(&cursor).open();

    assert_eq!(back.data(5), ["1", "2", "3", "4", "5"]);
}

#[test]
fn a_checkpoint_keeps_a_quiet_session_fresh() {
    let hub = Hub::with("history.events", "5").set("session.heartbeat", "200ms").start();
    let mut session = hub.subscribe(&["quiet"]);
    hub.publish_numbers("busy", 50);
    session.heartbeat();
    let checkpoint = session.heartbeat();
    drop(session);

    hub.publish_numbers("busy", 50);
    hub.publish("quiet", "at last");
    let mut back = hub.subscription(&["quiet"]).last_event_id(&checkpoint).open();
    hub.publish("quiet", "and more");

    assert!(back.resumed);
    assert_eq!(back.data(2), ["at last", "and more"]);
}

#[test]
fn a_cursor_that_says_nothing_is_a_gap_and_never_an_error() {
    let hub = Hub::start();
    hub.publish("news", "old");
    let long = "1".repeat(200);
    let nonsense = [
        "nonsense",
        "-",
        "1-2-3-4-5",
        "..",
        "~~~~",
        "99999999999999999999999-1",
        &long,
        "%00",
        "1 2",
        "\u{e9}",
        "<script>",
    ];
    let from_the_future = ["9999999999999-0", "9999999999999-18446744073709551615"];

    for cursor in nonsense.into_iter().chain(from_the_future) {
        let mut session = hub.subscription(&["news"]).last_event_id(cursor).open();
        assert!(!session.resumed, "{cursor}");
        assert_eq!(session.cursor, "", "no new cursor before the gap is told");
        session.gap("unknown_cursor");
        assert_ne!(session.cursor, "");
        hub.publish("news", "live");
        assert_eq!(session.event().data, "live", "{cursor}");
    }

    for cursor in ["\0", "\r\nX-Forged: yes", "\u{1f9d1}", "1-1\n\ndata: forged"] {
        let mut session = hub.subscription(&["news"]).query("cursor", cursor).open();
        assert_eq!(session.head.header("x-forged"), None);
        session.gap("unknown_cursor");
        hub.publish("news", "live");
        assert_eq!(session.event().data, "live", "{cursor:?}");
    }
}

#[test]
fn an_embedded_hub_that_restarts_says_that_it_lost_its_history() {
    let hub = Hub::start();
    let mut session = hub.subscribe(&["news"]);
    let before = hub.publish("news", "1");
    session.event();

    let hub = hub.restart();
    let mut back = hub.subscription(&["news"]).last_event_id(&session.cursor).open();
    back.gap("backplane_lost");
    let after = hub.publish("news", "2");

    assert_eq!(back.event().data, "2");
    assert!(milliseconds(&after) >= milliseconds(&before), "{before} then {after}: ids never go back");

    hub.publish("news", "3");
    let mut again = hub.subscription(&["news"]).last_event_id(&back.cursor).open();
    assert_eq!(again.event().data, "3", "a gap is told once");
}

fn milliseconds(id: &str) -> u64 {
    id.split('-').next().and_then(|ms| ms.parse().ok()).unwrap_or_else(|| panic!("not <ms>-<seq>: {id}"))
}
