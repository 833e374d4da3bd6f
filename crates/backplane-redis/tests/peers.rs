//! Nodes see each other, and hear what the others say, also after their connection was cut.

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use support::{DEADLINE, Redis, options};
use tokio::{sync::mpsc::Receiver, time::timeout};
use towncrier_backplane::{BackplaneError, ControlMessage, Peers, To};
use towncrier_backplane_redis::{RedisBackplane, RedisPeers, connect};

struct Node {
    backplane: RedisBackplane,
    peers: RedisPeers,
    heard: Receiver<ControlMessage>,
}

impl Node {
    async fn start(redis: &Redis) -> Self {
        let (backplane, _) = connect(options(redis, 2)).await.expect("a connection");
        let (peers, heard) = backplane.peers();
        Self { backplane, peers, heard }
    }

    async fn hears(&mut self) -> ControlMessage {
        timeout(DEADLINE, self.heard.recv()).await.expect("a message in time").expect("a message")
    }

    /// Says it again and again until the other hears it: what it hears of other things is dropped.
    async fn reaches(&self, other: &mut Self, text: &'static str) {
        let began = Instant::now();
        loop {
            let _ = self.peers.tell(To::Node(other.peers.node()), Bytes::from_static(text.as_bytes())).await;
            while let Ok(Some(message)) = timeout(Duration::from_millis(50), other.heard.recv()).await {
                if message.payload == text {
                    return;
                }
            }
            assert!(began.elapsed() < DEADLINE, "{text} is heard");
        }
    }
}

fn seen(peers: Vec<towncrier_backplane::Peer>) -> Vec<String> {
    let mut cards: Vec<_> = peers.into_iter().map(|peer| peer.card).collect();
    cards.sort();
    cards
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_see_each_other_until_they_leave() {
    let redis = Redis::start();
    let (one, other) = (Node::start(&redis).await, Node::start(&redis).await);
    assert_ne!(one.peers.node(), other.peers.node());
    assert_eq!(seen(one.peers.appear("one {\"a\": 1}".into()).await.unwrap()), ["one {\"a\": 1}"]);
    assert_eq!(seen(other.peers.appear("other".into()).await.unwrap()), ["one {\"a\": 1}", "other"]);
    assert_eq!(seen(one.peers.appear("one again".into()).await.unwrap()), ["one again", "other"]);
    other.peers.disappear().await.unwrap();
    assert_eq!(seen(one.peers.appear("one".into()).await.unwrap()), ["one"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_says_nothing_any_more_is_gone_in_seconds() {
    let redis = Redis::start();
    let (one, other) = (Node::start(&redis).await, Node::start(&redis).await);
    other.peers.appear("other".into()).await.unwrap();
    drop(other);
    let began = Instant::now();
    while seen(one.peers.appear("one".into()).await.unwrap()).len() > 1 {
        assert!(began.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(began.elapsed() > Duration::from_secs(2), "a moment of silence is no death");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_reach_whom_they_are_for_and_not_their_sender() {
    let redis = Redis::start();
    let mut nodes = [Node::start(&redis).await, Node::start(&redis).await, Node::start(&redis).await];
    let [one, two, three] = &mut nodes;
    one.reaches(two, "are you there").await;
    one.reaches(three, "are you there").await;
    two.reaches(one, "are you there").await;

    one.peers.tell(To::Others, Bytes::from_static(b"{\"to\": \"all\"}\nsecond line")).await.unwrap();
    one.peers.tell(To::Node(three.peers.node()), Bytes::from_static(b"only you")).await.unwrap();
    for node in [&mut *two, three] {
        let message = node.hears().await;
        assert_eq!((message.from, &message.payload[..]), (one.peers.node(), &b"{\"to\": \"all\"}\nsecond line"[..]));
    }
    assert_eq!(three.hears().await.payload, "only you");
    two.reaches(three, "later").await;
    two.peers.tell(To::Node(one.peers.node()), Bytes::from_static(b"fence")).await.unwrap();
    assert_eq!(one.hears().await.payload, "fence", "not what it said itself");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_cut_or_a_redis_that_was_away_is_found_again() {
    let mut redis = Redis::start();
    let (one, mut other) = (Node::start(&redis).await, Node::start(&redis).await);
    one.reaches(&mut other, "first").await;
    redis.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    one.reaches(&mut other, "second").await;
    redis.kill();
    let began = Instant::now();
    while one.peers.tell(To::Others, Bytes::from_static(b"x")).await != Err(BackplaneError::Unavailable) {
        assert!(began.elapsed() < DEADLINE, "it is said that nobody can be told");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    redis.run();
    one.reaches(&mut other, "third").await;
    assert!(one.backplane.losses() <= 1);
}

/// What is larger than a batch of events may be, and what is not the hub's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_pass_and_foreign_ones_are_ignored() {
    let redis = Redis::start();
    let (one, mut other) = (Node::start(&redis).await, Node::start(&redis).await);
    one.reaches(&mut other, "first").await;
    redis.ask(&["PUBLISH", "{test:0}:control", "nonsense"]);
    redis.ask(&["PUBLISH", "{test:0}:control", "n"]);
    redis.ask(&["PUBLISH", "{test:0}:control", "h 0 1 5-0"]);
    let large = Bytes::from("ü".repeat(4 << 20));
    one.peers.tell(To::Others, large.clone()).await.unwrap();
    assert!(other.hears().await.payload == large);
}
