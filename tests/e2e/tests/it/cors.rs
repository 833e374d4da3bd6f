//! Pages of other origins: what the listed ones may do, and that the others may not.

use towncrier_e2e::{Builder, Head, Hub, Page, SOON, Site, Subscriber, eventually, json};

const LISTED: &str = "https://app.example";

/// `null` is what files and sandboxed frames send; the rest tries to look like the listed one.
const FOREIGN: [&str; 9] = [
    "https://evil.example",
    "http://app.example",
    "https://app.example:444",
    "https://app.example.evil.example",
    "https://evil.example/https://app.example",
    "https://App.example",
    "https://app.example, https://evil.example",
    "null",
    "*",
];

fn listing() -> Builder {
    Hub::with("cors.origins", "https://other.example,https://app.example")
}

#[track_caller]
fn assert_open(head: &Head, what: &str) {
    assert_eq!(head.header("access-control-allow-origin"), Some(LISTED), "{what}: {head:?}");
    assert_eq!(head.header("access-control-allow-credentials"), Some("true"), "{what}: {head:?}");
    assert_varies(head, what);
}

#[track_caller]
fn assert_closed(head: &Head, what: &str) {
    let told: Vec<_> = head.headers().filter(|(name, _)| name.starts_with("access-control-")).collect();
    assert!(told.is_empty(), "{what}: {told:?}");
}

/// A cache must not hand one origin's answer to another.
#[track_caller]
fn assert_varies(head: &Head, what: &str) {
    let vary = head.header("vary").unwrap_or_default();
    assert!(vary.split(',').any(|name| name.trim().eq_ignore_ascii_case("origin")), "{what}: {head:?}");
}

fn preflight<'a>(origin: &'a str, method: &'a str, headers: &'a str) -> Vec<(&'static str, &'a str)> {
    let asked =
        [("Origin", origin), ("Access-Control-Request-Method", method), ("Access-Control-Request-Headers", headers)];
    asked.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

#[test]
fn preflights_are_answered_on_every_path() {
    let hub = listing().start();
    for (method, target) in [
        ("GET", "/events?topic=news"),
        ("GET", "/topics/orders/42/events"),
        ("GET", "/poll?topic=news"),
        ("POST", "/admin/v1/publish"),
        ("POST", "/admin/v1/publish/batch"),
        ("GET", "/admin/v1/sessions"),
        ("DELETE", "/admin/v1/sessions/x"),
        ("PUT", "/admin/v1/accounts/x"),
        ("HEAD", "/health"),
        ("POST", "/login"),
        ("POST", "/logout"),
        ("GET", "/me"),
    ] {
        let asked = preflight(LISTED, method, "authorization, Content-Type,last-event-id,cache-control");
        let answer = hub.request("OPTIONS", target, &asked, "");
        let what = format!("{method} {target}");
        assert_eq!(answer.status(), 200, "{what}: {}", answer.text());
        assert_open(&answer.head, &what);
        let listed = |name: &str| answer.head.header(name).unwrap_or_default().to_ascii_lowercase();
        assert!(listed("access-control-allow-methods").contains(&method.to_ascii_lowercase()), "{what}");
        for header in ["authorization", "cache-control", "content-type", "last-event-id"] {
            assert!(listed("access-control-allow-headers").contains(header), "{what}: {header}");
        }
        let age_s: u32 = listed("access-control-max-age").parse().expect("seconds");
        assert!((60..=86_400).contains(&age_s), "{what}: {age_s}");
    }
}

#[test]
fn preflights_that_ask_for_too_much_are_problems() {
    let hub = listing().start();
    for (origin, method, headers, field) in [
        ("https://evil.example", "POST", "content-type", "Origin"),
        ("", "POST", "", "Origin"),
        (LISTED, "PATCH", "", "Access-Control-Request-Method"),
        (LISTED, "TRACE", "", "Access-Control-Request-Method"),
        (LISTED, "POST", "x-forwarded-for", "Access-Control-Request-Headers"),
        (LISTED, "POST", "content-type, x y", "Access-Control-Request-Headers"),
    ] {
        let answer = hub.request("OPTIONS", "/admin/v1/publish", &preflight(origin, method, headers), "");
        let problem = answer.problem(403);
        assert_eq!(problem["field"], field, "{origin} {method} {headers}: {problem}");
        assert_closed(&answer.head, origin);
        assert_varies(&answer.head, origin);
    }
}

#[test]
fn whatever_a_listed_page_is_answered_it_may_read() {
    let hub = listing().start();
    let origin = [("Origin", LISTED), ("Content-Type", "application/json")];
    for (method, target, body, status) in [
        ("GET", "/poll?topic=news", "", 200),
        ("POST", "/admin/v1/publish", r#"{"topic":"news","data":1}"#, 200),
        ("POST", "/admin/v1/publish", "{", 400),
        ("GET", "/events", "", 400),
        ("GET", "/nowhere", "", 404),
        ("PUT", "/events", "", 405),
        ("GET", "/events?topic=news&cursor=closed", "", 204),
        ("GET", "/", "", 200),
    ] {
        let answer = hub.request(method, target, &origin, body);
        assert_eq!(answer.status(), status, "{method} {target}: {}", answer.text());
        assert_open(&answer.head, target);
    }
}

#[test]
fn a_stream_says_so_in_its_head() {
    let hub = listing().set("http.max_connections", "1").start();
    let mut stream: Subscriber =
        eventually("there is room", SOON, || hub.subscription(&["news"]).header("Origin", LISTED).try_open());
    assert_open(&stream.head, "a stream");
    hub.publish("news", "x");
    assert_eq!(stream.event().data, "x");

    let (head, mut connection) = hub.subscription(&["news"]).header("Origin", LISTED).answer();
    assert_eq!(head.status, 200);
    assert_open(&head, "a stream of a full hub");
    assert!(String::from_utf8_lossy(&connection.body(SOON).expect("an end")).starts_with("retry: "));
    let (head, _) = hub.subscription(&["news"]).accept("*/*").header("Origin", LISTED).answer();
    assert_eq!(head.status, 503);
    assert_open(&head, "a full hub");
    let exposed = head.header("access-control-expose-headers").unwrap_or_default();
    let mut exposed: Vec<_> = exposed.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
    exposed.sort_unstable();
    assert_eq!(exposed, ["retry-after", "traceparent"]);
}

#[test]
fn other_origins_are_told_nothing_and_change_nothing() {
    let hub = listing().start();
    let body = r#"{"topic":"news","data":1}"#;
    for origin in FOREIGN {
        let answer = hub.request("GET", "/poll?topic=news", &[("Origin", origin)], "");
        assert_eq!(answer.status(), 200, "{origin}: it is for the browser to keep it from the page");
        assert_closed(&answer.head, origin);
        assert_varies(&answer.head, origin);
        let (head, _) = hub.subscription(&["news"]).header("Origin", origin).answer();
        assert_closed(&head, origin);
        let headers = [("Origin", origin), ("Content-Type", "application/json")];
        let refused = hub.request("POST", "/admin/v1/publish", &headers, body);
        assert_eq!(refused.problem(403)["field"], "Origin", "{origin}");
        assert_closed(&refused.head, origin);
    }
    assert_eq!(hub.get("/admin/v1/stats").ok()["since_start"]["publishes"], 0);
}

#[test]
fn without_a_list_there_is_no_cors() {
    let hub = Hub::start();
    let answer = hub.request("OPTIONS", "/admin/v1/publish", &preflight(LISTED, "POST", "content-type"), "");
    answer.problem(405);
    assert_closed(&answer.head, "a preflight");
    assert_closed(&hub.request("GET", "/poll?topic=news", &[("Origin", LISTED)], "").head, "an answer");
}

#[test]
fn a_browser_lets_a_listed_page_listen_and_publish_and_no_other() {
    let site = Site::new();
    let (listed, foreign) = (site.origin("127.0.0.1"), site.origin("localhost"));
    let hub = Hub::with("cors.origins", &listed).start();
    let events = hub.url("/events?topic=news");
    let publish = hub.url("/admin/v1/publish");

    let mut page = Page::open(&listed);
    page.listen_with_credentials(&events);
    page.heard("it is connected", |heard| !heard.is_empty());
    assert_eq!(page.post(&publish, &json!({"topic": "news", "data": "from the page"})), Some(200));
    page.heard("its own event", |heard| heard.last().is_some_and(|event| event.data == "from the page"));
    assert_eq!(page.post(&publish, &json!({"topic": "a*"})), Some(400), "it may read what is wrong");

    let mut other = Page::open(&foreign);
    other.listen_with_credentials(&events);
    other.stopped();
    assert_eq!(other.heard("nothing", <[_]>::is_empty).len(), 0);
    assert_eq!(other.post(&publish, &json!({"topic": "news", "data": "from elsewhere"})), None);
    hub.publish("news", "the last");
    let heard = page.heard("the last", |heard| heard.last().is_some_and(|event| event.data == "the last"));
    assert!(heard.iter().all(|event| event.data != "from elsewhere"), "{heard:?}");
}
