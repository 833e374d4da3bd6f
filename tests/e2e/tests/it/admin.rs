//! Looking at a hub, and at who is there.

use std::time::{SystemTime, UNIX_EPOCH};

use towncrier_e2e::{Hub, SOON, Value, eventually, json};

#[test]
fn topics_are_listed_by_name_and_in_pages() {
    let hub = Hub::start();
    for topic in ["orders/2", "orders/1", "news", "orders/3"] {
        hub.publish(topic, "x");
    }
    let last = hub.publish("orders/1", "y");
    let _session = hub.subscribe(&["orders/1"]);

    let all = hub.get("/admin/v1/topics").ok();
    assert_eq!(names(&all), ["news", "orders/1", "orders/2", "orders/3"]);
    assert!(all.get("next").is_none_or(Value::is_null), "{all}");
    let order = &all["topics"][1];
    assert_eq!((&order["events"], &order["last_id"]), (&json!(2), &json!(last)), "{order}");
    assert_eq!(order["sessions"], 1);

    let page = hub.get("/admin/v1/topics?prefix=orders/&limit=2").ok();
    assert_eq!(names(&page), ["orders/1", "orders/2"]);
    let next = page["next"].as_str().expect("there is more");
    let page = hub.get(&format!("/admin/v1/topics?prefix=orders/&limit=2&after={}", towncrier_e2e::encode(next))).ok();
    assert_eq!(names(&page), ["orders/3"]);
    assert!(page.get("next").is_none_or(Value::is_null), "{page}");
}

fn names(page: &Value) -> Vec<&str> {
    page["topics"].as_array().expect("topics").iter().map(|topic| topic["topic"].as_str().expect("a name")).collect()
}

#[test]
fn a_topic_tells_what_it_holds() {
    let hub = Hub::with("history.events", "2").start();
    let ids: Vec<_> = (0..3).map(|_| hub.publish("orders/42", "four")).collect();

    let topic = hub.get("/admin/v1/topics/orders%2F42").ok();

    assert_eq!(topic["topic"], "orders/42");
    assert_eq!(topic["events"], 2);
    assert_eq!(topic["sessions"], 0);
    assert_eq!((&topic["first_id"], &topic["last_id"]), (&json!(ids[1]), &json!(ids[2])));
    assert!(topic["bytes"].as_u64().is_some_and(|bytes| bytes >= 8), "{topic}");
    hub.get("/admin/v1/topics/nobody%2Fknows").problem(404);
}

#[test]
fn history_is_read_in_pages_oldest_first() {
    let hub = Hub::start();
    hub.publish_numbers("news", 5);
    hub.send(&json!({"topic": "news", "event": "typed", "data": [6]})).ok();

    let mut got = Vec::new();
    let mut after = String::new();
    loop {
        let page = hub.get(&format!("/admin/v1/topics/news/history?limit=2{after}")).ok();
        let events = page["events"].as_array().expect("events").clone();
        assert!((1..=2).contains(&events.len()), "{page}");
        got.extend(events);
        let Some(next) = page["next"].as_str() else {
            break;
        };
        after = format!("&after={next}");
    }

    let data: Vec<_> = got.iter().map(|event| event["data"].as_str().expect("a string")).collect();
    assert_eq!(data, ["1", "2", "3", "4", "5", "[6]"]);
    assert_eq!((&got[5]["event"], &got[5]["topic"]), (&json!("typed"), &json!("news")));
    assert!(got[0]["event"].is_null());
}

#[test]
fn history_that_was_trimmed_behind_a_reader_is_a_gap() {
    let hub = Hub::with("history.events", "3").start();
    let first = hub.publish("news", "0");
    hub.publish_numbers("news", 9);

    let page = hub.get(&format!("/admin/v1/topics/news/history?after={first}")).ok();

    assert_eq!(page["gap"]["reason"], "expired", "{page}");
    assert_eq!(page["events"].as_array().map(Vec::len), Some(3));
}

#[test]
fn limits_of_pages_are_checked() {
    let hub = Hub::start();
    hub.publish("news", "x");
    for list in ["/admin/v1/topics", "/admin/v1/sessions", "/admin/v1/topics/news/history"] {
        for limit in ["0", "1001", "-1", "many", ""] {
            let problem = hub.get(&format!("{list}?limit={limit}")).problem(400);
            assert_eq!(problem["field"], "limit", "{list} {limit}");
        }
        hub.get(&format!("{list}?limit=1000")).ok();
    }
    assert_eq!(hub.get("/admin/v1/topics/news/history?after=nonsense").problem(400)["field"], "after");
}

#[test]
fn deleted_history_is_a_gap_for_those_who_had_not_read_it() {
    let hub = Hub::start();
    let mut session = hub.subscribe(&["news"]);
    let before = session.cursor.clone();
    hub.publish_numbers("news", 3);
    session.take(3);

    assert_eq!(hub.delete("/admin/v1/topics/news/history").ok(), json!({"deleted": 3}));

    let mut late = hub.subscription(&["news"]).last_event_id(&before).open();
    let gap = late.gap("expired");
    assert_eq!(gap["topics"], json!(["news"]));
    let mut earliest = hub.subscription(&["news"]).query("cursor", "earliest").open();
    let mut read_all = hub.subscription(&["news"]).last_event_id(&session.cursor).open();
    hub.publish("news", "4");
    assert_eq!(session.event().data, "4", "one that had read all is told of no gap");
    assert_eq!(read_all.event().data, "4", "nor is one that comes back");
    assert_eq!(late.event().data, "4");
    assert_eq!(earliest.event().data, "4", "nothing was promised to one that starts at what is there");
}

#[test]
fn sessions_are_found_by_topic_and_by_user() {
    let hub = Hub::start();
    let open = |topics: &[&str], user| hub.subscription(topics).query("user", user).open();
    let anna = open(&["news", "orders/*"], "anna");
    let anna_too = open(&["news"], "anna");
    let bert = open(&["orders/42"], "bert");

    assert_eq!(found(&hub, "/admin/v1/sessions", 3), sorted([&anna.session, &anna_too.session, &bert.session]));
    assert_eq!(found(&hub, "/admin/v1/sessions?topic=news", 2), sorted([&anna.session, &anna_too.session]));
    assert_eq!(found(&hub, "/admin/v1/sessions?user=anna", 2), sorted([&anna.session, &anna_too.session]));
    assert_eq!(found(&hub, "/admin/v1/sessions?user=bert", 1), sorted([&bert.session]));
    assert_eq!(found(&hub, "/admin/v1/sessions?topic=news&user=bert", 0), sorted([]));
    assert_eq!(found(&hub, "/admin/v1/topics/news/sessions", 2), sorted([&anna.session, &anna_too.session]));
    assert!(found(&hub, "/admin/v1/sessions?topic=orders%2F42", 2).contains(&bert.session));
}

#[test]
fn sessions_are_listed_in_pages() {
    let hub = Hub::start();
    let open: Vec<_> = (0..5).map(|_| hub.subscribe(&["news"])).collect();
    found(&hub, "/admin/v1/sessions", 5);

    let mut got = Vec::new();
    let mut after = String::new();
    loop {
        let page = hub.get(&format!("/admin/v1/sessions?limit=2{after}")).ok();
        got.extend(ids(&page));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        after = format!("&after={}", towncrier_e2e::encode(next));
    }

    assert_eq!(sorted(&got), sorted(open.iter().map(|session| &session.session)));
}

/// The sessions of a listing, once there are this many.
#[track_caller]
fn found(hub: &Hub, target: &str, count: usize) -> Vec<String> {
    eventually(&format!("{target} lists {count} sessions"), SOON, || {
        let page = hub.get(target).ok();
        let ids = ids(&page);
        if ids.len() == count { Ok(sorted(&ids)) } else { Err(page) }
    })
}

fn ids(page: &Value) -> Vec<String> {
    page["sessions"]
        .as_array()
        .expect("sessions")
        .iter()
        .map(|session| session["id"].as_str().expect("id").to_owned())
        .collect()
}

fn sorted<'a>(ids: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let mut ids: Vec<_> = ids.into_iter().cloned().collect();
    ids.sort();
    ids
}

#[test]
fn a_session_tells_who_it_is() {
    let hub = Hub::start();
    let session = hub.subscription(&["news", "orders/**"]).query("user", "anna").open();

    let told = hub.get(&format!("/admin/v1/sessions/{}", session.session)).ok();

    assert_eq!(told["id"], session.session);
    assert_eq!(told["user"], "anna");
    assert_eq!(told["selectors"], json!(["news", "orders/**"]));
    assert_eq!(told["node"], session.node);
    assert!(told["remote"].as_str().is_some_and(|remote| remote.starts_with("127.0.0.1")), "{told}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let connected_at = u128::from(told["connected_at"].as_u64().expect("a number"));
    assert!(connected_at <= now && now - connected_at < 60_000, "{told}");
    hub.get("/admin/v1/sessions/nobody").problem(404);
}

#[test]
fn the_one_node_and_its_totals_are_told() {
    let hub = Hub::with("node.id", "kiel-1").start();
    let session = hub.subscribe(&["news"]);
    hub.publish("news", "x");
    assert_eq!(session.node, "kiel-1");

    let nodes = hub.get("/admin/v1/nodes").ok();
    assert_eq!(nodes["nodes"].as_array().map(Vec::len), Some(1), "{nodes}");
    let node = &nodes["nodes"][0];
    assert_eq!((&node["id"], &node["sessions"]), (&json!("kiel-1"), &json!(1)), "{node}");
    assert!(node["version"].is_string() && node["uptime_s"].is_number(), "{node}");

    let stats = hub.get("/admin/v1/stats").ok();
    assert!(stats.as_object().is_some_and(|totals| !totals.is_empty()), "{stats}");
    assert!(stats.to_string().contains(r#""sessions":1"#), "{stats}");
}

#[test]
fn what_is_not_there_is_a_problem_too() {
    let hub = Hub::start();
    for target in ["/admin/v1/nonsense", "/admin/v1", "/admin/v1/topics/none/nonsense", "/nonsense"] {
        hub.get(target).problem(404);
    }
    hub.get("/admin/v1/sessions?topic=a%00b").problem(400);
    hub.get("/admin/v1/topics/a%ff").problem(400);
}
