//! What is said at the start, and what a Redis may hold that is not the hub's.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use support::{Node, Redis, data, event, options, topic};
use towncrier_backplane::Backplane;
use towncrier_backplane_redis::{ConnectError, Options, connect};
use towncrier_wire::{EventId, Partitions};

async fn refused(options: Options) -> ConnectError {
    match connect(options).await {
        Ok(_) => panic!("connected"),
        Err(error) => {
            println!("{error}");
            error
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_told() {
    let redis = Redis::with(&["--requirepass", "right"]);
    let url = |credentials: &str| format!("redis+unix://{credentials}{}", redis.socket().display());
    let with = |url: String| Options { url, ..options(&redis, 1) };
    for credentials in ["", ":wrong@x", "nobody:right@x"] {
        let error = refused(with(url(credentials))).await;
        assert!(matches!(error, ConnectError::Credentials(_)), "{credentials}: {error:?}");
        assert!(!error.to_string().contains("wrong"));
    }
    connect(with(url(":right@x"))).await.expect("the right one");
    connect(with(url("default:right@x"))).await.expect("the right one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_rights_is_told_what_is_missing() {
    let redis = Redis::start();
    redis.ask(&["ACL", "SETUSER", "few", "on", ">x", "~{other*", "&{other*", "+@all"]);
    redis.ask(&["ACL", "SETUSER", "enough", "on", ">x", "~{test*", "&{test*", "+@all"]);
    redis.ask(&["ACL", "SETUSER", "mute", "on", ">x", "~{test*", "resetchannels", "+@all"]);
    let with = |user: &str| Options {
        url: format!("redis+unix://{user}:x@x{}", redis.socket().display()),
        ..options(&redis, 1)
    };
    let error = refused(with("few")).await;
    assert!(matches!(error, ConnectError::Permission(_)), "{error:?}");
    refused(with("mute")).await;
    connect(with("enough")).await.expect("enough rights");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_start_is_awaited_by_nobody() {
    let redis = Redis::start();
    redis.ask(&["ACL", "SETUSER", "deaf", "on", ">x", "~*", "&*", "+@all", "-subscribe"]);
    let nodes = || redis.read(&["KEYS", "*nodes"]);
    let _node = Node::start(options(&redis, 2)).await;
    let entered = redis.read(&["ZCARD", "{test:0}:nodes"]);
    let url = format!("redis+unix://deaf:x@x{}", redis.socket().display());
    refused(Options { url, ..options(&redis, 2) }).await;
    assert_eq!(redis.read(&["ZCARD", "{test:0}:nodes"]), entered, "{}", nodes());
    assert!(entered.starts_with(":1"), "{entered:?} of {}", nodes());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_told() {
    let redis = Redis::start();
    let error = refused(Options { url: "redis+unix:///nowhere/s".to_owned(), ..options(&redis, 1) }).await;
    assert!(matches!(error, ConnectError::Unreachable(_)), "{error:?}");
    let error = refused(Options { url: "redis://127.0.0.1:1".to_owned(), ..options(&redis, 1) }).await;
    assert!(matches!(error, ConnectError::Unreachable(_)), "{error:?}");
    redis.freeze();
    let error = refused(options(&redis, 1)).await;
    assert!(matches!(error, ConnectError::Unreachable(_)), "{error:?}");
}

/// A balancer, a failover or an administrator may end connections just as a node starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_connection_is_cut_while_it_starts_tries_again() {
    let redis = Arc::new(Redis::start());
    let cutting = {
        let redis = redis.clone();
        std::thread::spawn(move || {
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(700) {
                redis.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            }
        })
    };
    let node = Node::start(options(&redis, 2)).await;
    cutting.join().unwrap();
    node.join("**").await;
    node.publish("a", "1").await;
    node.hears_all(1).await;
}

/// Two that answer as versions do that are not here to be started: before 6.0, and 6.2.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_redis_is_told() {
    use std::io::{Read, Write};
    let info = "# Server\r\nredis_version:6.2.14\r\n";
    let six = format!("%1\r\n+server\r\n+redis\r\n|${}\r\n{info}\r\n", info.len());
    let five = "-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n".to_owned();
    for (answers, version) in [(five, "before 6.0"), (six, "6.2.14")] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, answers) = (stream.unwrap(), answers.clone());
                std::thread::spawn(move || {
                    let (hello, rest) = answers.split_once('|').unwrap_or((&answers, &answers));
                    let mut buffer = [0; 4096];
                    while let Ok(count @ 1..) = stream.read(&mut buffer) {
                        let asked = String::from_utf8_lossy(&buffer[..count]).into_owned();
                        let answer = if asked.contains("HELLO") { hello } else { rest };
                        stream.write_all(answer.as_bytes()).unwrap();
                    }
                });
            }
        });
        let redis = Redis::start();
        let error = refused(Options { url, ..options(&redis, 1) }).await;
        assert!(matches!(&error, ConnectError::TooOld(found) if found.contains(version)), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hubs_that_do_not_agree_are_told() {
    let redis = Redis::start();
    let first = Node::start(options(&redis, 4)).await;
    let error = refused(options(&redis, 2)).await;
    assert!(matches!(&error, ConnectError::OtherPartitions { stored, own: 2 } if stored == "4"), "{error:?}");
    Node::start(options(&redis, 4)).await;
    let beside = Node::start(Options { prefix: "other".to_owned(), ..options(&redis, 2) }).await;
    beside.join("**").await;
    first.publish("a", "of the first").await;
    beside.publish("a", "of the other").await;
    assert_eq!(data(&beside.hears(1).await), ["of the other"]);
    for prefix in ["", "a b", "a{b", "x\n"] {
        let error = refused(Options { prefix: prefix.to_owned(), ..options(&redis, 4) }).await;
        assert!(matches!(error, ConnectError::Prefix), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_somebody_else_are_told() {
    for key in
        ["{test:0}:meta", "{test:0}:topics", "{test:0}:names", "{test:0}:recent", "{test:0}:due", "{test}:partitions"]
    {
        let redis = Redis::start();
        redis.ask(&["LPUSH", key, "x"]);
        let error = refused(options(&redis, 1)).await;
        assert!(matches!(error, ConnectError::ForeignKey { .. }), "{key}: {error:?}");
    }
    let redis = Redis::start();
    let node = Node::start(options(&redis, 1)).await;
    redis.ask(&["SET", "{test:0}:s:a", "x"]);
    node.try_publish("a", "x", None).await.expect_err("its stream is none");
    node.publish("b", "another topic is not harmed").await;
    redis.ask(&["DEL", "{test:0}:s:a"]);
    node.publish("a", "now it is free").await;
}

/// A key that somebody makes another type of while the hub runs: what is answered with an error is not stored.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_get_a_wrong_type_later_store_nothing() {
    let redis = Redis::start();
    // Nothing but what is asked for here touches the keys.
    let quiet = Options { probe_interval: std::time::Duration::from_secs(60), ..options(&redis, 1) };
    let node = Node::start(quiet).await;
    node.join("**").await;
    node.publish("a", "1").await;
    let mut count = 1;
    for key in ["meta", "topics", "names", "recent", "due", "s:a", "s:new"] {
        let (key, aside) = (format!("{{test:0}}:{key}"), "{test:0}:aside");
        redis.ask(&["RENAME", &key, aside]);
        redis.ask(&["SET", &key, "x"]);
        for name in ["a", "new"] {
            let refused = match key.as_str() {
                // Only new topics are written there.
                "{test:0}:names" | "{test:0}:s:new" => name == "new",
                "{test:0}:s:a" => name == "a",
                _ => true,
            };
            let published = node.try_publish(name, &format!("{key} is none"), None).await;
            assert_eq!(published.is_err(), refused, "{name} with {key}: {published:?}");
            count += usize::from(!refused);
        }
        redis.ask(&["DEL", &key]);
        redis.ask(&["RENAME", aside, &key]);
    }
    node.publish("a", "last").await;
    count += 1;
    let told = node.hears(count).await;
    assert_eq!(told.len(), count);
    let mut held = 0;
    for name in ["a", "new"] {
        let events = node.backplane.read(topic(name), EventId::ZERO, 100).await.unwrap().events;
        for pair in events.windows(2) {
            assert_eq!(pair[1].prev(), pair[0].id());
        }
        held += events.len();
    }
    let totals = node.backplane.totals().await.unwrap();
    assert_eq!((held, totals.events), (count, count), "stored is what was answered as stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_entries_and_messages_are_passed_over() {
    let redis = Redis::start();
    let node = Node::start(options(&redis, 1)).await;
    node.join("a").await;
    let stream = "{test:0}:s:a";
    let first = node.publish("a", "1").await;
    for fields in [&["x", "y"][..], &["e", "", "p", "no id", "d", "x"], &["e", "", "p", "0-0"]] {
        let answer = redis.ask(&[&["XADD", stream, "*"], fields].concat());
        assert!(answer.starts_with('$'), "{answer}");
    }
    let ahead = format!("{}-2000000", first.ms() + 5000);
    redis.ask(&["XADD", stream, &ahead, "x", "y"]);
    let second = node.publish("a", "2").await;
    assert!(second > first);
    redis.ask(&["XADD", stream, "*", "x", "y"]);
    redis.ask(&["PUBLISH", "{test:0}:c:a", "garbage"]);
    redis.ask(&["PUBLISH", "{test:0}:c:a", "e 1-1"]);
    node.publish("a", "3").await;

    assert_eq!(data(&node.hears(3).await), ["1", "2", "3"]);
    let mut after = EventId::ZERO;
    for expected in ["1", "2", "3"] {
        let read = node.backplane.read(topic("a"), after, 1).await.unwrap();
        assert_eq!((data(&read.events), read.more), (vec![expected.to_owned()], expected != "3"));
        after = read.events[0].id();
    }

    redis.ask(&["XADD", stream, "99999999999999999-0", "x", "y"]);
    node.try_publish("a", "4", None).await.expect_err("there is no id above that");
    node.publish("b", "another topic is not harmed").await;
}

/// On one thread, as an actix arbiter has it.
#[tokio::test]
async fn two_nodes_are_told_the_same_in_the_same_order() {
    let redis = Redis::start();
    let nodes = [Arc::new(Node::start(options(&redis, 1)).await), Arc::new(Node::start(options(&redis, 1)).await)];
    for node in &nodes {
        node.join("t/*").await;
    }
    let publishers = (0..8).map(|number| {
        let node = nodes[number % 2].clone();
        tokio::spawn(async move {
            for count in 0..250 {
                node.publish(&format!("t/{}", count % 7), &format!("{number}/{count}")).await;
            }
        })
    });
    for publisher in publishers.collect::<Vec<_>>() {
        publisher.await.unwrap();
    }
    let (one, other) = (nodes[0].hears(2000).await, nodes[1].hears(2000).await);
    assert_eq!(one.len(), 2000);
    assert!(one == other, "both are told the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_does_not_carry_the_ids_away() {
    let redis = Redis::start();
    let now = Arc::new(AtomicU64::new(0));
    let clock = now.clone();
    let wrong = Options { clock: Arc::new(move || clock.load(Ordering::Relaxed)), ..options(&redis, 1) };
    let (wrong, right) = (Node::start(wrong).await, Node::start(options(&redis, 1)).await);
    let mut last = right.publish("a", "0").await;
    let year = last.ms() + 365 * 24 * 3_600_000;
    for (count, ms) in [0, year, u64::MAX, 1].into_iter().enumerate() {
        now.store(ms, Ordering::Relaxed);
        for node in [&wrong, &right] {
            let id = node.publish("a", &format!("{count}/{last}")).await;
            assert!(id > last && id.ms() < last.ms() + 60_000, "{id} after {last}");
            last = id;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_gets_nothing_of_topics_that_it_does_not_follow() {
    let redis = Redis::start();
    let (node, other) = (Node::start(options(&redis, 2)).await, Node::start(options(&redis, 2)).await);
    node.join("followed").await;
    let channels = || redis.read(&["PUBSUB", "CHANNELS", "*:c:*"]);
    assert!(channels().contains(":c:followed"), "{}", channels());
    assert!(redis.read(&["PUBSUB", "CHANNELS", "*:all"]).starts_with("*0"));
    other.backplane.publish((0..100).map(|_| event("unfollowed", "x", None)).collect()).await;
    node.backplane.leave(vec![towncrier_wire::Selector::new("followed").unwrap()]).await.unwrap();
    node.settle().await;
    support::wait("end of the subscription", || channels().starts_with("*0").then_some(())).await;
    assert_eq!(node.backplane.partitions(), Partitions::new(2).unwrap());
}
