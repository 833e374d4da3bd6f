//! Redis, its links and nodes fail: what users see of it, row by row. `slow.rs` and `disconnects.rs` have what fails between a
//! client and its node.

use std::{
    thread,
    time::{Duration, Instant},
};

use towncrier_e2e::{Builder, Hub, Proxy, Redis, Subscriber, eventually, json};

/// As long as it may take until everything works again, on a busy machine.
const RECOVERY: Duration = Duration::from_secs(30);

/// Timeouts are a third of the defaults, so that a test need not wait for long.
fn node(url: &str) -> Builder {
    Hub::with("backplane.kind", "redis")
        .set("backplane.redis.url", url)
        .set("backplane.redis.command_timeout", "700ms")
        .set("backplane.redis.probe_interval", "300ms")
        .set("publish.timeout", "1700ms")
        .set("session.heartbeat", "300ms")
        .set("session.retry", "50ms")
        .set("history.events", "200000")
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// Publishes until it is stored, always with the same key; gives the id.
#[track_caller]
fn publish_until_stored(hub: &Hub, topic: &str, data: &str) -> String {
    let body = json!({"topic": topic, "data": data, "idempotency_key": format!("key of {data}")});
    eventually("it is published", RECOVERY, || {
        let answer = hub.send(&body);
        let id = || answer.json()["id"].as_str().map(str::to_owned);
        if answer.status() == 200 { Ok(id().expect("an id")) } else { Err(answer.text()) }
    })
}

#[track_caller]
fn is_ready(hub: &Hub, within: Duration) {
    eventually("it is ready", within, || match hub.get("/ready").status() {
        200 => Ok(()),
        status => Err(status),
    });
}

/// An id as numbers, so that two can be compared.
fn order(id: &str) -> (u64, u64) {
    let (ms, seq) = id.split_once('-').expect("ms-seq");
    (ms.parse().expect("ms"), seq.parse().expect("seq"))
}

/// What a client got that came back whenever its stream ended.
#[derive(Debug, Default)]
struct Story {
    data: Vec<String>,
    gaps: Vec<String>,
}

/// Reads up to the event with this data, and resumes at `hub` whenever the stream ends.
#[track_caller]
fn follow(mut session: Subscriber, hub: &Hub, topic: &str, last: &str) -> Story {
    let mut story = Story::default();
    while story.data.last().is_none_or(|data| data != last) {
        let (events, end) = session.rest_of(1);
        for event in events {
            match event.kind.as_deref() {
                None => story.data.push(event.data),
                Some("gap") => story.gaps.push(event.json()["reason"].as_str().expect("a reason").to_owned()),
                Some("close") => {}
                Some(other) => panic!("{other}: {event:?}"),
            }
        }
        if end.is_some() {
            session = hub.subscription(&[topic]).last_event_id(&session.cursor).open();
            assert!(session.resumed, "{story:?}");
        }
    }
    story
}

#[test]
fn redis_is_killed_and_keeps_its_data() {
    let mut redis = Redis::durable();
    let (one, other) = (node(&redis.url()).start(), node(&redis.url()).start());
    let mut session = one.subscribe(&["news"]);
    other.publish("news", "0");
    assert_eq!(session.data(1), ["0"]);
    redis.kill();
    let refused = other.send(&json!({"topic": "news", "data": "1", "idempotency_key": "key of 1"}));
    refused.problem(503);
    eventually("it is not ready", RECOVERY, || match one.get("/ready").status() {
        503 => Ok(()),
        status => Err(status),
    });
    assert_eq!(one.get("/health").status(), 200);
    session.heartbeat();

    redis.restart();
    publish_until_stored(&other, "news", "1");
    publish_until_stored(&one, "news", "2");
    assert_eq!(session.data(2), ["1", "2"], "the stream has stayed open");
    let mut early = one.subscription(&["news"]).query("cursor", "earliest").open();
    assert_eq!(early.data(3), ["0", "1", "2"]);
    is_ready(&one, RECOVERY);
}

#[test]
fn redis_is_flushed() {
    let redis = Redis::start();
    let (one, other) = (node(&redis.url()).start(), node(&redis.url()).start());
    let mut early = one.subscribe(&["news"]);
    let live = one.subscribe(&["news"]);
    let ids: Vec<_> = numbers(0..10).iter().map(|data| other.publish("news", data)).collect();
    assert_eq!(early.data(5), numbers(0..5));

    assert!(redis.command("FLUSHALL").starts_with("+OK"));
    let id = publish_until_stored(&other, "news", "after");

    assert!(order(&id) > order(&ids[9]), "{id} after {}", ids[9]);
    let live = follow(live, &one, "news", "after");
    assert_eq!(live.data, [numbers(0..10), vec!["after".to_owned()]].concat(), "it had all of them");
    let resumed = other.subscription(&["news"]).last_event_id(&early.cursor).open();
    told_or_healed(&follow(resumed, &other, "news", "after"), 5..10);
}

/// After what a failure may have taken comes "after"; of it there is all, or a gap first.
#[track_caller]
fn told_or_healed(story: &Story, range: std::ops::Range<usize>) {
    let (last, before) = story.data.split_last().expect("events");
    assert_eq!(last, "after");
    let healed = *before == numbers(range.clone());
    let told = story.gaps == ["backplane_lost"] && numbers(range.clone()).starts_with(before);
    assert!(healed || told, "neither told nor healed: {story:?} of {range:?}");
}

/// 10 s, as the timeouts are a third: as 30 s are to the defaults.
#[test]
fn redis_is_frozen() {
    let redis = Redis::durable();
    let (one, other) = (node(&redis.url()).start(), node(&redis.url()).start());
    let mut session = one.subscribe(&["news"]);
    other.publish("news", "0");
    assert_eq!(session.data(1), ["0"]);
    redis.freeze();
    let frozen = Instant::now();

    let refused = other.send(&json!({"topic": "news", "data": "1", "idempotency_key": "key of 1"}));
    refused.problem(503);
    assert!(frozen.elapsed() < Duration::from_secs(4), "it took {:?} to refuse", frozen.elapsed());
    eventually("it is not ready", RECOVERY, || match one.get("/ready").status() {
        503 => Ok(()),
        status => Err(status),
    });
    assert_eq!(one.get("/health").status(), 200);
    while frozen.elapsed() < Duration::from_secs(10) {
        session.heartbeat();
    }
    let again = Instant::now();
    one.send(&json!({"topic": "news", "data": "2", "idempotency_key": "key of 2"})).problem(503);
    assert!(again.elapsed() < Duration::from_secs(4), "it took {:?} to refuse", again.elapsed());
    redis.thaw();

    // What was refused may have reached Redis all the same; its key sees to it that it takes effect once.
    publish_until_stored(&other, "news", "1");
    publish_until_stored(&one, "news", "2");
    publish_until_stored(&other, "news", "after");
    let story = follow(session, &one, "news", "after");
    assert_eq!(story.gaps, Vec::<String>::new());
    let mut data = story.data;
    data.sort();
    assert_eq!(data, ["1", "2", "after"]);
    is_ready(&one, RECOVERY);
}

#[test]
fn the_link_between_a_node_and_redis_is_cut_and_frozen() {
    let redis = Redis::durable();
    let proxy = Proxy::to(redis.addr());
    let (away, other) = (node(&format!("redis://{}", proxy.addr())).start(), node(&redis.url()).start());
    let session = away.subscribe(&["news"]);
    let batch = |range| {
        other.publish_each("news", numbers(range));
    };
    batch(0..50);
    proxy.cut();
    batch(50..100);
    is_ready(&away, RECOVERY);
    batch(100..150);

    proxy.freeze();
    batch(150..200);
    eventually("it is not ready", RECOVERY, || match away.get("/ready").status() {
        503 => Ok(()),
        status => Err(status),
    });
    away.send(&json!({"topic": "other", "data": "refused"})).problem(503);
    assert_eq!(other.get("/ready").status(), 200);
    batch(200..250);
    proxy.thaw();
    batch(250..300);

    let id = publish_until_stored(&away, "news", "after");
    assert!(order(&id) > order(&session.cursor));
    let story = follow(session, &away, "news", "after");
    assert_eq!(story.data, [numbers(0..300), vec!["after".to_owned()]].concat());
    assert_eq!(story.gaps, Vec::<String>::new());
}

#[test]
fn sentinel_replaces_the_primary_by_a_replica_that_is_behind() {
    let mut primary = Redis::durable();
    let replica = Redis::replica_of(&primary);
    replica.catches_up();
    let sentinel = Redis::sentinel(&primary);
    let port = replica.addr().port().to_string();
    eventually("the Sentinel knows the replica", RECOVERY, || {
        let known = sentinel.command("SENTINEL replicas main");
        if known.contains(&port) && known.contains("master-link-status\r\n$2\r\nok") { Ok(()) } else { Err(known) }
    });
    let (one, other) = (node(&sentinel.sentinel_url()).start(), node(&sentinel.sentinel_url()).start());
    let mut early = one.subscribe(&["news"]);
    let live = one.subscribe(&["news"]);
    let mut ids: Vec<_> = numbers(0..10).iter().map(|data| other.publish("news", data)).collect();
    assert_eq!(early.data(5), numbers(0..5));
    eventually("the replica has what was published", RECOVERY, || {
        let has = replica.command("DBSIZE");
        if has == primary.command("DBSIZE") { Ok(()) } else { Err(has) }
    });

    replica.stop_following().expect("the replica answers");
    eventually("the replica has stopped to follow", RECOVERY, || {
        let info = replica.command("INFO replication");
        if info.contains("master_link_status:down") { Ok(()) } else { Err(info) }
    });
    ids.extend(numbers(10..20).iter().map(|data| other.publish("news", data)));
    primary.kill();

    ids.push(publish_until_stored(&other, "news", "after"));
    assert!(ids.windows(2).all(|pair| order(&pair[0]) < order(&pair[1])), "{ids:?}");
    let live = follow(live, &one, "news", "after");
    assert_eq!(live.data, [numbers(0..20), vec!["after".to_owned()]].concat(), "it had all of them");
    let resumed = other.subscription(&["news"]).last_event_id(&early.cursor).open();
    told_or_healed(&follow(resumed, &other, "news", "after"), 5..20);
}

#[test]
fn a_node_is_killed_while_its_clients_listen() {
    const EVENTS: usize = 400;
    let redis = Redis::start();
    let (mut first, second) = (node(&redis.url()).start(), node(&redis.url()).start());
    let sessions: Vec<_> = (0..20).map(|_| first.subscribe(&["news"])).collect();
    thread::scope(|scope| {
        let follow = |session| follow(session, &second, "news", &(EVENTS - 1).to_string());
        let readers: Vec<_> = sessions.into_iter().map(|session| scope.spawn(move || follow(session))).collect();
        for start in (0..EVENTS).step_by(20) {
            second.publish_each("news", numbers(start..start + 20));
            if start == EVENTS / 2 {
                first.kill();
            }
        }
        for reader in readers {
            let story = reader.join().expect("a client that has all");
            assert_eq!(story.data, numbers(0..EVENTS));
            assert_eq!(story.gaps, Vec::<String>::new());
        }
    });
}

#[test]
fn a_burst_of_a_hundred_thousand_events_reaches_another_node() {
    const PUBLISHERS: usize = 4;
    const EACH: usize = 25_000;
    let redis = Redis::start();
    // Nothing fails here: a busy machine may take its time.
    let patient = || node(&redis.url()).set("backplane.redis.command_timeout", "10s").set("publish.timeout", "30s");
    let (one, other) = (patient().start(), patient().start());
    let (exact, fitting) = (other.subscribe(&["burst"]), other.subscribe(&["*"]));
    thread::scope(|scope| {
        let (other, one) = (&other, &one);
        let readers = [(exact, "burst"), (fitting, "*")]
            .map(|(session, selector)| scope.spawn(move || follow(session, other, selector, "end")));
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let data = move |number| json!({"topic": "burst", "data": format!("{publisher} {number}")});
                scope.spawn(move || {
                    for start in (0..EACH).step_by(1000) {
                        let batch: Vec<_> = (start..start + 1000).map(data).collect();
                        let answers = one.post("/admin/v1/publish/batch", &batch.into()).ok();
                        let stored = answers.as_array().expect("a list").iter().all(|answer| answer["id"].is_string());
                        assert!(stored, "{answers}");
                    }
                })
            })
            .collect();
        for publisher in publishers {
            publisher.join().expect("all is published");
        }
        one.publish("burst", "end");
        for reader in readers {
            let story = reader.join().expect("a client that has all");
            assert_eq!(story.gaps, Vec::<String>::new());
            assert_eq!(story.data.len(), PUBLISHERS * EACH + 1);
            for publisher in 0..PUBLISHERS {
                let own = story.data.iter().filter_map(|data| data.strip_prefix(&format!("{publisher} ")));
                assert!(own.eq(numbers(0..EACH)), "not in order, or not all of publisher {publisher}");
            }
        }
    });
}

#[test]
fn a_node_gets_nothing_of_topics_that_nobody_there_listens_to() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.addr());
    let (node_behind, other) = (node(&format!("redis://{}", proxy.addr())).start(), node(&redis.url()).start());
    let mut session = node_behind.subscribe(&["wanted"]);
    let burst = |topic: &str| {
        let before = proxy.brought();
        other.publish_each(topic, (0..500).map(|_| "x".repeat(2000)).collect());
        before
    };
    let before = burst("unwanted");
    other.publish("wanted", "after them");
    assert_eq!(session.event().data, "after them");
    let brought = proxy.brought() - before;
    assert!(brought < 50_000, "{brought} bytes for a megabyte that nobody wants");
    let before = burst("wanted");
    session.take(500);
    assert!(proxy.brought() - before > 1_000_000);
}
