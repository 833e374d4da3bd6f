//! What an operator is told of a Redis that is not as it should be. Nothing of it keeps a node from starting.

mod support;

use std::{sync::Arc, time::Duration};

use support::{DEADLINE, Node, Redis, options};
use towncrier_backplane::Findings;
use towncrier_backplane_redis::{ConnectError, Options, inspect};
use towncrier_core::store::Retention;

const GOOD: [&str; 4] = ["--save", "", "--appendonly", "yes"];

async fn found(options: Options) -> Findings {
    let node = Node::start(options).await;
    let found = node.backplane.surroundings().next().await.expect("a backplane");
    println!("{found:#?}");
    found
}

/// What and how it is, of each.
fn subjects(found: &Findings) -> Vec<(&str, &str)> {
    found.findings.iter().map(|one| (one.what.as_str(), one.found.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_redis_as_it_should_be_nothing_is_told() {
    let redis = Redis::with(&GOOD);
    assert_eq!(found(options(&redis, 2)).await, Findings::default());
    assert_eq!(inspect(options(&redis, 2)).await.expect("a look"), Findings::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_setting_is_told_with_what_it_should_be() {
    for (bad, what, how, wanted) in [
        (&["--maxmemory-policy", "allkeys-lru"][..], "maxmemory-policy", "allkeys-lru", "noeviction"),
        (&["--maxmemory-policy", "volatile-ttl"], "maxmemory-policy", "volatile-ttl", "noeviction"),
        (&["--appendonly", "no"], "appendonly", "no, and there are no snapshots", "yes"),
        (&["--appendonly", "no", "--save", "60 1"], "appendonly", "no, only snapshots are made", "yes"),
        (&["--appendfsync", "no"], "appendfsync", "no", "everysec or always"),
        (
            &["--client-output-buffer-limit", "pubsub", "1mb", "0", "0"],
            "client-output-buffer-limit pubsub",
            "1048576 and 0 bytes",
            "33554432 and 8388608 bytes or more",
        ),
    ] {
        let redis = Redis::with(&[&GOOD[..], bad].concat());
        let found = found(options(&redis, 1)).await;
        assert_eq!(subjects(&found), [(what, how)], "{bad:?}");
        let one = &found.findings[0];
        assert_eq!(one.wanted, wanted);
        assert_eq!(one.place, format!("redis {}", redis.url().trim_start_matches("redis+unix://")));
        assert!(one.to_string().starts_with(&format!("{}: {what} is {how}, and should be {wanted}: ", one.place)));
        assert!(!one.to_string().contains('\n') && found.unchecked.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_nearly_full_of_clients_is_told() {
    let redis = Redis::with(&[&GOOD[..], &["--maxclients", "20"]].concat());
    let found = found(options(&redis, 1)).await;
    assert_eq!(subjects(&found).len(), 1, "{found:?}");
    assert!(found.findings[0].found.starts_with("20, of which "), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_are_apart_are_told() {
    let redis = Redis::with(&GOOD);
    let apart = |ms: i64| {
        let own = options(&redis, 1);
        let clock = own.clock.clone();
        Options { clock: Arc::new(move || clock().saturating_add_signed(ms)), ..own }
    };
    for (ms, direction) in [(-20_000, "ahead of"), (20_000, "behind")] {
        let found = found(apart(ms)).await;
        let [one] = &found.findings[..] else { panic!("{found:?}") };
        assert_eq!(one.what, "clock");
        let (by, rest) = one.found.split_once(" ms ").expect("a time");
        let by: i64 = by.parse().expect("a number");
        assert!((by - 20_000).abs() < 500 && rest.starts_with(direction), "{one}");
    }
    assert_eq!(found(apart(200)).await, Findings::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_may_not_ask_is_told_what_was_not_checked() {
    let redis = Redis::with(&[&GOOD[..], &["--appendonly", "no", "--maxmemory-policy", "allkeys-lfu"]].concat());
    redis.ask(&["ACL", "SETUSER", "hub", "on", ">x", "~*", "&*", "+@all", "-config"]);
    redis.ask(&["ACL", "SETUSER", "blind", "on", ">x", "~*", "&*", "+@all", "-config", "-time"]);
    let with = |user: &str| Options {
        url: format!("redis+unix://{user}:x@x{}", redis.socket().display()),
        ..options(&redis, 1)
    };
    let seen = found(with("hub")).await;
    assert_eq!(subjects(&seen), [("maxmemory-policy", "allkeys-lfu"), ("appendonly", "no")]);
    let [one] = &seen.unchecked[..] else { panic!("{seen:?}") };
    assert_eq!(one.what, "save, appendfsync and client-output-buffer-limit");
    assert!(one.why.starts_with("CONFIG GET is refused: NOPERM"), "{one}");

    let seen = inspect(with("blind")).await.expect("a look");
    let what: Vec<_> = seen.unchecked.iter().map(|one| one.what.as_str()).collect();
    assert_eq!(what, ["save, appendfsync and client-output-buffer-limit", "its clock"]);
}

/// As services do that manage Redis.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_without_the_command_is_looked_at_all_the_same() {
    let redis = Redis::with(&[&GOOD[..], &["--rename-command", "CONFIG", ""]].concat());
    let seen = found(options(&redis, 1)).await;
    assert!(seen.findings.is_empty(), "{seen:?}");
    assert!(seen.unchecked[0].why.contains("unknown command"), "{seen:?}");
    assert_eq!(seen.unchecked.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_set_otherwise_are_told() {
    let redis = Redis::with(&GOOD);
    assert_eq!(found(options(&redis, 1)).await, Findings::default());
    let other = Options { retention: Retention { events: 5, age_ms: 3_600_000 }, replicas: 1, ..options(&redis, 1) };
    let expected = [
        ("history.events of the node that started before", "100000"),
        ("backplane.redis.replicas of the node that started before", "0"),
    ];
    assert_eq!(subjects(&inspect(other.clone()).await.expect("a look")), expected, "and nothing is written");
    assert_eq!(subjects(&found(other.clone()).await), expected);
    assert_eq!(found(other).await, Findings::default(), "the one before was set alike");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_writes_nothing_and_says_what_would_keep_a_node_from_starting() {
    let redis = Redis::with(&GOOD);
    inspect(options(&redis, 4)).await.expect("a look");
    assert_eq!(redis.read(&["DBSIZE"]), ":0\r\n");
    drop(found(options(&redis, 4)).await);
    let error = inspect(options(&redis, 2)).await.expect_err("other partitions");
    assert!(matches!(error, ConnectError::OtherPartitions { own: 2, .. }), "{error:?}");

    redis.ask(&["SET", "{test}:settings", "layout=2\nsomething=else"]);
    for error in [
        inspect(options(&redis, 4)).await.expect_err("another layout"),
        towncrier_backplane_redis::connect(options(&redis, 4)).await.expect_err("another layout"),
    ] {
        assert!(matches!(&error, ConnectError::OtherLayout { stored, own: 1 } if stored == "2"), "{error:?}");
    }
    assert!(redis.read(&["GET", "{test}:settings"]).contains("layout=2"));
}

/// After a connection was made again, only what is new is told.
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_is_told_once() {
    let redis = Redis::with(&[&GOOD[..], &["--maxmemory-policy", "allkeys-lru"]].concat());
    let node = Node::start(options(&redis, 1)).await;
    let mut surroundings = node.backplane.surroundings();
    assert_eq!(surroundings.next().await.expect("a backplane").findings.len(), 1);
    redis.ask(&["CONFIG", "SET", "appendonly", "no"]);
    redis.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
    let next = tokio::time::timeout(DEADLINE, surroundings.next()).await.expect("in time").expect("a backplane");
    assert_eq!(subjects(&next), [("appendonly", "no, and there are no snapshots")]);
    redis.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
    let none = tokio::time::timeout(Duration::from_secs(8), surroundings.next()).await;
    assert!(none.is_err(), "{none:?}");
}
