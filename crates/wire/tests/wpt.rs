//! The stream-format cases of web-platform-tests `eventsource/`, by their names there: our reference is held to them, and
//! where russe deviates it is said. `wpt_encoder.rs` turns them round.

mod support;

use support::{Heard, cuts, event, heard, russe, spec};

fn messages(data: &[&str]) -> Heard {
    let events: Vec<_> = data.iter().map(|data| event("", "message", data)).collect();
    heard(&events, "", None)
}

/// What the standard asks for is what the reference gives, and russe too.
#[track_caller]
fn check(stream: &str, expect: &Heard) {
    check_deviation(stream, expect, expect);
}

/// The same where russe gives something else.
#[track_caller]
fn check_deviation(stream: &str, expect: &Heard, by_russe: &Heard) {
    for chunks in cuts(stream.as_bytes()) {
        assert_eq!(&spec(&chunks), expect, "reference, {chunks:?}");
        assert_eq!(&russe(&chunks), by_russe, "russe, {chunks:?}");
    }
}

#[test]
fn event_data() {
    check(
        "data:msg\ndata: msg\n\n:\nfalsefield:msg\n\nfalsefield:msg\nData:data\n\ndata\n\ndata:end\n\n",
        &messages(&["msg\nmsg", "", "end"]),
    );
}

#[test]
fn format_bom() {
    // russe strips no byte order mark at all, and so misses the first field.
    check_deviation("\u{feff}data:1\n\n\u{feff}data:2\n\ndata:3\n\n\n", &messages(&["1", "3"]), &messages(&["3"]));
}

#[test]
fn format_bom_2() {
    check("\u{feff}\u{feff}data:1\n\ndata:2\n\ndata:3\n\n\n", &messages(&["2", "3"]));
}

#[test]
fn format_comments() {
    let long = "x".repeat(2 * 1024);
    check(
        &format!("data:1\r:\0\n:\r\ndata:2\n:{long}\rdata:3\n:data:fail\r:{long}\ndata:4\n\n"),
        &messages(&["1\n2\n3\n4"]),
    );
}

#[test]
fn format_data_before_final_empty_line() {
    check("retry:1000\ndata:test1\n\nid:test\ndata:test2\n", &heard(&[event("", "message", "test1")], "", Some(1000)));
}

#[test]
fn format_field_data() {
    check("data:\n\ndata\ndata\n\ndata:test\n\n\n", &messages(&["", "\n", "test"]));
}

#[test]
fn format_field_event() {
    check("event:test\ndata:x\n\ndata:x\n\n\n", &heard(&[event("", "test", "x"), event("", "message", "x")], "", None));
}

#[test]
fn format_field_event_empty() {
    // russe tells an empty type from none.
    check_deviation("event: \ndata:data\n\n\n", &messages(&["data"]), &heard(&[event("", "", "data")], "", None));
}

#[test]
fn format_field_id_and_id_2() {
    check("id: …\nretry: 200\ndata: hello\n\n", &heard(&[event("…", "message", "hello")], "…", Some(200)));
}

#[test]
fn format_field_id_3() {
    check(
        "id: 1\ndata: 1\n\ndata: 2\n\nid: 2\ndata:3\n\ndata:4\n\n",
        &heard(
            &[
                event("1", "message", "1"),
                event("1", "message", "2"),
                event("2", "message", "3"),
                event("2", "message", "4"),
            ],
            "2",
            None,
        ),
    );
    let resets = heard(&[event("1", "message", "1"), event("", "message", "2"), event("", "message", "3")], "", None);
    check("id: 1\ndata: 1\n\nid:\ndata:2\n\ndata:3\n\n", &resets);
    check("id: 1\ndata: 1\n\nid\ndata:2\n\ndata:3\n\n", &resets);
}

#[test]
fn format_field_id_null() {
    // russe takes ids with NUL.
    for id in ["\0\0", "x\0", "\0x", "x\0x", " \0"] {
        check_deviation(
            &format!("id: {id}\nretry: 200\ndata: hello\n\n"),
            &heard(&[event("", "message", "hello")], "", Some(200)),
            &heard(&[event(id, "message", "hello")], id, Some(200)),
        );
    }
}

#[test]
fn format_field_parsing() {
    check(
        "data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n data:32\ndata:4\n\n",
        &messages(&["\0\n 2\n1\n3\n\n4"]),
    );
}

#[test]
fn format_field_retry() {
    check("retry:03000\ndata:x\n\n\n", &heard(&[event("", "message", "x")], "", Some(3000)));
}

#[test]
fn format_field_retry_bogus() {
    check("retry:3000\nretry:1000x\ndata:x\n\n\n", &heard(&[event("", "message", "x")], "", Some(3000)));
}

#[test]
fn format_field_retry_bogus_2() {
    // The text of this newer case was not to be had: further values that are not all digits.
    for bogus in ["-1000", "+1000", "1e3", "10 00", " 1000", "1000\t", "٣"] {
        let stream = format!("retry:3000\nretry: {bogus}\ndata:x\n\n\n");
        check(&stream, &heard(&[event("", "message", "x")], "", Some(3000)));
    }
}

#[test]
fn format_field_retry_empty() {
    check("retry\ndata:test\n\n\n", &messages(&["test"]));
}

#[test]
fn format_field_unknown() {
    check(
        "data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n\n",
        &messages(&["test\n\ntest"]),
    );
}

#[test]
fn format_leading_space() {
    check("data:\ttest\rdata: \ndata:test\n\n\n", &messages(&["\ttest\n\ntest"]));
}

#[test]
fn format_newlines() {
    check("data:test\r\ndata\ndata:test\r\n\r\n", &messages(&["test\n\ntest"]));
}

#[test]
fn format_null_character() {
    check("data:\0\n\n\n\n\n", &messages(&["\0"]));
}

#[test]
fn format_utf_8() {
    check("data:ok…\n\n\n", &messages(&["ok…"]));
}

#[test]
fn block_without_data() {
    // None of WPT's. Chromium 156 does as the standard says: the id is kept and nothing is dispatched. russe gives an
    // event of empty data, so it is no judge of our pings.
    check_deviation(
        ": ping\nid: 1\n\ndata: x\n\n",
        &heard(&[event("1", "message", "x")], "1", None),
        &heard(&[event("1", "message", ""), event("1", "message", "x")], "1", None),
    );
}
