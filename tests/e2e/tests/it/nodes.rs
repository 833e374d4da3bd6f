//! Every node speaks for the whole cluster, and reaches every session.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use towncrier_e2e::{End, Hub, Redis, Signal, Subscriber, Value, encode, eventually, json};

/// Within which a node that was killed is forgotten.
const GONE: Duration = Duration::from_secs(12);

fn node(redis: &Redis, id: &str) -> Hub {
    Hub::with("backplane.kind", "redis").set("backplane.redis.url", &redis.url()).set("node.id", id).start()
}

/// Nodes that see each other.
fn cluster(redis: &Redis) -> [Hub; 3] {
    let nodes = ["a", "b", "c"].map(|id| node(redis, id));
    for node in &nodes {
        sees(node, &["a", "b", "c"]);
    }
    nodes
}

#[track_caller]
fn sees(node: &Hub, ids: &[&str]) {
    eventually(&format!("it sees {ids:?}"), GONE, || {
        let nodes = node.get("/admin/v1/nodes").ok();
        let seen: Vec<_> = nodes["nodes"].as_array().expect("nodes").iter().map(|node| &node["id"]).collect();
        if seen == ids { Ok(()) } else { Err(nodes) }
    });
}

fn session(node: &Hub, user: &str, topics: &[&str]) -> Subscriber {
    node.subscription(topics).query("user", user).open()
}

fn list(node: &Hub, target: &str, name: &str) -> Vec<String> {
    let page = node.get(target).ok();
    assert!(page.get("unanswered").is_none(), "{page}");
    page[name].as_array().expect("a list").iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn sessions_users_and_topics_of_all_nodes_are_told_by_each() {
    let redis = Redis::start();
    let nodes = cluster(&redis);
    let sessions: Vec<_> = nodes
        .iter()
        .zip(["anna", "bert", "anna"])
        .flat_map(|(node, user)| {
            [session(node, user, &["news"]), session(node, user, &["orders/*", &format!("own/{user}")])]
        })
        .collect();
    let ids: BTreeSet<_> = sessions.iter().map(|session| session.session.clone()).collect();
    nodes[1].publish("stored", "x");
    for (index, node) in nodes.iter().enumerate() {
        eventually("all six are listed", GONE, || {
            let listed = list(node, "/admin/v1/sessions", "sessions");
            if listed.iter().eq(&ids) { Ok(()) } else { Err(format!("{listed:?}")) }
        });
        assert_eq!(list(node, "/admin/v1/sessions?user=anna", "sessions").len(), 4);
        assert_eq!(list(node, "/admin/v1/topics/news/sessions", "sessions").len(), 3);
        assert_eq!(list(node, "/admin/v1/sessions?topic=orders%2F1", "sessions").len(), 3);
        let users = node.get("/admin/v1/users").ok();
        assert_eq!(users, json!({"users": [{"id": "anna", "sessions": 4}, {"id": "bert", "sessions": 2}]}));
        let users = node.get("/admin/v1/users?limit=1").ok();
        assert_eq!(users, json!({"users": [{"id": "anna", "sessions": 4}], "next": "anna"}));

        let topics = node.get("/admin/v1/topics").ok();
        let counts: Vec<_> = topics["topics"]
            .as_array()
            .expect("topics")
            .iter()
            .map(|topic| (topic["topic"].as_str().expect("a name"), topic["sessions"].as_u64().expect("a number")))
            .collect();
        assert_eq!(counts, [("news", 3), ("own/anna", 2), ("own/bert", 1), ("stored", 0)], "{topics}");
        assert_eq!(node.get("/admin/v1/topics/own%2Fanna").ok()["sessions"], 2);

        let told = node.get(&format!("/admin/v1/sessions/{}", sessions[0].session)).ok();
        assert_eq!((&told["user"], &told["node"]), (&json!("anna"), &json!("a")), "asked on {index}: {told}");

        let mut paged = Vec::new();
        let mut after = String::new();
        loop {
            let page = node.get(&format!("/admin/v1/sessions?limit=4{after}")).ok();
            paged.extend(page["sessions"].as_array().expect("sessions").iter().map(|one| one["id"].clone()));
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={}", encode(next));
        }
        assert!(paged.iter().eq(ids.iter()), "{paged:?}");
    }
    eventually("the totals are right", GONE, || {
        let stats = nodes[2].get("/admin/v1/stats").ok();
        let right = (&stats["sessions"], &stats["users"], &stats["nodes"]) == (&json!(6), &json!(3), &json!(3))
            && stats["since_start"]["publishes"] == 1;
        if right { Ok(()) } else { Err(stats) }
    });
    let told = eventually("each node's sessions are told", GONE, || {
        let told = nodes[0].get("/admin/v1/nodes").ok();
        let two = |node: &Value| node["sessions"] == 2 && node["topics"] == 3;
        if told["nodes"].as_array().expect("nodes").iter().all(two) { Ok(told) } else { Err(told) }
    });
    for node in told["nodes"].as_array().expect("nodes") {
        assert!(node["load"]["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 1 << 20), "{node}");
        assert!(node["version"].is_string() && node["uptime_s"].is_u64(), "{node}");
    }
}

#[test]
fn direct_events_and_disconnects_reach_sessions_on_other_nodes() {
    let redis = Redis::start();
    let nodes = cluster(&redis);
    let mut anna = [session(&nodes[0], "anna", &["news"]), session(&nodes[1], "anna", &["news"])];
    let mut bert = session(&nodes[2], "bert", &["news"]);
    let event = json!({"event": "hint", "data": {"line": "one\ntwo"}});

    let target = format!("/admin/v1/sessions/{}/events", bert.session);
    assert_eq!(nodes[0].post(&target, &event).ok(), json!({"delivered": 1}));
    assert_eq!(nodes[2].post("/admin/v1/users/anna/events", &event).ok(), json!({"delivered": 2}));
    assert_eq!(nodes[1].post("/admin/v1/broadcast", &json!({"data": "all"})).ok(), json!({"delivered": 3}));
    for session in anna.iter_mut().chain([&mut bert]) {
        let hint = session.event();
        assert_eq!((hint.kind.as_deref(), hint.data.as_str()), (Some("hint"), r#"{"line":"one\ntwo"}"#));
        assert_eq!(session.event().data, "all");
    }
    let large = "x".repeat(200_000);
    assert_eq!(nodes[0].post(&target, &json!({"data": large})).ok(), json!({"delivered": 1}));
    assert_eq!(bert.event().data, large);

    assert_eq!(nodes[1].delete(&format!("/admin/v1/sessions/{}", bert.session)).ok(), json!({"disconnected": 1}));
    let (_, end) = bert.rest();
    assert_eq!(end, End::Clean);
    assert_eq!(nodes[2].delete("/admin/v1/users/anna/sessions").ok(), json!({"disconnected": 2}));
    for session in &mut anna {
        session.closed("disconnected");
    }
    eventually("they are gone", GONE, || {
        let left = list(&nodes[1], "/admin/v1/sessions", "sessions");
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    nodes[0].post(&target, &event).problem(404);
    nodes[0].delete("/admin/v1/sessions/00000000000000000000000000000000").problem(404);
    assert_eq!(nodes[0].post("/admin/v1/users/nobody/events", &event).ok(), json!({"delivered": 0}));
}

#[test]
fn a_node_that_is_killed_takes_its_sessions_with_it() {
    let redis = Redis::start();
    let [one, mut other, third] = cluster(&redis);
    let (stays, goes) = (session(&one, "anna", &["news"]), session(&other, "bert", &["news"]));
    other.kill();
    let began = Instant::now();
    // At first it does not answer, and that is said; soon it is known to be gone.
    let page = one.get("/admin/v1/sessions").ok();
    assert_eq!(page["sessions"].as_array().map(Vec::len), Some(1), "{page}");
    if let Some(unanswered) = page.get("unanswered") {
        assert_eq!(unanswered, &json!(["b"]));
        one.delete(&format!("/admin/v1/sessions/{}", goes.session)).problem(504);
    }
    sees(&third, &["a", "c"]);
    sees(&one, &["a", "c"]);
    assert!(began.elapsed() < GONE, "{:?}", began.elapsed());
    assert_eq!(list(&third, "/admin/v1/sessions", "sessions"), std::slice::from_ref(&stays.session));
    one.get(&format!("/admin/v1/sessions/{}", goes.session)).problem(404);
    assert_eq!(one.post("/admin/v1/broadcast", &json!({"data": "x"})).ok(), json!({"delivered": 1}));
}

#[test]
fn a_node_that_ends_in_good_order_says_so() {
    let redis = Redis::start();
    let [one, other, third] = cluster(&redis);
    other.signal(Signal::TERM);
    let began = Instant::now();
    sees(&one, &["a", "c"]);
    sees(&third, &["a", "c"]);
    assert!(began.elapsed() < Duration::from_secs(3), "not only when it is missed: {:?}", began.elapsed());
}

#[test]
fn without_redis_a_node_speaks_for_itself_and_says_so() {
    let mut redis = Redis::durable();
    let nodes = cluster(&redis);
    let mut own = session(&nodes[0], "anna", &["news"]);
    let far = session(&nodes[1], "bert", &["news"]);
    redis.kill();
    let page: Value = eventually("it is known that nobody can be asked", GONE, || {
        let page = nodes[0].get("/admin/v1/sessions").ok();
        if page["unanswered"] == json!(["b", "c"]) { Ok(page) } else { Err(page) }
    });
    assert_eq!(page["sessions"][0]["id"], json!(own.session));
    let target = format!("/admin/v1/sessions/{}/events", own.session);
    assert_eq!(nodes[0].post(&target, &json!({"data": "still"})).ok(), json!({"delivered": 1}));
    assert_eq!(own.event().data, "still");
    nodes[0].post(&format!("/admin/v1/sessions/{}/events", far.session), &json!({"data": "x"})).problem(504);
    redis.restart();
    eventually("all are listed again", GONE, || {
        let page = nodes[0].get("/admin/v1/sessions").ok();
        let whole = page.get("unanswered").is_none() && page["sessions"].as_array().map(Vec::len) == Some(2);
        if whole { Ok(()) } else { Err(page) }
    });
}

#[test]
fn history_that_is_deleted_on_one_node_is_gone_on_all() {
    let redis = Redis::start();
    let nodes = cluster(&redis);
    let mut sessions: Vec<_> = nodes.iter().map(|node| node.subscribe(&["news"])).collect();
    let before = sessions[0].cursor.clone();
    nodes[0].publish_numbers("news", 3);
    for session in &mut sessions {
        assert_eq!(session.data(3), ["1", "2", "3"]);
    }
    assert_eq!(nodes[1].delete("/admin/v1/topics/news/history").ok(), json!({"deleted": 3}));
    for node in &nodes {
        let mut late = node.subscription(&["news"]).last_event_id(&before).open();
        assert_eq!(late.gap("expired")["topics"], json!(["news"]), "not what it still had in memory");
    }
}
