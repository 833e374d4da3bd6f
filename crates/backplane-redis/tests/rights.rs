//! The user of docs/redis.md: it may do what a hub does, and nothing else.

mod support;

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use support::{Node, Redis, event, options, topic, wait};
use towncrier_backplane::{Backplane, Peers, To};
use towncrier_backplane_redis::{Options, inspect};
use towncrier_core::store::Retention;
use towncrier_wire::{EventId, Selector};

const PAGE: &str = include_str!("../../../docs/redis.md");

/// The rules of the page's command, for the prefix of these tests.
fn rules() -> Vec<String> {
    let from = PAGE.find("ACL SETUSER towncrier").expect("the command");
    let command = PAGE[from..].split("```").next().expect("its end");
    command.split_whitespace().skip(3).map(|rule| rule.replace("towncrier", "test")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_the_rights_of_the_page_is_enough_and_none_is_too_many() {
    let mut redis = Redis::with(&["--save", "", "--aclfile", "users.acl"]);
    let rules = rules();
    let command: Vec<_> = ["ACL", "SETUSER", "hub"].into_iter().chain(rules.iter().map(String::as_str)).collect();
    assert_eq!(redis.ask(&command), "+OK\r\n");
    assert_eq!(redis.ask(&["ACL", "SAVE"]), "+OK\r\n");
    let own = Options {
        url: format!("redis+unix://hub:password@x{}", redis.socket().display()),
        retention: Retention { events: 3, age_ms: 1000 },
        topic_age: Duration::from_millis(1500),
        ..options(&redis, 2)
    };
    let (node, other) = (Node::start(own.clone()).await, Node::start(own.clone()).await);
    let gone = Node::start(own).await;
    other.join("**").await;
    other.join("a").await;
    redis.ask(&["SAVE"]);
    for number in 0..5 {
        node.publish("a", &number.to_string()).await;
        node.try_publish("a", &number.to_string(), Some(&format!("a/{number}"))).await.expect("a duplicate");
    }
    // A stream that somebody else wrote to, and an index that somebody made another type of.
    let partition = node.backplane.partitions().of(&topic("a")).index();
    let key = |name: &str| format!("{{test:{partition}}}:{name}");
    let ahead = format!("{}-0", node.settle().await[partition].ms() + 100);
    assert!(redis.ask(&["XADD", &key("s:a"), &ahead, "x", "y"]).starts_with('$'));
    node.publish("a", "above").await;
    redis.ask(&["RENAME", &key("due"), &key("aside")]);
    redis.ask(&["SET", &key("due"), "x"]);
    node.try_publish("a", "x", None).await.expect_err("a key of a wrong type");
    redis.ask(&["RENAME", &key("aside"), &key("due")]);
    node.backplane
        .publish((0..10).map(|_| event("b", "x", None)).collect())
        .await
        .into_iter()
        .for_each(|one| _ = one.expect("stored"));
    assert_eq!(node.backplane.topics(String::new(), None, 10).await.expect("topics").len(), 2);
    node.backplane.read(topic("b"), EventId::ZERO, 10).await.expect("a read");
    node.backplane.totals().await.expect("totals");
    node.backplane.clear(topic("b")).await.expect("cleared");
    let before = used(&redis);
    let denied = redis.ask(&["ACL", "LOG"]);
    assert_eq!(denied, "*0\r\n", "nothing was refused");

    // A census that waits for a node, and is cut short.
    drop(gone);
    redis.tear();
    support::until("no census is open", || redis.read(&["EXISTS", &key("awaited")]).starts_with(":1"));
    redis.ask(&["SAVE"]);
    redis.tear();
    node.publish("c", "after the census").await;
    wait("the census", || (node.backplane.heals().censuses + other.backplane.heals().censuses >= 2).then_some(()))
        .await;
    // Until silent topics are forgotten.
    while !node.backplane.topics(String::new(), None, 10).await.is_ok_and(|topics| topics.is_empty()) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    other.backplane.leave(vec![Selector::new("a").expect("a selector")]).await.expect("taken");
    other.settle().await;
    let (peers, _heard) = node.backplane.peers();
    peers.appear("a card".into()).await.expect("presence");
    peers.tell(To::Others, Bytes::from_static(b"hello")).await.expect("a message");
    peers.disappear().await.expect("taken");
    node.backplane.close().await;
    assert_eq!(redis.ask(&["ACL", "LOG"]), "*0\r\n", "nothing was refused");

    let used: BTreeSet<_> = before.union(&used(&redis)).cloned().collect();
    // What the page says of the look around at the start.
    let denied = |redis: &Redis| redis.ask(&["ACL", "LOG"]) != "*0\r\n";
    let url = format!("redis+unix://hub:password@x{}", redis.socket().display());
    let again = || Options { url: url.clone(), ..options(&redis, 2) };
    assert_eq!(inspect(again()).await.expect("a look").unchecked.len(), 1);
    assert!(denied(&redis));
    redis.ask(&["ACL", "LOG", "RESET"]);
    assert!(PAGE.contains("`+config|get`"));
    redis.ask(&["ACL", "SETUSER", "hub", "+config|get"]);
    assert_eq!(inspect(again()).await.expect("a look").unchecked, []);
    assert!(!denied(&redis), "nothing was refused");

    let superfluous: Vec<_> =
        rules.iter().filter_map(|rule| rule.strip_prefix('+')).filter(|name| !used.contains(*name)).collect();
    assert!(superfluous.is_empty(), "not needed: {superfluous:?}");
}

/// The commands that were called since the start.
fn used(redis: &Redis) -> BTreeSet<String> {
    let info = redis.read(&["INFO", "commandstats"]);
    let names = info.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split(':').next());
    names.map(str::to_owned).collect()
}
