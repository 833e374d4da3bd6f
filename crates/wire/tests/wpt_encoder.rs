//! The stream-format cases of web-platform-tests `eventsource/` turned round: what each is about is sent by us, exactly so,
//! and arrives.

mod support;

use bytes::Bytes;
use support::{Heard, cuts, event, eventsource_stream, heard, russe, spec};
use towncrier_wire::{Cursor, Event, EventId, EventType, Partitions, TextError, Topic, sse};

/// Our frame of an event of this type and data is this, `id:` line aside, and all judges hear just that event.
#[track_caller]
fn check(event_type: Option<&str>, data: &str, written: &str, arrives: &str) {
    let id = EventId::new(7, 1).unwrap();
    let event_type = event_type.map(|text| EventType::new(text).unwrap());
    let name = event_type.as_ref().map_or("message", EventType::as_str).to_owned();
    let stored = Event::new(Topic::new("t").unwrap(), id, EventId::ZERO, event_type.clone(), data);
    let partitions = Partitions::new(2).unwrap();
    let with_cursor = stored.frame_with(&Cursor::everywhere(partitions, id));
    for (frame, id_line, id) in [
        (stored.frame(), "id: 7-1\n", "7-1"),
        (&with_cursor, "id: 2~7-1~7-1\n", "2~7-1~7-1"),
        (&sse::direct(event_type.as_ref(), data), "", ""),
    ] {
        assert_eq!(std::str::from_utf8(frame), Ok(format!("{id_line}{written}\n").as_str()));
        let expect = heard(&[event(id, &name, arrives)], id, None);
        for chunks in cuts(frame) {
            assert_eq!(spec(&chunks), expect, "reference, {chunks:?}");
            assert_eq!(russe(&chunks), expect, "russe, {chunks:?}");
            assert_eq!(eventsource_stream(&chunks), expect.events, "eventsource-stream, {chunks:?}");
        }
    }
    assert_eq!(stored.data(), data);
}

#[test]
fn event_data() {
    check(None, "msg\nmsg", "data: msg\ndata: msg\n", "msg\nmsg");
    check(None, "", "data: \n", "");
    check(None, "end", "data: end\n", "end");
}

#[test]
fn format_bom() {
    check(None, "\u{feff}data:1", "data: \u{feff}data:1\n", "\u{feff}data:1");
    check(Some("\u{feff}"), "2", "event: \u{feff}\ndata: 2\n", "2");
    check(None, "\n\u{feff}", "data: \ndata: \u{feff}\n", "\n\u{feff}");
}

#[test]
fn format_bom_2() {
    check(None, "\u{feff}\u{feff}1", "data: \u{feff}\u{feff}1\n", "\u{feff}\u{feff}1");
}

#[test]
fn format_comments() {
    check(None, "1\r:\0\n:\r\n2", "data: 1\ndata: :\0\ndata: :\ndata: 2\n", "1\n:\0\n:\n2");
    check(None, ":data:fail", "data: :data:fail\n", ":data:fail");
    check(Some(": x"), "1", "event: : x\ndata: 1\n", "1");
}

#[test]
fn format_data_before_final_empty_line() {
    // A frame that is cut off anywhere commits nothing.
    let frame = sse::control("gap", Some(&"7-1"), Some(1000), "a\rb");
    assert_eq!(frame, "retry: 1000\nid: 7-1\nevent: gap\ndata: a\ndata: b\n\n");
    for end in 0..frame.len() {
        let Heard { events, last_id, .. } = spec(&[&frame[..end]]);
        assert_eq!((events.as_slice(), last_id.as_str()), (&[][..], ""), "{end} bytes");
    }
}

#[test]
fn format_field_data() {
    check(None, "\n", "data: \ndata: \n", "\n");
    check(None, "data:\n\ndata", "data: data:\ndata: \ndata: data\n", "data:\n\ndata");
}

#[test]
fn format_field_event() {
    check(Some("test"), "x", "event: test\ndata: x\n", "x");
    check(Some("  a:b "), "x", "event:   a:b \ndata: x\n", "x");
    check(None, "event:test\ndata:x", "data: event:test\ndata: data:x\n", "event:test\ndata:x");
}

#[test]
fn format_field_event_empty() {
    assert_eq!(EventType::new(""), Err(TextError::Empty));
    check(None, "data", "data: data\n", "data");
}

#[test]
fn format_field_id() {
    check(None, "hello\nid: x", "data: hello\ndata: id: x\n", "hello\nid: x");
}

#[test]
fn format_field_id_3() {
    // Ids last over a direct event, and a ping moves them without an event.
    let stream = [
        sse::control("connected", Some(&"1"), None, "{}"),
        sse::direct(None, "2"),
        sse::ping(Some(&"3")),
        sse::ping(None),
        sse::direct(None, "4"),
    ];
    assert_eq!(stream[2..4], [": ping\nid: 3\n\n", ": ping\n\n"]);
    let chunks: Vec<_> = stream.iter().map(Bytes::as_ref).collect();
    let expect = [event("1", "connected", "{}"), event("1", "message", "2"), event("3", "message", "4")];
    assert_eq!(spec(&chunks), heard(&expect, "3", None));
    assert_eq!(eventsource_stream(&chunks), expect);
}

#[test]
fn format_field_id_null() {
    // Nothing that becomes an id or a type can hold a NUL.
    for text in ["\0\0", "x\0", "\0x", "x\0x", " \0", "7-1\0"] {
        assert!(Cursor::parse(text, Partitions::ONE).is_err(), "{text:?}");
        assert!(text.parse::<EventId>().is_err(), "{text:?}");
        assert_eq!(EventType::new(text), Err(TextError::Control), "{text:?}");
    }
}

#[test]
fn format_field_parsing() {
    check(None, "\0\n 2\n1\n3\n\n4", "data: \0\ndata:  2\ndata: 1\ndata: 3\ndata: \ndata: 4\n", "\0\n 2\n1\n3\n\n4");
}

#[test]
fn format_field_retry() {
    let frame = sse::retry(3000);
    assert_eq!(frame, "retry: 3000\n\n");
    for chunks in cuts(&frame) {
        assert_eq!(spec(&chunks), heard(&[], "", Some(3000)));
        assert_eq!(russe(&chunks), heard(&[], "", Some(3000)));
    }
}

#[test]
fn format_field_retry_bogus() {
    check(None, "x\nretry:1000x\nretry: 5", "data: x\ndata: retry:1000x\ndata: retry: 5\n", "x\nretry:1000x\nretry: 5");
}

#[test]
fn format_field_unknown() {
    check(None, "test\n data\nfoobar:xxx", "data: test\ndata:  data\ndata: foobar:xxx\n", "test\n data\nfoobar:xxx");
}

#[test]
fn format_leading_space() {
    check(None, "\ttest\n\ntest", "data: \ttest\ndata: \ndata: test\n", "\ttest\n\ntest");
    check(None, " ", "data:  \n", " ");
    check(None, "  a\r   b ", "data:   a\ndata:    b \n", "  a\n   b ");
}

#[test]
fn format_newlines() {
    for (data, written, arrives) in [
        ("a\nb", "data: a\ndata: b\n", "a\nb"),
        ("a\rb", "data: a\ndata: b\n", "a\nb"),
        ("a\r\nb", "data: a\ndata: b\n", "a\nb"),
        ("a\n\rb", "data: a\ndata: \ndata: b\n", "a\n\nb"),
        ("a\r\rb", "data: a\ndata: \ndata: b\n", "a\n\nb"),
        ("a\r\r\nb", "data: a\ndata: \ndata: b\n", "a\n\nb"),
        ("a\r\n\r\nb", "data: a\ndata: \ndata: b\n", "a\n\nb"),
        ("\n", "data: \ndata: \n", "\n"),
        ("\r", "data: \ndata: \n", "\n"),
        ("\r\n", "data: \ndata: \n", "\n"),
        ("a\n", "data: a\ndata: \n", "a\n"),
        ("a\r", "data: a\ndata: \n", "a\n"),
        ("a\r\n", "data: a\ndata: \n", "a\n"),
        ("\na", "data: \ndata: a\n", "\na"),
        // No line ends to SSE, whatever Unicode calls them.
        (
            "a\u{b}\u{c}\u{85}\u{2028}\u{2029}b",
            "data: a\u{b}\u{c}\u{85}\u{2028}\u{2029}b\n",
            "a\u{b}\u{c}\u{85}\u{2028}\u{2029}b",
        ),
    ] {
        check(None, data, written, arrives);
    }
}

#[test]
fn format_null_character() {
    check(None, "\0", "data: \0\n", "\0");
}

#[test]
fn format_utf_8() {
    check(Some("é"), "ok…🦀", "event: é\ndata: ok…🦀\n", "ok…🦀");
}
