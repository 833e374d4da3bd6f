//! A node whose Redis is killed, flushed, frozen, or cuts it off: it is told everything, once, in order, or history says
//! that something is lost.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use support::{Node, Redis, data, event, options, topic, wait};
use towncrier_backplane::{Backplane, BackplaneError};
use towncrier_backplane_redis::{Options, connect};
use towncrier_core::store::Retention;
use towncrier_wire::{EventId, Selector};

/// Publishes numbers to several topics, each until it is stored, until it is told to stop.
struct Publisher {
    stop: Arc<AtomicBool>,
    published: tokio::task::JoinHandle<Vec<(EventId, String)>>,
}

const TOPICS: usize = 5;

impl Publisher {
    fn start(node: &Arc<Node>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (node, stopped) = (node.clone(), stop.clone());
        let published = tokio::spawn(async move {
            let mut published = Vec::new();
            for number in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let data = number.to_string();
                published.push((node.publish(&format!("t/{}", number % TOPICS), &data).await, data));
            }
            published
        });
        Self { stop, published }
    }

    async fn stop(self) -> Vec<(EventId, String)> {
        self.stop.store(true, Ordering::Relaxed);
        self.published.await.expect("a publisher")
    }
}

/// All that was published was told once, and is in history once.
async fn nothing_is_lost_or_doubled(node: &Node, published: &[(EventId, String)]) {
    let told = node.hears(published.len()).await;
    node.settle().await;
    let mut told: Vec<_> = told.iter().map(|event| (event.id(), event.data().to_owned())).collect();
    let mut published = published.to_vec();
    told.sort_unstable();
    published.sort_unstable();
    assert!(told == published, "told {}, published {}", told.len(), published.len());
    assert_eq!(node.heard.lock().unwrap().events.len(), published.len());
    let mut stored = 0;
    for number in 0..TOPICS {
        stored +=
            node.backplane.read(topic(&format!("t/{number}")), EventId::ZERO, usize::MAX).await.unwrap().events.len();
    }
    assert_eq!(stored, published.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_and_keeps_its_data_costs_nothing() {
    // With `everysec`, Redis answers up to two seconds before it writes when the disk is slow.
    let mut redis = Redis::with(&["--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
    let (publishing, listening) = (Node::start(options(&redis, 2)).await, Node::start(options(&redis, 2)).await);
    let publishing = Arc::new(publishing);
    listening.join("t/*").await;
    publishing.join("t/3").await;
    let publisher = Publisher::start(&publishing);
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        redis.kill();
        tokio::time::sleep(Duration::from_millis(300)).await;
        redis.run();
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    let published = publisher.stop().await;
    assert!(published.len() > TOPICS, "{}", published.len());
    nothing_is_lost_or_doubled(&listening, &published).await;
    publishing.settle().await;
    let of_one = published.iter().filter(|(_, data)| data.parse::<usize>().unwrap() % TOPICS == 3).count();
    assert_eq!(publishing.hears(of_one).await.len(), of_one);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_joined_while_redis_is_away_is_answered_when_it_is_back() {
    let mut redis = Redis::with(&["--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
    let node = Node::start(options(&redis, 2)).await;
    let before = node.publish("a", "before").await;
    redis.kill();
    while node.backplane.totals().await != Err(BackplaneError::Unavailable) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let began = Instant::now();
    assert_eq!(node.try_publish("a", "x", None).await, Err(BackplaneError::Unavailable));
    assert_eq!(node.backplane.totals().await, Err(BackplaneError::Unavailable));
    assert!(began.elapsed() < Duration::from_millis(200), "at once, not after {:?}", began.elapsed());

    let join = node.join("a");
    let heads = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        redis.run();
    };
    let (heads, ()) = tokio::join!(join, heads);
    assert!(heads.contains(&before), "{heads:?}");
    let id = node.publish("a", "after").await;
    assert_eq!(node.hears(1).await[0].id(), id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_comes_back_empty_says_so_and_ids_go_on() {
    let mut redis = Redis::start();
    let node = Node::start(options(&redis, 2)).await;
    node.join("**").await;
    let mut last = EventId::ZERO;
    for round in 0..3 {
        for number in 0..50 {
            let id = node.publish("a", &format!("{round}/{number}")).await;
            assert!(id > last, "{id} after {last}");
            last = id;
        }
        // What is flushed before it is told is lost.
        node.hears(50 * (round + 1)).await;
        let partition = node.backplane.partitions().of(&topic("a")).index();
        let floor = node.backplane.floors().await.unwrap()[partition];
        assert!(floor < last);
        if round == 0 {
            redis.kill();
            redis.run();
        } else {
            redis.ask(&["FLUSHALL"]);
        }
        let floors = loop {
            match node.backplane.floors().await {
                Ok(floors) => break floors,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        assert!(floors[partition] >= last, "round {round}: the floor {} is above {last}", floors[partition]);
        let read = node.backplane.read(topic("a"), EventId::ZERO, 10).await.unwrap();
        assert!(read.events.is_empty(), "nothing is left: {read:?}");
    }
    let told = node.hears(150).await;
    node.settle().await;
    assert_eq!(told.len(), 150);
}

/// The file of an older time, and nobody who holds what is not in it: everything above it is lost, and what was seen is not
/// given again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_lost_its_tail_says_so_and_ids_go_on() {
    let mut redis = Redis::with(&["--save", "", "--appendonly", "no"]);
    let node = Node::start(Options { heal_bytes: 0, ..options(&redis, 1) }).await;
    node.join("**").await;
    let kept = node.publish("a", "kept").await;
    redis.ask(&["SAVE"]);
    let lost = node.publish("a", "lost").await;
    node.hears(2).await;
    redis.kill();
    redis.run();
    let next = node.publish("a", "next").await;
    assert!(next > lost);
    let read = node.backplane.read(topic("a"), EventId::ZERO, 10).await.unwrap();
    assert_eq!(read.events.iter().map(|event| event.id()).collect::<Vec<_>>(), [kept, next]);
    let floor = node.backplane.floors().await.unwrap()[0];
    assert!(floor >= lost && floor < next, "{floor}");
    assert_eq!(data(&node.hears(3).await), ["kept", "lost", "next"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_redis_fails_publishes_fast_and_loses_nothing() {
    let redis = Redis::start();
    let node = Arc::new(Node::start(options(&redis, 2)).await);
    let other = Node::start(options(&redis, 2)).await;
    other.join("t/*").await;
    let publisher = Publisher::start(&node);
    tokio::time::sleep(Duration::from_millis(200)).await;
    redis.freeze();
    let frozen = Instant::now();
    let mut errors = Vec::new();
    while frozen.elapsed() < Duration::from_secs(4) {
        let began = Instant::now();
        errors.push(node.try_publish("x", "y", None).await.expect_err("frozen"));
        assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(errors.len() > 20, "one timeout, then at once: {errors:?}");
    redis.thaw();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let published = publisher.stop().await;
    nothing_is_lost_or_doubled(&other, &published).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_cut_in_a_burst_loses_nothing() {
    let redis = Arc::new(Redis::start());
    let node = Arc::new(Node::start(options(&redis, 2)).await);
    node.join("t/*").await;
    for number in 0..TOPICS {
        node.join(&format!("t/{number}")).await;
    }
    let publisher = Publisher::start(&node);
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        redis.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    }
    let published = publisher.stop().await;
    nothing_is_lost_or_doubled(&node, &published).await;
}

/// Nothing comes after it that would show the hole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_message_of_a_quiet_topic_is_not_lost_with_the_link() {
    let redis = Redis::start();
    let (node, other) = (Node::start(options(&redis, 2)).await, Node::start(options(&redis, 2)).await);
    other.join("quiet").await;
    for round in 1..=20 {
        redis.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        let began = Instant::now();
        node.publish("quiet", &round.to_string()).await;
        assert_eq!(other.hears(round).await.len(), round);
        assert!(began.elapsed() < Duration::from_secs(5), "after {:?}", began.elapsed());
    }
}

/// History no longer holds what was missed: that is counted, and what is still there is told in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_above_history_is_known_to_be_lost() {
    let redis = Redis::start();
    let small = Options {
        retention: Retention { events: 100, age_ms: 3_600_000 },
        intake_bytes_max: 64 * 1024,
        signal_bytes_max: 64 * 1024,
        ..options(&redis, 1)
    };
    let (backplane, signals) = connect(small.clone()).await.unwrap();
    backplane.join(vec![Selector::new("a").unwrap()]).await.unwrap();
    let publisher = Node::start(small).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    for _ in 0..20 {
        publisher.backplane.publish((0..500).map(|_| event("a", "x", None)).collect()).await;
    }
    let last = publisher.publish("a", "last").await;
    assert_eq!(backplane.losses(), 0, "not before it is known");
    let node = Node::of(backplane, signals);
    let newest = || node.heard.lock().unwrap().events.last().map(|event| event.id());
    wait("the newest event", || (newest() == Some(last)).then_some(())).await;
    let told = node.hears(100).await;
    assert!(told.len() < 10_001 && node.backplane.losses() > 0, "{} told", told.len());
}

/// The command connection is cut as well: a publish whose answer is lost is repeated with its key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_double_nothing() {
    let redis = Arc::new(Redis::start());
    let node = Arc::new(Node::start(options(&redis, 1)).await);
    node.join("**").await;
    let publisher = Publisher::start(&node);
    for kind in ["normal", "pubsub"].into_iter().cycle().take(10) {
        tokio::time::sleep(Duration::from_millis(150)).await;
        redis.ask(&["CLIENT", "KILL", "TYPE", kind]);
    }
    let published = publisher.stop().await;
    nothing_is_lost_or_doubled(&node, &published).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_above_all_buffers_is_told_whole() {
    const EVENTS: usize = 100_000;
    let redis = Redis::start();
    let tight = Options { intake_bytes_max: 256 * 1024, signal_bytes_max: 256 * 1024, ..options(&redis, 2) };
    let (backplane, signals) = connect(tight.clone()).await.unwrap();
    // This one does not listen yet.
    backplane.join(vec![Selector::new("t/*").unwrap()]).await.unwrap();
    let other = Node::start(tight).await;
    other.join("t/*").await;
    let publisher = Node::start(options(&redis, 2)).await;
    let began = Instant::now();
    for first in (0..EVENTS).step_by(5000) {
        let batch = (first..first + 5000).map(|number| event(&format!("t/{}", number % 10), &number.to_string(), None));
        for published in publisher.backplane.publish(batch.collect()).await {
            published.unwrap();
        }
    }
    println!("published {EVENTS} in {:?}", began.elapsed());
    let late = Node::of(backplane, signals);
    for node in [&other, &late] {
        let told = node.hears(EVENTS).await;
        let mut numbers: Vec<usize> = told.iter().map(|event| event.data().parse().unwrap()).collect();
        numbers.sort_unstable();
        assert!(numbers == (0..EVENTS).collect::<Vec<_>>(), "{} told", numbers.len());
        println!("told after {:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_topics_are_followed_again_soon() {
    const MANY: usize = 10_000;
    let redis = Redis::start();
    let node = Node::start(options(&redis, 4)).await;
    let selectors = (0..MANY).map(|number| Selector::new(&format!("many/{number}")).unwrap()).collect();
    node.backplane.join(selectors).await.unwrap();
    wait("answer", || (!node.heard.lock().unwrap().joined.is_empty()).then_some(())).await;
    redis.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let began = Instant::now();
    let batch = (0..MANY).map(|number| event(&format!("many/{number}"), "x", None)).collect();
    node.backplane.publish(batch).await.into_iter().for_each(|published| _ = published.unwrap());
    assert_eq!(node.hears(MANY).await.len(), MANY);
    println!("all {MANY} told after {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_that_are_silent_for_long_are_forgotten_and_the_floor_says_so() {
    let redis = Redis::start();
    let short = Options {
        retention: Retention { events: 10, age_ms: 100 },
        topic_age: Duration::from_millis(100),
        probe_interval: Duration::from_millis(50),
        ..options(&redis, 1)
    };
    let node = Node::start(short).await;
    let id = node.publish("a", "x").await;
    let began = Instant::now();
    let stream = "{test:0}:s:a";
    while !redis.read(&["EXISTS", stream]).starts_with(":0") {
        assert!(began.elapsed() < support::DEADLINE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while node.backplane.topic(topic("a")).await.unwrap().is_some() {
        assert!(began.elapsed() < support::DEADLINE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() > Duration::from_millis(1000), "remembered longer than its events");
    assert_eq!(node.backplane.floors().await.unwrap()[0], id);
    let totals = node.backplane.totals().await.unwrap();
    assert_eq!((totals.events, totals.bytes, totals.topics), (0, 0, 0));
    for key in ["topics", "names", "recent", "due"] {
        assert!(redis.read(&["EXISTS", &format!("{{test:0}}:{key}")]).starts_with(":0"), "{key} is left");
    }
}
