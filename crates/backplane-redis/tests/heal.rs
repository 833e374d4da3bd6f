//! A Redis that comes back without its tail gets it back from the nodes; or it is told what is lost, and no more than that.

mod support;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use support::{Node, Redis, data, event, options, topic, wait};
use towncrier_backplane::Backplane;
use towncrier_backplane_redis::{Heals, Options};
use towncrier_core::TopicRead;
use towncrier_wire::{Event, EventId};

/// In memory, and on disk only what `SAVE` writes.
fn forgetful() -> Redis {
    Redis::start()
}

async fn history(node: &Node, name: &str) -> Vec<Arc<Event>> {
    read(node, name).await.events
}

async fn read(node: &Node, name: &str) -> TopicRead {
    let began = Instant::now();
    loop {
        match node.backplane.read(topic(name), EventId::ZERO, usize::MAX).await {
            Ok(read) => return read,
            Err(error) => assert!(began.elapsed() < support::DEADLINE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Each event names the one before.
fn chained(events: &[Arc<Event>]) {
    for pair in events.windows(2) {
        assert_eq!(pair[1].prev(), pair[0].id(), "of {}", pair[1].topic());
    }
}

async fn healed(nodes: &[&Node]) -> Heals {
    wait("the end of the census", || {
        let sum = nodes.iter().map(|node| node.backplane.heals()).fold(Heals::default(), |one, other| Heals {
            censuses: one.censuses + other.censuses,
            events: one.events + other.events,
            incomplete: one.incomplete + other.incomplete,
        });
        (sum.censuses > 0).then_some(sum)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_lost_is_put_back() {
    let mut redis = forgetful();
    let (one, two) = (Node::start(options(&redis, 2)).await, Node::start(options(&redis, 2)).await);
    let listener = Node::start(options(&redis, 2)).await;
    one.join("t/1").await;
    listener.join("**").await;
    let topics: Vec<_> = (0..7).map(|number| format!("t/{number}")).collect();
    let mut ids = BTreeSet::new();
    for round in 0..60 {
        if round == 20 {
            redis.ask(&["SAVE"]);
        }
        for (number, name) in topics.iter().enumerate() {
            let node = if (round + number) % 2 == 0 { &one } else { &two };
            ids.insert((name.as_str(), node.publish(name, &format!("{round}")).await));
        }
    }
    let floors = one.backplane.floors().await.unwrap();
    redis.tear();
    let next = two.publish("t/0", "next").await;
    assert!(ids.iter().all(|(name, id)| *name != "t/0" || *id < next), "{next}");
    listener.hears_all(7 * 60 + 1).await;
    assert_eq!(data(&one.hears_all(60).await), (0..60).map(|round| round.to_string()).collect::<Vec<_>>());
    for name in &topics {
        let read = read(&one, name).await;
        chained(&read.events);
        assert_eq!(read.events.len(), if name == "t/0" { 61 } else { 60 });
        ids.extend(read.events.iter().map(|event| (name.as_str(), event.id())));
    }
    assert_eq!(ids.len(), 7 * 60 + 1, "the same ids as before");
    let heals = healed(&[&one, &two, &listener]).await;
    assert_eq!(heals, Heals { censuses: 2, events: 7 * 40, incomplete: 0 });
    assert_eq!(one.backplane.floors().await.unwrap(), floors, "nothing is told to be lost");
    let totals = one.backplane.totals().await.unwrap();
    assert_eq!((totals.events, totals.topics), (7 * 60 + 1, 7));
}

/// They hold different events of one topic, which nobody follows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nodes_published_in_turn_is_put_back_in_turn() {
    let mut redis = forgetful();
    let (one, two) = (Node::start(options(&redis, 1)).await, Node::start(options(&redis, 1)).await);
    one.publish("a", "0").await;
    redis.ask(&["SAVE"]);
    for number in 1..=1500 {
        let node = if number % 3 == 0 { &one } else { &two };
        node.publish("a", &number.to_string()).await;
    }
    let before = history(&one, "a").await;
    redis.tear();
    let after = history(&two, "a").await;
    assert!(after == before, "{} events, {} were there before", after.len(), before.len());
    chained(&after);
}

/// The one that saw least is the first to come back, with a publish.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_saw_nothing_and_publishes_first_hides_nothing() {
    let mut redis = forgetful();
    let (node, listener) = (Node::start(options(&redis, 1)).await, Node::start(options(&redis, 1)).await);
    let blind = Arc::new(Node::start(options(&redis, 1)).await);
    listener.join("a").await;
    redis.ask(&["SAVE"]);
    let mut published = Vec::new();
    for number in 0..200 {
        published.push(node.publish("a", &number.to_string()).await);
    }
    redis.kill();
    let first = tokio::spawn({
        let blind = blind.clone();
        async move { blind.publish("a", "first").await }
    });
    redis.run();
    let first = first.await.unwrap();
    assert!(published.iter().all(|id| *id < first));
    published.push(first);
    let told: Vec<_> = listener.hears_all(201).await.iter().map(|event| event.id()).collect();
    assert!(told == published);
    assert_eq!(history(&blind, "a").await.iter().map(|event| event.id()).collect::<Vec<_>>(), published);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_took_with_it_is_told_to_be_lost() {
    let mut redis = forgetful();
    let (node, listener) = (Node::start(options(&redis, 1)).await, Node::start(options(&redis, 1)).await);
    listener.join("followed").await;
    let kept = listener.publish("unfollowed", "kept").await;
    redis.ask(&["SAVE"]);
    let held = node.publish("followed", "held by the listener").await;
    let gone = node.publish("unfollowed", "held by nobody").await;
    listener.hears(1).await;
    redis.kill();
    drop(node);
    redis.run();
    let next = listener.publish("unfollowed", "next").await;
    assert!(next > gone);
    assert_eq!(data(&history(&listener, "unfollowed").await), ["kept", "next"]);
    assert_eq!(history(&listener, "followed").await[0].id(), held, "what is still held is put back");
    let floor = listener.backplane.floors().await.unwrap()[0];
    assert!(floor >= gone && floor < next && kept < floor, "{floor}");
    wait("the loss", || listener.heard.lock().unwrap().lost.first().map(|heads| assert!(heads[0] >= gone))).await;
    assert!(listener.backplane.losses() > 0);
    assert_eq!(healed(&[&listener]).await.incomplete, 1);
    let counts = listener.backplane.counts();
    assert_eq!((counts.heals, counts.healed_events, counts.heals_incomplete), (1, 1, 1), "{counts:?}");
    assert!(counts.reconnects > 0 && counts.relinks > 0 && counts.resyncs > 0 && counts.losses > 0, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_ended_in_good_order_is_not_waited_for() {
    let mut redis = forgetful();
    let (node, other) = (Node::start(options(&redis, 2)).await, Node::start(options(&redis, 2)).await);
    node.publish("a", "1").await;
    node.backplane.close().await;
    node.try_publish("a", "2", None).await.expect_err("it is closed");
    redis.ask(&["SAVE"]);
    drop(node);
    other.publish("a", "3").await;
    redis.tear();
    assert_eq!(data(&history(&other, "a").await), ["1", "3"]);
    assert_eq!(healed(&[&other]).await.incomplete, 0);
}

/// Its thread stands still, so it takes no part in the census that its event was wanted for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_frozen_is_told_and_goes_on() {
    let mut redis = forgetful();
    let node = Node::start(options(&redis, 1)).await;
    node.join("a").await;
    let own = options(&redis, 1);
    let (orders, mut asked) = tokio::sync::mpsc::channel::<Duration>(1);
    let (answers, mut answered) = tokio::sync::mpsc::channel::<(EventId, usize)>(9);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let frozen = Node::start(own).await;
            frozen.join("b").await;
            let mut number = 0;
            while let Some(pause) = asked.recv().await {
                std::thread::sleep(pause);
                let id = frozen.publish("b", &number.to_string()).await;
                number += 1;
                if number > 2 {
                    wait("the loss", || (!frozen.heard.lock().unwrap().lost.is_empty()).then_some(())).await;
                }
                let lost = frozen.heard.lock().unwrap().lost.len();
                answers.send((id, lost)).await.unwrap();
            }
        });
    });
    let mut ask = async |pause| {
        orders.send(pause).await.unwrap();
        answered.recv().await.expect("an answer")
    };
    let (kept, _) = ask(Duration::ZERO).await;
    redis.ask(&["SAVE"]);
    let (gone, lost) = ask(Duration::ZERO).await;
    assert_eq!(lost, 0);
    // Its own link breaks while it stands still.
    let freezing = ask(Duration::from_secs(7));
    let others = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        redis.tear();
        let next = node.publish("a", "next").await;
        assert!(next > gone);
        wait("the loss", || node.heard.lock().unwrap().lost.first().copied()).await;
        next
    };
    let ((last, lost), next) = tokio::join!(freezing, others);
    assert!(last > next && lost > 0, "{last} after {next}, {lost}");
    let left: Vec<_> = history(&node, "b").await.iter().map(|event| event.id()).collect();
    assert_eq!(left, [kept, last]);
    assert!(node.backplane.floors().await.unwrap()[0] >= gone);
    drop(orders);
    thread.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_could_not_keep_is_told_to_be_lost() {
    let mut redis = forgetful();
    let node = Node::start(Options { heal_bytes: 5_000, ..options(&redis, 1) }).await;
    redis.ask(&["SAVE"]);
    let mut ids = Vec::new();
    for number in 0..10 {
        let data = format!("{number}{}", "x".repeat(1000));
        ids.push(node.try_publish("a", &data, None).await.expect("stored").id);
    }
    redis.tear();
    let left: Vec<_> = history(&node, "a").await.iter().map(|event| event.id()).collect();
    assert!(!left.is_empty() && left.len() < 6 && ids.ends_with(&left), "{left:?}");
    assert!(node.backplane.floors().await.unwrap()[0] >= ids[9]);
    assert_eq!(healed(&[&node]).await, Heals { censuses: 1, events: left.len() as u64, incomplete: 1 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_server_without_loss_costs_nothing() {
    let mut redis = Redis::with(&["--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
    let (node, other) = (Node::start(options(&redis, 2)).await, Node::start(options(&redis, 2)).await);
    other.join("**").await;
    let floors = node.backplane.floors().await.unwrap();
    let mut numbers = Vec::new();
    for round in 0..4 {
        for number in 0..50 {
            numbers.push((round * 50 + number).to_string());
            node.publish("a", numbers.last().unwrap()).await;
        }
        redis.tear();
    }
    node.publish("a", "200").await;
    numbers.push("200".to_owned());
    assert_eq!(data(&other.hears_all(201).await), numbers);
    assert_eq!(node.backplane.floors().await.unwrap(), floors);
    let heals = healed(&[&node, &other]).await;
    assert_eq!((heals.events, heals.incomplete), (0, 0));
}

/// As when a first replica comes: nothing breaks, and publishes wait instead of failing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_another_name_fails_no_publish() {
    let redis = Redis::with(&["--save", "", "--repl-diskless-sync-delay", "0"]);
    let (node, other) = (Node::start(options(&redis, 2)).await, Node::start(options(&redis, 2)).await);
    other.join("**").await;
    let name = || redis.read(&["INFO", "replication"]).lines().find(|line| line.contains("replid:")).map(str::to_owned);
    let before = name();
    let follow = redis.socket().display().to_string();
    let mut number = 0;
    let mut changed = None;
    while changed.is_none_or(|changed: Instant| changed.elapsed() < Duration::from_secs(2)) {
        node.try_publish("a", &number.to_string(), None).await.expect("stored");
        number += 1;
        if number == 100 {
            follows(&follow);
        }
        if changed.is_none() && name() != before {
            changed = Some(Instant::now());
        }
        assert!(number < 100_000, "the name stays");
    }
    other.hears_all(number).await;
    assert_eq!(healed(&[&node, &other]).await.incomplete, 0);
}

/// Asks a server for its log, as a replica does.
fn follows(socket: &str) {
    use std::io::Write;
    let mut stream = std::os::unix::net::UnixStream::connect(socket).expect("a connection");
    stream.write_all(b"PSYNC ? -1\r\n").expect("written");
    std::thread::sleep(Duration::from_millis(100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_node_is_quick() {
    let mut redis = forgetful();
    let node = Node::start(options(&redis, 4)).await;
    redis.ask(&["SAVE"]);
    let batch = (0..5000).map(|number| event(&format!("t/{}", number % 50), &number.to_string(), None));
    node.backplane.publish(batch.collect()).await.into_iter().for_each(|published| _ = published.unwrap());
    redis.tear();
    let began = Instant::now();
    node.publish("a", "x").await;
    let took = began.elapsed();
    println!("published again after {took:?}");
    assert!(took < Duration::from_secs(3), "it waits for nobody: {took:?}");
    let began = Instant::now();
    while node.backplane.totals().await.map(|totals| totals.events) != Ok(5001) {
        assert!(began.elapsed() < support::DEADLINE, "{:?}", node.backplane.totals().await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(healed(&[&node]).await.incomplete, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_that_is_repeated_after_the_loss_takes_effect_once() {
    let mut redis = forgetful();
    let (node, other) = (Node::start(options(&redis, 1)).await, Node::start(options(&redis, 1)).await);
    other.join("**").await;
    redis.ask(&["SAVE"]);
    let first = node.try_publish("a", "x", Some("key")).await.unwrap();
    // Repeated elsewhere: that node acknowledged it too, and holds it.
    let again = other.try_publish("a", "x", Some("key")).await.unwrap();
    assert_eq!((again.id, again.duplicate), (first.id, true));
    redis.tear();
    healed(&[&node, &other]).await;
    for node in [&node, &other] {
        let repeated = loop {
            match node.try_publish("a", "x", Some("key")).await {
                Ok(published) => break published,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        assert_eq!((repeated.id, repeated.duplicate), (first.id, true));
    }
    assert_eq!(history(&node, "a").await.len(), 1);
    other.hears_all(1).await;
}

/// Only the one that repeated the publish is left, and it never sent the event's text.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_publish_is_held_as_it_was_stored() {
    let mut redis = forgetful();
    let (node, other) = (Node::start(options(&redis, 1)).await, Node::start(options(&redis, 1)).await);
    let first = node.try_publish("a", "as it was stored", Some("key")).await.unwrap();
    redis.ask(&["DEL", "{test:0}:nodes"]);
    redis.ask(&["SAVE"]);
    let second = node.try_publish("a", "second", Some("other")).await.unwrap();
    let again = other.try_publish("a", "not the same text", Some("other")).await.unwrap();
    assert_eq!(again.id, second.id);
    redis.kill();
    drop(node);
    redis.run();
    let events = history(&other, "a").await;
    assert_eq!(data(&events), ["as it was stored", "second"]);
    assert_eq!((events[1].id(), events[1].prev()), (second.id, first.id));
}

/// A node was killed between two calls that put events back, and with it the only one that knew how far it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_census_that_nobody_ends_is_ended_by_whoever_comes() {
    let redis = forgetful();
    let node = Node::start(options(&redis, 1)).await;
    node.publish("a", "1").await;
    drop(node);
    let info = redis.read(&["INFO", "replication"]);
    let server = info.lines().find_map(|line| line.strip_prefix("master_replid:")).expect("its name");
    let head = redis.read(&["HGET", "{test:0}:meta", "head"]);
    let head = head.lines().nth(1).expect("an id");
    let mut left = vec!["HSET", "{test:0}:meta"];
    let census = format!("{server}:1.1");
    for (name, value) in [("census", census.as_str()), ("stage", "closing"), ("base", head), ("top", head), ("why", "")]
    {
        left.extend([name, value]);
    }
    for name in ["until", "opened", "told", "had", "newcomers", "handed", "restored"] {
        left.extend([name, "0"]);
    }
    assert!(redis.ask(&left).starts_with(':'));
    let node =
        tokio::time::timeout(Duration::from_secs(10), Node::start(options(&redis, 1))).await.expect("it comes up");
    node.publish("a", "2").await;
    assert_eq!(data(&history(&node, "a").await), ["1", "2"]);
    assert_eq!(node.backplane.heals(), Heals { censuses: 1, events: 0, incomplete: 0 });
}

/// Its answer was lost with the server, the publisher repeated it at another one, and then the first one is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_stored_without_an_answer_and_repeated_elsewhere_is_held_once() {
    let mut redis = forgetful();
    let node = Node::start(options(&redis, 1)).await;
    node.join("**").await;
    node.publish("a", "0").await;
    redis.copy("before");
    let ghost = Node::start(options(&redis, 1)).await;
    let lost = ghost.try_publish("b", "x", Some("key")).await.unwrap().id;
    ghost.backplane.close().await;
    drop(ghost);
    redis.copy("after");
    // A node that was not told of it, as one whose link broke with the server.
    drop(node);
    redis.tear_to("before");
    let node = Node::start(options(&redis, 1)).await;
    node.join("**").await;
    let told = node.try_publish("b", "x", Some("key")).await.unwrap();
    assert!(told.id > lost && !told.duplicate);
    node.hears(1).await;
    redis.tear_to("after");
    let began = Instant::now();
    while history(&node, "b").await.iter().map(|event| event.id()).collect::<Vec<_>>() != [told.id] {
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", history(&node, "b").await);
    }
    let again = node.try_publish("b", "x", Some("key")).await.unwrap();
    assert_eq!((again.id, again.duplicate), (told.id, true));
}
