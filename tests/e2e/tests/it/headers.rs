//! What answers tell browsers not to do, and what they tell nobody.

use towncrier_e2e::{Connection, Head, Hub, SOON, free_address};

/// The hub's version, which is that of the whole workspace.
const VERSION: &str = env!("CARGO_PKG_VERSION");

#[track_caller]
fn assert_hardened(head: &Head, what: &str) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("x-frame-options", "DENY"),
    ] {
        let values: Vec<_> = head.headers().filter(|(own, _)| *own == name).map(|(_, value)| value).collect();
        assert_eq!(values, [value], "{what}: {name}");
    }
    let policy = head.header("content-security-policy").unwrap_or_else(|| panic!("{what}: {head:?}"));
    assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{what}: {policy}");
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{what}: {policy}");
    assert_silent(head, what);
}

/// Nothing in the head says what made it.
#[track_caller]
fn assert_silent(head: &Head, what: &str) {
    for (name, value) in head.headers() {
        assert!(!["server", "via", "x-powered-by", "x-version"].contains(&name), "{what}: {name}: {value}");
        let told = value.to_ascii_lowercase();
        assert!(!told.contains(VERSION) && !told.contains("actix") && !told.contains("towncrier/"), "{what}: {value}");
    }
}

#[test]
fn every_answer_is_hardened() {
    let hub = Hub::with("cors.origins", "https://app.example").start();
    let json = ("Content-Type", "application/json");
    let publish = r#"{"topic":"news","data":"<script>alert(1)</script>"}"#;
    let preflight = [("Origin", "https://app.example"), ("Access-Control-Request-Method", "GET")];
    for (method, target, headers, body, status) in [
        ("GET", "/", &[][..], "", 200),
        ("HEAD", "/", &[], "", 200),
        ("GET", "/assets/app.js", &[], "", 200),
        ("GET", "/assets/nothing.js", &[], "", 404),
        ("GET", "/health", &[], "", 200),
        ("GET", "/ready", &[], "", 200),
        ("GET", "/metrics", &[], "", 200),
        ("GET", "/nowhere", &[], "", 404),
        ("GET", "/events", &[], "", 400),
        ("POST", "/events", &[], "", 405),
        ("GET", "/events?topic=a&cursor=closed", &[], "", 204),
        ("GET", "/poll?topic=news", &[], "", 200),
        ("POST", "/admin/v1/publish", &[json], publish, 200),
        ("POST", "/admin/v1/publish", &[json], "{", 400),
        ("POST", "/admin/v1/publish", &[], publish, 415),
        ("POST", "/admin/v1/publish", &[json, ("Origin", "https://evil.example")], publish, 403),
        ("GET", "/admin/v1/topics/news/history", &[], "", 200),
        ("GET", "/admin/v1/stats", &[], "", 200),
        ("DELETE", "/admin/v1/sessions/nobody", &[], "", 404),
        ("OPTIONS", "/events", &preflight, "", 200),
    ] {
        let what = format!("{method} {target}");
        let mut connection = Connection::open(hub.addr());
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        connection.send(format!("{request}Content-Length: {}\r\n\r\n{body}", body.len())).expect("send");
        let head = connection.head(SOON).expect("an answer");
        assert_eq!(head.status, status, "{what}: {head:?}");
        assert_hardened(&head, &what);
    }
}

#[test]
fn streams_are_hardened_too() {
    let hub = Hub::with("http.max_connections", "1").start();
    let stream = towncrier_e2e::eventually("there is room", SOON, || hub.subscription(&["news"]).try_open());
    assert_hardened(&stream.head, "a stream");
    let (head, _) = hub.subscription(&["news"]).answer();
    assert_hardened(&head, "a stream that is sent away");
    let (head, _) = hub.subscription(&["news"]).accept("*/*").answer();
    assert_hardened(&head, "a refusal");
}

#[test]
fn the_page_allows_itself_its_own_parts_and_nothing_of_the_machine() {
    let hub = Hub::start();
    let head = hub.get("/").head;
    let policy = head.header("content-security-policy").expect("a policy");
    for part in ["script-src 'self'", "connect-src 'self'", "base-uri 'none'"] {
        assert!(policy.contains(part), "{part}: {policy}");
    }
    assert!(head.header("permissions-policy").is_some_and(|policy| policy.contains("camera=()")), "{head:?}");
    assert_eq!(head.header("cross-origin-opener-policy"), Some("same-origin"));
    let data = hub.get("/admin/v1/topics").head;
    let policy = data.header("content-security-policy").expect("a policy");
    assert!(!policy.contains("self"), "data needs nothing: {policy}");
}

#[test]
fn nobody_is_told_which_version_this_is() {
    let admin = free_address();
    let hub = Hub::with("http.admin_listen", &admin.to_string()).start();
    for target in ["/", "/assets/app.js", "/health", "/ready", "/nowhere", "/events", "/poll?topic=a", "/metrics"] {
        let answer = hub.get(target);
        assert_silent(&answer.head, target);
        assert!(!answer.text().contains(VERSION), "{target}: {}", answer.text());
    }
    for broken in ["nonsense\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET / HTTP/1.1\r\nbad header\r\n\r\n"] {
        let mut connection = Connection::open(hub.addr());
        connection.send(broken).expect("send");
        if let Ok(answer) = connection.response(SOON) {
            assert!((400..600).contains(&answer.status()), "{broken:?}: {answer:?}");
            assert_silent(&answer.head, broken);
            assert!(!answer.text().contains(VERSION), "{broken:?}: {}", answer.text());
        }
    }
}
