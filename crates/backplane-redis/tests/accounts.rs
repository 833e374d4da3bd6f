//! Accounts that every node knows, and that survive a Redis which keeps its data.

mod support;

use support::{DEADLINE, Node, Redis, options};
use towncrier_backplane::{Accounts, AccountsInMemory, BackplaneError, Stored};
use towncrier_wire::Name;

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

/// What both kinds of accounts keep.
async fn check(one: &dyn Accounts, other: &dyn Accounts) {
    assert_eq!(one.get(name("anna")).await, Ok(None));
    assert_eq!(one.put(name("anna"), "{\"a\": 1}".into(), true).await, Ok(Stored::Yes));
    assert_eq!(other.put(name("anna"), "another".into(), true).await, Ok(Stored::Taken));
    assert_eq!(other.get(name("anna")).await, Ok(Some("{\"a\": 1}".into())));
    assert_eq!(other.put(name("anna"), "changed".into(), false).await, Ok(Stored::Yes));
    for who in ["bert", "Ärger", "a b"] {
        assert_eq!(one.put(name(who), who.to_uppercase(), false).await, Ok(Stored::Yes));
    }
    let names = |listed: Vec<(Name, String)>| listed.into_iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(other.list(None, 10).await.unwrap()), ["a b", "anna", "bert", "Ärger"]);
    assert_eq!(names(other.list(None, 2).await.unwrap()), ["a b", "anna"]);
    assert_eq!(other.list(Some(name("anna")), 1).await, Ok(vec![(name("bert"), "BERT".into())]));
    assert_eq!(one.remove(name("bert")).await, Ok(true));
    assert_eq!(other.remove(name("bert")).await, Ok(false));
    assert_eq!(names(one.list(None, 10).await.unwrap()), ["a b", "anna", "Ärger"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_knows_them() {
    let mut redis = Redis::with(&["--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
    let (one, other) = (Node::start(options(&redis, 2)).await, Node::start(options(&redis, 2)).await);
    let (one, other) = (one.backplane.accounts(), other.backplane.accounts());
    check(&one, &other).await;
    redis.kill();
    let began = std::time::Instant::now();
    while one.get(name("anna")).await != Err(BackplaneError::Unavailable) {
        assert!(began.elapsed() < DEADLINE);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    redis.run();
    while one.get(name("anna")).await != Ok(Some("changed".into())) {
        assert!(began.elapsed() < DEADLINE);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_hub_of_one_node_keeps_them_in_memory() {
    let accounts = AccountsInMemory::default();
    check(&accounts, &accounts).await;
}
