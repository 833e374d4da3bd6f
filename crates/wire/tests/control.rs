//! The hub's own events, to the byte.

mod support;

use std::fmt::Display;

use bytes::Bytes;
use support::{cuts, event, eventsource_stream, heard, russe, spec};
use towncrier_wire::{CloseReason, Cursor, EventId, Gap, GapReason, Partitions, Start, Topic, control, sse};

const CURSOR: &dyn Display = &"1795161600123-0";

/// The frame is this, and all judges hear one event of this name and data.
#[track_caller]
fn check(frame: &Bytes, written: &str, name: &str, data: &str) {
    assert_eq!(std::str::from_utf8(frame), Ok(written));
    for chunks in cuts(frame) {
        let heard = spec(&chunks);
        assert_eq!(heard.events, [event(&heard.last_id, name, data)]);
        assert_eq!(russe(&chunks), heard);
        assert_eq!(eventsource_stream(&chunks), heard.events);
    }
}

fn topics(names: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<Topic> {
    names.into_iter().map(|name| Topic::new(name.as_ref()).unwrap()).collect()
}

#[test]
fn connected() {
    let data = r#"{"session":"s1","node":"n1","resumed":false}"#;
    check(
        &control::connected(Some(CURSOR), 2714, "s1", "n1", false),
        &format!("retry: 2714\nid: 1795161600123-0\nevent: connected\ndata: {data}\n\n"),
        "connected",
        data,
    );
    let cursor = Cursor::everywhere(Partitions::new(2).unwrap(), EventId::new(1_795_161_600_123, 36).unwrap());
    let data = r#"{"session":"s\"\\1\n","node":"é\u0000","resumed":true}"#;
    check(
        &control::connected(Some(&cursor), 0, "s\"\\1\n", "é\0", true),
        &format!("retry: 0\nid: 2~mwoov7nf-10~mwoov7nf-10\nevent: connected\ndata: {data}\n\n"),
        "connected",
        data,
    );
    let data = r#"{"session":"s","node":"n","resumed":false}"#;
    let keeps = control::connected(None, 5, "s", "n", false);
    check(&keeps, &format!("retry: 5\nevent: connected\ndata: {data}\n\n"), "connected", data);
}

#[track_caller]
fn check_gap(reason: GapReason, names: &[&str], data: &str) {
    let frame = Gap::new(reason, topics(names)).frame(CURSOR);
    check(&frame, &format!("id: 1795161600123-0\nevent: gap\ndata: {data}\n\n"), "gap", data);
}

#[test]
fn gap() {
    for (reason, text) in [
        (GapReason::Expired, "expired"),
        (GapReason::BackplaneLost, "backplane_lost"),
        (GapReason::UnknownCursor, "unknown_cursor"),
        (GapReason::Dropped, "dropped"),
    ] {
        assert_eq!(reason.as_str(), text);
        check_gap(reason, &[], &format!(r#"{{"reason":"{text}"}}"#));
    }
    check_gap(GapReason::Expired, &["orders/42"], r#"{"reason":"expired","topics":["orders/42"]}"#);
    // Sorted, each once.
    check_gap(GapReason::Dropped, &["b", "a", "b"], r#"{"reason":"dropped","topics":["a","b"]}"#);
}

#[test]
fn gap_of_hostile_topics() {
    for (topic, json) in [
        (r#"a"b"#, r#""a\"b""#),
        (r"a\b", r#""a\\b""#),
        (r#"a"],"topics":["b"#, r#""a\"],\"topics\":[\"b""#),
        (r"\n\u000a", r#""\\n\\u000a""#),
        ("</script>", r#""</script>""#),
        (" data: x", r#"" data: x""#),
        (": x", r#"": x""#),
        ("\u{feff}", "\"\u{feff}\""),
        ("\u{2028}\u{2029}", "\"\u{2028}\u{2029}\""),
        ("é/🦀", "\"é/🦀\""),
    ] {
        let data = format!(r#"{{"reason":"expired","topics":[{json}]}}"#);
        check_gap(GapReason::Expired, &[topic], &data);
        let read: serde_json::Value = serde_json::from_str(&data).unwrap();
        assert_eq!(read["topics"][0], topic);
    }
}

#[test]
fn gap_of_many_topics() {
    let names = |count: usize| (0..count).map(|number| format!("t{number:03}"));
    // A hundred are named, more are told as unknown; repeats do not count.
    let hundred = names(100).map(|name| format!("{name:?}")).collect::<Vec<_>>().join(",");
    for (names, data) in [
        (topics(names(100)), format!(r#"{{"reason":"expired","topics":[{hundred}]}}"#)),
        (topics(names(100).chain(names(100))), format!(r#"{{"reason":"expired","topics":[{hundred}]}}"#)),
        (topics(names(101)), r#"{"reason":"expired"}"#.to_owned()),
        (topics(names(5000)), r#"{"reason":"expired"}"#.to_owned()),
    ] {
        let frame = Gap::new(GapReason::Expired, names).frame(CURSOR);
        check(&frame, &format!("id: 1795161600123-0\nevent: gap\ndata: {data}\n\n"), "gap", &data);
    }
}

#[test]
fn close() {
    for (reason, text) in [
        (CloseReason::Shutdown, "shutdown"),
        (CloseReason::Slow, "slow"),
        (CloseReason::MaxLifetime, "max_lifetime"),
        (CloseReason::TokenExpired, "token_expired"),
        (CloseReason::Resync, "resync"),
    ] {
        assert_eq!((reason.as_str(), reason.reconnect()), (text, true));
        let data = format!(r#"{{"reason":"{text}","reconnect":true}}"#);
        check(&reason.frame(2714), &format!("retry: 2714\nevent: close\ndata: {data}\n\n"), "close", &data);
    }
}

#[test]
fn close_for_good() {
    let reason = CloseReason::Disconnected;
    assert_eq!((reason.as_str(), reason.reconnect()), ("disconnected", false));
    let data = r#"{"reason":"disconnected","reconnect":false}"#;
    check(&reason.frame(2714), &format!("id: closed\nevent: close\ndata: {data}\n\n"), "close", data);
    // What the client sends back ends it, in every hub.
    let heard = spec(&[&reason.frame(2714)]);
    for count in 1..=8 {
        assert_eq!(Start::from_cursor(&heard.last_id, Partitions::new(count).unwrap()), Start::Closed);
    }
}

#[test]
fn heartbeat() {
    check(&control::heartbeat(None), "event: heartbeat\ndata: {}\n\n", "heartbeat", "{}");
    check(&control::heartbeat(Some(CURSOR)), "id: 1795161600123-0\nevent: heartbeat\ndata: {}\n\n", "heartbeat", "{}");
}

/// The frame is this; no script sees it, and the client knows this afterwards.
#[track_caller]
fn check_silent(frame: &Bytes, written: &str, last_id: &str, retry: Option<u64>) {
    assert_eq!(std::str::from_utf8(frame), Ok(written));
    for chunks in cuts(frame) {
        assert_eq!(spec(&chunks), heard(&[], last_id, retry));
        assert_eq!(eventsource_stream(&chunks), []);
    }
}

#[test]
fn ping() {
    check_silent(&sse::ping(None), ": ping\n\n", "", None);
    check_silent(&sse::ping(Some(CURSOR)), ": ping\nid: 1795161600123-0\n\n", "1795161600123-0", None);
}

#[test]
fn retry() {
    check_silent(&sse::retry(2714), "retry: 2714\n\n", "", Some(2714));
    check_silent(&sse::retry(u64::MAX), "retry: 18446744073709551615\n\n", "", Some(u64::MAX));
}

#[test]
fn control_of_several_lines() {
    check(
        &sse::control("x", Some(CURSOR), Some(1), "a\r\nb\rc\n"),
        "retry: 1\nid: 1795161600123-0\nevent: x\ndata: a\ndata: b\ndata: c\ndata: \n\n",
        "x",
        "a\nb\nc\n",
    );
}
