//! Several nodes, joined by Redis.

use std::{thread, time::Duration};

use towncrier_e2e::{Hub, Redis, Signal, Towncrier, eventually, json};

fn node(redis: &Redis) -> Hub {
    Hub::with("backplane.kind", "redis").set("backplane.redis.url", &redis.url()).start()
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[test]
fn what_is_published_on_one_node_arrives_on_all_in_one_order() {
    let redis = Redis::start();
    let nodes = [node(&redis), node(&redis), node(&redis)];
    let mut sessions: Vec<_> = nodes.iter().map(|node| node.subscribe(&["news", "orders/*"])).collect();
    for round in 0..20 {
        for node in &nodes {
            node.publish("news", &format!("{round} on {}", node.addr()));
            node.publish("orders/1", &format!("{round} on {}", node.addr()));
        }
    }
    let told: Vec<_> = sessions.iter_mut().map(|session| session.data(120)).collect();
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0], told[2]);
}

#[test]
fn a_session_resumes_on_another_node_when_its_own_is_killed() {
    let redis = Redis::start();
    let (mut first, second) = (node(&redis), node(&redis));
    let mut session = first.subscribe(&["news"]);
    for number in 0..10 {
        second.publish("news", &number.to_string());
    }
    assert_eq!(session.data(10), numbers(0..10));
    first.kill();
    for number in 10..20 {
        second.publish("news", &number.to_string());
    }
    let mut resumed = second.subscription(&["news"]).last_event_id(&session.cursor).open();
    assert!(resumed.resumed);
    assert_eq!(resumed.data(10), numbers(10..20));
}

#[test]
fn a_redis_that_comes_back_empty_is_told_to_live_sessions() {
    let mut redis = Redis::start();
    let hub = node(&redis);
    let mut session = hub.subscribe(&["news"]);
    hub.publish("news", "0");
    assert_eq!(session.data(1), ["0"]);
    redis.kill();
    thread::sleep(Duration::from_millis(100));
    redis.restart();
    let id = eventually("it is published", Duration::from_secs(20), || {
        let answer = hub.send(&json!({"topic": "news", "data": "1", "idempotency_key": "again"}));
        if answer.status() == 200 { Ok(answer.json()["id"].clone()) } else { Err(answer.text()) }
    });
    assert!(id.as_str() > Some(session.cursor.as_str()), "ids go on: {id} after {}", session.cursor);
    // The stream is ended to resume: what is lost cannot be told without asking history.
    session.closed("resync");
    let mut resumed = hub.subscription(&["news"]).last_event_id(&session.cursor).open();
    resumed.gap("backplane_lost");
    assert_eq!(resumed.data(1), ["1"]);
}

#[test]
fn a_node_that_was_away_for_longer_than_history_says_so() {
    let redis = Redis::start();
    let short =
        || Hub::with("backplane.kind", "redis").set("backplane.redis.url", &redis.url()).set("history.events", "5");
    let (away, other) = (short().start(), short().start());
    let mut session = away.subscribe(&["news"]);
    other.publish("news", "0");
    assert_eq!(session.data(1), ["0"]);

    away.signal(Signal::STOP);
    assert!(redis.command("CLIENT KILL TYPE pubsub").starts_with(':'));
    for number in 1..=50 {
        other.publish("news", &number.to_string());
    }
    away.signal(Signal::CONT);

    session.closed("resync");
    let mut resumed = away.subscription(&["news"]).last_event_id(&session.cursor).open();
    assert_eq!(resumed.gap("expired")["topics"], json!(["news"]));
    assert_eq!(resumed.data(5), numbers(46..51));
    other.publish("news", "live");
    assert_eq!(resumed.data(1), ["live"]);
}

#[test]
fn a_hub_without_its_redis_says_what_is_wrong() {
    let mut redis = Redis::start();
    let url = redis.url();
    redis.kill();
    let run = Towncrier::new(&["serve"])
        .set("backplane.kind", "redis")
        .set("backplane.redis.url", &url.replace("redis://", "redis://me:s3cret@"))
        .run();
    assert_ne!(run.code, Some(0));
    assert!(run.stderr.contains("cannot reach Redis"), "{run:?}");
    assert!(!format!("{run:?}").contains("s3cret"), "{run:?}");
}
