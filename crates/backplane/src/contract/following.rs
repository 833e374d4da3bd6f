//! What a node is told: what it follows, once, in order, and nothing else.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};
use towncrier_wire::{EventId, Partition, Topic};

use super::{
    Harness, Setup,
    node::{DEADLINE, Heard, Node, assert_same, at_once, event, ids, in_time, selector, told, told_of, topic},
    traffic::Traffic,
};

/// A join has one answer. It names the selectors, and the newest id of each partition.
pub async fn a_join_is_answered_once_with_the_newest_ids(harness: &impl Harness) {
    let node = Node::start(harness, Setup::roomy(4)).await;
    let topics = node.topics(2);
    node.publish_all(topics.iter().map(|topic| event(topic, "x")).collect()).await;

    let heads = node.join(&[topics[0].as_str(), "orders/*"]).await;
    let newest = node.newest();
    for partition in node.partitions().iter().map(Partition::index) {
        assert_eq!(heads[partition], newest[partition], "the head of partition {partition}");
    }

    node.publish(&topics[0], "later").await;
    assert_eq!(answers(&node.settle().await, &[topics[0].as_str(), "orders/*"]), 1);
}

/// Joins that are made at the same time have an answer each.
pub async fn joins_at_the_same_time_are_answered_each(harness: &impl Harness) {
    let node = Node::start(harness, Setup::roomy(4)).await;
    let topics = node.topics(8);

    let joins = topics.iter().cloned().map(|topic| {
        let node = node.clone();
        async move { node.join(&[topic.as_str()]).await }
    });
    at_once(joins).await;
    let published = node.publish_all(topics.iter().map(|topic| event(topic, "x")).collect()).await;

    let heard = node.settle().await;
    for (topic, published) in topics.iter().zip(published) {
        assert_eq!(answers(&heard, &[topic.as_str()]), 1, "{topic}");
        assert_eq!(told_of(&heard, topic), [published.id], "{topic}");
    }
}

/// A node hears of the topics that fit its selectors, be they exact, `*` or `**`, and of no other.
pub async fn only_what_fits_is_told(harness: &impl Harness) {
    let cases: [(&str, &[&str], &[&str]); 6] = [
        ("orders/42", &["orders/42"], &["orders", "orders/4", "orders/42/", "orders/421", "Orders/42"]),
        ("orders/*", &["orders/42", "orders/"], &["orders", "orders/42/items", "order/42", "xorders/42"]),
        ("*/42", &["orders/42", "/42"], &["42", "orders/42/42", "orders/43"]),
        ("a/*/c", &["a/b/c", "a//c"], &["a/c", "a/b/b/c", "a/b/c/d"]),
        ("orders/**", &["orders/42", "orders/42/items"], &["orders", "orders2/42", "news/orders/42"]),
        ("**", &["orders", "orders/42", "ünï/cødé", "/", "a/b/c/d/e"], &[]),
    ];
    for (followed, fitting, others) in cases {
        let node = Node::start(harness, Setup::roomy(4)).await;
        node.join(&[followed]).await;
        let topics: Vec<_> = fitting.iter().chain(others).map(|name| topic(name)).collect();

        node.publish_all(topics.iter().map(|topic| event(topic, "in a batch")).collect()).await;
        for topic in &topics {
            node.publish(topic, "alone").await;
        }

        let heard = node.settle().await;
        for topic in &topics {
            let expected = if fitting.contains(&topic.as_str()) { 2 } else { 0 };
            assert_eq!(told_of(&heard, topic).len(), expected, "{followed} follows {topic}");
        }
    }
}

/// An event that fits several selectors is told once.
pub async fn what_fits_several_selectors_is_told_once(harness: &impl Harness) {
    let node = Node::start(harness, Setup::roomy(2)).await;
    let orders = topic("orders/42");
    node.join(&["orders/42", "orders/*"]).await;
    node.join(&["*/42", "**"]).await;
    node.join(&["orders/**"]).await;

    let published = [node.publish(&orders, "1").await, node.publish(&orders, "2").await];

    assert_eq!(told_of(&node.settle().await, &orders), published);
}

/// Whoever joins again has an answer again, and nothing is told twice.
pub async fn joining_again_is_answered_and_doubles_nothing(harness: &impl Harness) {
    let node = Node::start(harness, Setup::roomy(2)).await;
    let orders = topic("orders/42");

    for round in 1..=3 {
        let heads = node.join(&["orders/42", "orders/*", "orders/42"]).await;
        let (heads, newest) = (heads[node.partition(&orders)], node.newest()[node.partition(&orders)]);
        assert!(heads >= newest, "the answer is as new as the join: {heads}, published {newest}");
        node.publish(&orders, "x").await;
        let heard = node.settle().await;
        assert_eq!(answers(&heard, &["orders/42", "orders/*"]), round);
        assert_eq!(told_of(&heard, &orders).len(), round, "{heard:#?}");
    }

    node.leave(&["orders/42", "orders/*"]).await;
    is_told_no_more(&node, &orders).await;
}

/// A topic that was left is soon told no more; others are.
pub async fn leaving_stops_what_is_told(harness: &impl Harness) {
    let node = Node::start(harness, Setup::roomy(2)).await;
    let (orders, news, alerts) = (topic("orders/42"), topic("news"), topic("alerts/a/b"));
    node.join(&["orders/*", "news", "alerts/**"]).await;

    node.leave(&["orders/*"]).await;
    is_told_no_more(&node, &orders).await;
    node.leave(&["news"]).await;
    is_told_no_more(&node, &news).await;
    let still = node.publish(&alerts, "x").await;
    node.hears(&alerts, still).await;
    node.leave(&["alerts/**"]).await;
    is_told_no_more(&node, &alerts).await;

    node.join(&["orders/*"]).await;
    let again = node.publish(&orders, "joined again").await;
    node.hears(&orders, again).await;
}

/// Of two selectors that fit a topic either can be left: what the other wants is still told, and no more than that.
pub async fn leaving_keeps_what_another_selector_wants(harness: &impl Harness) {
    let (orders, sibling) = (topic("orders/42"), topic("orders/43"));
    for (left, kept) in [
        ("orders/42", "orders/*"),
        ("orders/*", "orders/42"),
        ("orders/**", "orders/*"),
        ("**", "orders/**"),
        ("orders/42", "**"),
    ] {
        let node = Node::start(harness, Setup::roomy(2)).await;
        node.join(&[left, kept]).await;
        node.leave(&[left]).await;

        let published = [node.publish(&orders, "1").await, node.publish(&orders, "2").await];
        assert_eq!(told_of(&node.settle().await, &orders), published, "left {left}, kept {kept}");
        if selector(kept).matches(&sibling) {
            let id = node.publish(&sibling, "x").await;
            node.hears(&sibling, id).await;
        } else {
            is_told_no_more(&node, &sibling).await;
        }

        node.leave(&[kept]).await;
        is_told_no_more(&node, &orders).await;
    }
}

/// A selector that is not followed can be left, alone or with others, once or twice.
pub async fn leaving_what_was_not_joined_changes_nothing(harness: &impl Harness) {
    let node = Node::start(harness, Setup::roomy(2)).await;
    let orders = topic("orders/42");
    node.leave(&["orders/42", "orders/*", "**"]).await;
    node.join(&["orders/*"]).await;
    node.leave(&["orders/42", "**", "orders/**", "*/*"]).await;

    let id = node.publish(&orders, "x").await;
    assert_eq!(told_of(&node.settle().await, &orders), [id]);

    node.leave(&["orders/*"]).await;
    node.leave(&["orders/*"]).await;
    is_told_no_more(&node, &orders).await;
}

/// Announced heads move on by what the node does not follow, so that the cursor of a quiet session stays fresh.
pub async fn a_quiet_node_learns_how_far_it_is(harness: &impl Harness) {
    let node = Node::start(harness, Setup::roomy(4)).await;
    let topics = node.topics(1);
    node.join(&["quiet"]).await;

    for round in 0..3 {
        node.publish_all(topics.iter().map(|topic| event(topic, &round.to_string())).collect()).await;
        let heard = node.settle().await;
        let Some(Heard::Heads(heads)) = heard.last() else { panic!("heads come last: {heard:#?}") };
        for topic in &topics {
            let partition = node.partition(topic);
            assert_eq!(heads[partition], node.newest()[partition], "{topic}: nobody published more");
        }
        assert_eq!(told(&heard).count(), 0, "nothing else is told: {heard:#?}");
    }
}

/// Heads that are asked for under traffic, by announcements and by joins of what is followed, are ahead of every event
/// before them and behind every event after them.
pub async fn heads_keep_their_place_among_events(harness: &impl Harness) {
    for partitions in [1, 4] {
        let node = Node::start(harness, Setup::roomy(partitions)).await;
        let topics = node.topics(2);
        // Not all is followed: heads also move past what is not.
        let (followed, _) = topics.split_at(topics.len() / 2);
        node.join(&followed.iter().map(Topic::as_str).collect::<Vec<_>>()).await;
        let traffic = Traffic::start(&node, &topics);

        traffic.flows(50).await;
        let askers = (0..4).map(|asker| {
            let (node, followed) = (node.clone(), selector(followed[0].as_str()));
            async move {
                for _ in 0..250 {
                    let asked = match asker % 2 {
                        0 => node.backplane.announce(),
                        _ => node.backplane.join(vec![followed.clone()]),
                    };
                    in_time("an answer", asked).await.expect("it is taken");
                }
            }
        });
        at_once(askers).await;
        traffic.flows(50).await;

        let record = traffic.stop().await;
        let heard = node.settle().await;
        for topic in followed {
            assert_same(&format!("told of {topic}:"), &told_of(&heard, topic), &record.of(topic));
        }
    }
}

/// A node that stops reading makes publishers wait, at most. When it reads again, everything comes.
pub async fn a_node_that_does_not_read_loses_nothing(harness: &impl Harness) {
    let setup = Setup { signal_bytes_max: 8 * 1024, ..Setup::roomy(2) };
    let (node, mut ear) = Node::start_deaf(harness, setup).await;
    let topics = node.topics(2);
    in_time("join", node.backplane.join(vec![selector("**")])).await.expect("join is taken");
    in_time("an answer to join", ear.take()).await;
    node.wait("answer to join", |heard| (answers(heard, &["**"]) == 1).then_some(())).await;

    let stored = Arc::new(AtomicUsize::new(0));
    let publishers = topics.iter().cycle().take(8).cloned().enumerate().map(|(index, topic)| {
        let (node, stored) = (node.clone(), stored.clone());
        tokio::spawn(async move {
            let data = "x".repeat(1024 << (index % 5));
            for _ in 0..50 {
                node.publish_all(vec![event(&topic, &data), event(&topic, "small")]).await;
                stored.fetch_add(2, Ordering::Relaxed);
            }
        })
    });
    let publishers: Vec<_> = publishers.collect();
    until_it_stands_still(&stored).await;
    ear.listen();
    for publisher in publishers {
        in_time("a publisher", publisher).await.expect("no publish fails");
    }

    let heard = node.settle().await;
    for topic in &topics {
        let read = ids(&node.read(topic, EventId::ZERO).await.events);
        assert_eq!(read.len(), 8 / topics.len() * 100, "{topic}: all were stored");
        assert_same(&format!("told of {topic}:"), &told_of(&heard, topic), &read);
    }
}

/// How many answers name just these selectors.
fn answers(heard: &[Heard], names: &[&str]) -> usize {
    let wanted: BTreeSet<_> = names.iter().map(|name| selector(name)).collect();
    heard.iter().filter(|heard| matches!(heard, Heard::Joined(selectors, _) if *selectors == wanted)).count()
}

/// Waits until an event of the topic is not told, which may take a while after leaving; from then on, none is.
async fn is_told_no_more(node: &Node, topic: &Topic) {
    let told_one = async || {
        let id = node.publish(topic, "to nobody").await;
        told_of(&node.settle().await, topic).contains(&id)
    };
    let began = Instant::now();
    while told_one().await {
        assert!(began.elapsed() < DEADLINE, "{topic}: left, and still told");
        sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..3 {
        assert!(!told_one().await, "{topic}: told again after it had stopped");
    }
}

/// Waits until publishers wait or are done. Were it to return early, the check would be weaker, but not wrong.
async fn until_it_stands_still(count: &AtomicUsize) {
    let mut before = usize::MAX;
    while std::mem::replace(&mut before, count.load(Ordering::Relaxed)) != count.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(50)).await;
    }
}
