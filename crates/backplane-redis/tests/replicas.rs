//! A primary with replicas: publishes that wait for these, a replica that takes over, and a Sentinel that wants a password.

mod support;

use std::time::{Duration, Instant};

use support::{Node, Redis, data, options, port, topic, until};
use towncrier_backplane::{Backplane, BackplaneError};
use towncrier_backplane_redis::{ConnectError, Options, connect};
use towncrier_wire::EventId;

/// A primary and its replica, both in memory only.
struct Pair {
    primary: Redis,
    replica: Redis,
    ports: [String; 2],
}

impl Pair {
    fn start() -> Self {
        let ports = [port(), port()];
        let own = |port| ["--bind", "127.0.0.1", "--port", port, "--save", "", "--repl-diskless-sync-delay", "0"];
        let primary = Redis::with(&own(&ports[0]));
        let follow = format!("127.0.0.1 {}", ports[0]);
        let replica = Redis::with(&[&own(&ports[1])[..], &["--replicaof", &follow]].concat());
        let pair = Self { primary, replica, ports };
        pair.until_followed();
        pair
    }

    fn until_followed(&self) {
        until("the replica does not follow", || {
            self.primary.read(&["INFO", "replication"]).contains("state=online,offset")
                && self.replica.read(&["INFO", "replication"]).contains("master_link_status:up")
        });
    }

    fn sentinel(&self, more: &str) -> (Redis, String) {
        let own = port();
        let sentinel = Redis::sentinel_with(&own, &self.ports[0], more);
        (sentinel, own)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_waits_for_replicas() {
    let pair = Pair::start();
    let careful = Options { replicas: 1, replica_timeout: Duration::from_millis(300), ..options(&pair.primary, 2) };
    let node = Node::start(careful.clone()).await;
    node.join("**").await;
    for number in 0..20 {
        let id = node.publish("a", &number.to_string()).await;
        let held = pair.replica.read(&["XREVRANGE", &stream(&node), "+", "-", "COUNT", "1"]);
        assert!(held.contains(&id.to_string()), "the replica has it: {held}");
    }
    let began = Instant::now();
    let batch = (0..1000).map(|number| support::event(&format!("t/{}", number % 9), "x", None)).collect();
    assert!(node.backplane.publish(batch).await.iter().all(Result::is_ok));
    println!("a batch of 1000 took {:?}", began.elapsed());

    pair.replica.freeze();
    let began = Instant::now();
    assert_eq!(node.try_publish("a", "late", Some("key")).await, Err(BackplaneError::TimedOut));
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    // What is stored already is answered no sooner.
    assert_eq!(node.try_publish("a", "late", Some("key")).await, Err(BackplaneError::TimedOut));
    assert!(node.backplane.totals().await.is_ok(), "nothing else waits");
    let many = (0..50).map(|number| {
        let node = &node;
        async move { node.try_publish("b", &number.to_string(), None).await }
    });
    let began = Instant::now();
    let answers = futures_util::future::join_all(many).await;
    assert!(answers.iter().all(|answer| *answer == Err(BackplaneError::TimedOut)), "{answers:?}");
    assert!(began.elapsed() < Duration::from_millis(1200), "they wait together: {:?}", began.elapsed());
    pair.replica.thaw();
    pair.until_followed();
    let stored = loop {
        match node.try_publish("a", "late", Some("key")).await {
            Ok(published) => break published,
            Err(error) => assert_eq!(error, BackplaneError::TimedOut),
        }
    };
    assert!(stored.duplicate);
    let held = pair.replica.read(&["XREVRANGE", &stream(&node), "+", "-", "COUNT", "1"]);
    assert!(held.contains(&stored.id.to_string()), "{held}");

    let hasty = Options { replicas: 2, ..careful };
    assert_eq!(Node::start(hasty).await.try_publish("a", "x", None).await, Err(BackplaneError::TimedOut));
}

fn stream(node: &Node) -> String {
    format!("{{test:{}}}:s:a", node.backplane.partitions().of(&topic("a")).index())
}

/// The replica stands still while several nodes publish and listen, and then takes over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lagged_gets_what_it_lacks_from_the_nodes() {
    let mut pair = Pair::start();
    let (sentinel, own) = pair.sentinel("");
    until("the sentinel does not know the replica", || {
        sentinel.read(&["SENTINEL", "REPLICAS", "main"]).contains(&pair.ports[1])
    });
    let url = format!("redis-sentinel://127.0.0.1:{own}?sentinelServiceName=main");
    let options = Options { url, ..options(&pair.primary, 2) };
    let nodes = [Node::start(options.clone()).await, Node::start(options.clone()).await, Node::start(options).await];
    nodes[0].join("**").await;
    nodes[1].join("t/1").await;
    let mut last = EventId::ZERO;
    let mut publish = async |number: usize| {
        let id = nodes[number % 3].publish(&format!("t/{}", number % 2), &number.to_string()).await;
        last = last.max(id);
    };
    for number in 0..50 {
        publish(number).await;
    }
    let offset = |redis: &Redis| {
        let info = redis.read(&["INFO", "replication"]);
        info.lines().find_map(|line| line.strip_prefix("master_repl_offset:").map(str::to_owned))
    };
    until("the replica lags", || offset(&pair.primary) == offset(&pair.replica));
    // What is sent while it stands still, it would read afterwards: it is cut off before.
    pair.replica.freeze();
    pair.primary.ask(&["CLIENT", "KILL", "TYPE", "replica"]);
    for number in 50..150 {
        publish(number).await;
    }
    pair.primary.kill();
    pair.replica.thaw();
    let began = Instant::now();
    for number in 150..200 {
        publish(number).await;
    }
    println!("published again after {:?}", began.elapsed());
    let told = nodes[0].hears_all(200).await;
    for number in 0..2 {
        let expected: Vec<_> = (number..200).step_by(2).map(|number| number.to_string()).collect();
        let name = format!("t/{number}");
        let of_topic: Vec<_> = told.iter().filter(|event| event.topic().as_str() == name).cloned().collect();
        assert_eq!(data(&of_topic), expected);
        let read = nodes[2].backplane.read(topic(&name), EventId::ZERO, 1000).await.unwrap();
        support::same(&read.events, &of_topic);
    }
    nodes[1].hears_all(100).await;
    let heals: Vec<_> = nodes.iter().map(|node| node.backplane.heals()).collect();
    assert!(heals.iter().map(|heals| heals.events).sum::<u64>() >= 100, "{heals:?}");
    assert!(heals.iter().all(|heals| heals.incomplete == 0), "{heals:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentinel_may_want_a_password_of_its_own() {
    let pair = Pair::start();
    pair.primary.ask(&["ACL", "SETUSER", "hub", "on", ">of-redis", "~*", "&*", "+@all"]);
    let (_open, unguarded) = pair.sentinel("");
    let (_guarded, guarded) = pair.sentinel("requirepass of-sentinel\nuser watcher on >of-watcher allchannels +@all\n");
    let with = |sentinel: &str, redis: &str, more: &str| Options {
        url: format!("redis-sentinel://hub:{redis}@127.0.0.1:{sentinel}?sentinelServiceName=main{more}"),
        ..options(&pair.primary, 1)
    };
    for (redis, more) in
        [("of-redis", ""), ("of-redis", "&sentinelPassword=wrong-one"), ("wrong-one", "&sentinelPassword=of-sentinel")]
    {
        let error = connect(with(&guarded, redis, more)).await.expect_err("refused");
        println!("{error}");
        assert!(matches!(error, ConnectError::Credentials(_) | ConnectError::Unreachable(_)), "{error:?}");
        assert!(!error.to_string().contains("of-") && !error.to_string().contains("wrong"), "{error}");
    }
    for more in ["&sentinelPassword=of-sentinel", "&sentinelUsername=watcher&sentinelPassword=of-watcher"] {
        Node::start(with(&guarded, "of-redis", more)).await.publish("a", "x").await;
    }
    // What Redis wants is not for Sentinel.
    Node::start(with(&unguarded, "of-redis", "")).await.publish("a", "x").await;
}
