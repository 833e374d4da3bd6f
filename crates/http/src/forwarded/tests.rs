use std::borrow::Cow;

use actix_web::http::header::HeaderValue;
use proptest::prelude::*;

use super::*;

const PEER: &str = "10.0.0.1";

fn proxies(header: ForwardedBy) -> Proxies {
    let networks = ["10.0.0.0/8", "127.0.0.1", "fd00::/8"].map(|text| text.parse().expect(text));
    Proxies { networks: networks.into(), header }
}

/// Who a request is from that came from `peer` with these values of the header, in the words of the tests below.
#[track_caller]
fn check(header: ForwardedBy, peer: &str, values: &[&[u8]], expect: &str) {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(header.name(), HeaderValue::from_bytes(value).expect("a header's value"));
    }
    let client = proxies(header).client(peer.parse().expect("an address"), &headers);
    let shown: Cow<'_, str> = client.map_or("malformed".into(), |client| client.to_string().into());
    let values: Vec<_> = values.iter().map(|value| String::from_utf8_lossy(value)).collect();
    assert_eq!(shown, expect, "{peer} with {values:?}");
}

#[track_caller]
fn x(values: &[&str], expect: &str) {
    let values: Vec<_> = values.iter().map(|value| value.as_bytes()).collect();
    check(ForwardedBy::XForwardedFor, PEER, &values, expect);
}

#[track_caller]
fn forwarded(value: &str, expect: &str) {
    check(ForwardedBy::Forwarded, PEER, &[value.as_bytes()], expect);
}

#[test]
fn who_is_no_proxy_is_not_believed() {
    for peer in ["192.0.2.1", "11.0.0.1", "127.0.0.2", "::1", "2001:db8::1"] {
        check(ForwardedBy::XForwardedFor, peer, &[b"198.51.100.7"], peer);
        check(ForwardedBy::Forwarded, peer, &[b"for=198.51.100.7"], peer);
        check(ForwardedBy::XForwardedFor, peer, &[b"garbage"], peer);
    }
    check(ForwardedBy::XForwardedFor, "::ffff:192.0.2.1", &[b"198.51.100.7"], "192.0.2.1");
    check(ForwardedBy::XForwardedFor, "::ffff:10.0.0.1", &[b"198.51.100.7"], "198.51.100.7");
}

#[test]
fn the_last_address_that_is_no_proxys_is_the_clients() {
    x(&[], PEER);
    x(&["198.51.100.7"], "198.51.100.7");
    x(&["1.1.1.1, 2.2.2.2, 198.51.100.7"], "198.51.100.7");
    x(&["1.1.1.1, 198.51.100.7, 10.2.3.4,10.5.6.7"], "198.51.100.7");
    x(&["1.1.1.1", "198.51.100.7, 127.0.0.1", "10.5.6.7"], "198.51.100.7");
    x(&["10.9.9.9, 10.2.3.4"], "10.9.9.9");
    x(&["", " , ,198.51.100.7, ,", ""], "198.51.100.7");
    x(&["", " , "], PEER);
    x(&["198.51.100.7, fd00::1"], "198.51.100.7");
}

#[test]
fn what_a_client_writes_before_it_is_not_looked_at() {
    for sent in ["garbage", "127.0.0.1, unknown", "\"", "for=1.1.1.1", "1.1.1.1\u{e9}", "\",\",\\\"", ",,,,"] {
        x(&[&format!("{sent}, 198.51.100.7")], "198.51.100.7");
        x(&[sent, "198.51.100.7"], "198.51.100.7");
        forwarded(&format!("{sent}, for=198.51.100.7"), "198.51.100.7");
    }
    forwarded("for=\"1.1.1.1, for=198.51.100.7", "198.51.100.7");
    let long = format!("{}198.51.100.7", "10.0.0.2, ".repeat(10_000));
    x(&[&long], "198.51.100.7");
}

#[test]
fn addresses_come_in_many_forms() {
    for (text, expect) in [
        ("198.51.100.7:4711", "198.51.100.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("2001:DB8:0:0:0:0:0:7", "2001:db8::7"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]", "fe80::1"),
        ("[fe80::1%eth0.1]:80", "fe80::1"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("[::ffff:198.51.100.7]:1", "198.51.100.7"),
    ] {
        x(&[text], expect);
        let quoted = if text.contains(':') { format!("for=\"{text}\"") } else { format!("for={text}") };
        forwarded(&quoted, expect);
    }
}

#[test]
fn what_names_nobody_is_malformed() {
    for text in [
        "unknown",
        "_hidden",
        "198.51.100",
        "198.51.100.7.8",
        "198.51.100.256",
        "198.51.100.07",
        "198.51.100.7:",
        "198.51.100.7:x",
        "198.51.100.7:123456",
        "198.51.100.7:-1",
        "198.51.100.7%eth0",
        "198.51.100.7 10.0.0.1",
        "[198.51.100.7]",
        "[2001:db8::7",
        "2001:db8::7]",
        "[2001:db8::7]4711",
        "[2001:db8::7]:",
        "[2001:db8::7%]",
        "[]",
        "%eth0",
        "localhost",
        "0x7f000001",
        "\"198.51.100.7\"",
        "::1::",
        &"9".repeat(100_000),
    ] {
        x(&[&format!("192.0.2.1, {text}")], "malformed");
        x(&[&format!("192.0.2.1, {text}, 10.0.0.3")], "malformed");
    }
    check(ForwardedBy::XForwardedFor, PEER, &[b"192.0.2.1, \xff\xfe"], "malformed");
    let hops = "10.0.0.2, ".repeat(HOPS_MAX + 1);
    x(&[&format!("198.51.100.7, {hops}")], "malformed");
}

#[test]
fn the_standard_header_is_read_as_the_standard_says() {
    forwarded("for=198.51.100.7;proto=https;by=10.0.0.1", "198.51.100.7");
    forwarded("For=1.1.1.1, proto=http; FOR = \"198.51.100.7:99\" ;host=\"a,b\"", "198.51.100.7");
    forwarded("for=198.51.100.7;host=\"a\\\", for=1.1.1.1\"", "198.51.100.7");
    forwarded("for=198.51.100.7, for=\"[fd00::2]\", for=10.0.0.2", "198.51.100.7");
    for text in [
        "by=10.0.0.1",
        "for=",
        "for",
        "198.51.100.7",
        "for=unknown",
        "for=_x",
        "for=1.1.1.1;for=2.2.2.2",
        "for=\"198.51.100.7",
        "for=198.51.100.7\"",
        "for=\"198.51.100\\.7\"",
    ] {
        forwarded(text, "malformed");
    }
}

#[test]
fn only_the_header_that_proxies_set_is_read() {
    let mut headers = HeaderMap::new();
    headers.append(header::X_FORWARDED_FOR, HeaderValue::from_static("198.51.100.7"));
    headers.append(header::FORWARDED, HeaderValue::from_static("for=1.1.1.1"));
    for (header, expect) in [(ForwardedBy::XForwardedFor, "198.51.100.7"), (ForwardedBy::Forwarded, "1.1.1.1")] {
        let client = proxies(header).client(PEER.parse().expect("an address"), &headers);
        assert_eq!(client.map(|client| client.to_string()), Ok(expect.to_owned()));
    }
}

#[test]
fn networks_are_read_and_shown() {
    for (text, shown) in [
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1/32", "127.0.0.1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("fd00::/8", "fd00::/8"),
        ("::1", "::1"),
    ] {
        assert_eq!(text.parse::<Network>().map(|network| network.to_string()), Ok(shown.to_owned()));
    }
    for text in ["", "x", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "localhost", "10.0.0.1:80", "fe80::1%eth0"] {
        assert_eq!(text.parse::<Network>(), Err(NetworkError::Malformed), "{text}");
    }
    for text in ["0.0.0.0/0", "::/0", "10.0.0.0/0"] {
        assert_eq!(text.parse::<Network>(), Err(NetworkError::Everybody), "{text}");
    }
}

/// What a client may send: anything that is a header's value, and what looks like a list of proxies most of all.
fn sent() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b", ".to_vec()),
        Just(b"\"".to_vec()),
        Just(b"\\".to_vec()),
        Just(b"for=".to_vec()),
        Just(b";".to_vec()),
        Just(b"10.0.0.7".to_vec()),
        Just(b"1.1.1.1".to_vec()),
        Just(b"[fd00::1]:80".to_vec()),
        prop::collection::vec(prop_oneof![Just(b'\t'), 0x20..0x7f_u8, 0x80..=0xff_u8], 0..6),
    ];
    prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_a_client_sends_hides_what_a_proxy_appends(
        sent in prop::collection::vec(sent(), 1..4),
        same_line in any::<bool>(),
        hops in 0..3_usize,
    ) {
        for (header, client, hop) in [
            (ForwardedBy::XForwardedFor, "198.51.100.7", "10.0.0.2"),
            (ForwardedBy::Forwarded, "for=\"198.51.100.7:80\";proto=https", "for=10.0.0.2"),
        ] {
            let appended = [client].into_iter().chain([hop; 3].into_iter().take(hops)).collect::<Vec<_>>().join(", ");
            let mut lines = sent.clone();
            if same_line {
                let last = lines.last_mut().expect("a line");
                last.extend_from_slice(b", ");
                last.extend_from_slice(appended.as_bytes());
            } else {
                lines.push(appended.into_bytes());
            }
            let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
            check(header, PEER, &lines, "198.51.100.7");
        }
    }
}
