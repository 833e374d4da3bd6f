//! What is known of the topics, one by one and in all.

use towncrier_core::store::TopicInfo;
use towncrier_wire::{EventId, Topic};

use super::{
    Harness, Setup,
    node::{ALL, Node, event, in_time, topic},
};

/// In byte order, whichever partitions they fall into.
const NAMES: [&str; 10] =
    ["news", "orders", "orders ", "orders/", "orders/1", "orders/10", "orders/2", "orders/é", "orders/日本", "ordersx"];

/// Topics come in the order of their names, each once, whatever the size of the pages.
pub async fn topics_come_in_order_page_by_page(harness: &impl Harness) {
    let node = with_names(harness).await;

    for limit in 1..=NAMES.len() + 1 {
        let (mut pages, mut after): (Vec<String>, Option<String>) = (Vec::new(), None);
        loop {
            let page = names(&topics(&node, "", after, limit).await);
            assert_eq!(page.len(), limit.min(NAMES.len() - pages.len()), "limit {limit} after {pages:?}");
            if page.is_empty() {
                break;
            }
            pages.extend(page);
            after = pages.last().cloned();
        }
        assert_eq!(pages, NAMES, "limit {limit}");
    }
}

/// A prefix is text, not segments; a page may begin after any name, known or not.
pub async fn topics_are_found_by_prefix(harness: &impl Harness) {
    let node = with_names(harness).await;
    let cases: [(&str, Option<&str>, usize, &[&str]); 12] = [
        ("orders/", None, ALL, &NAMES[3..9]),
        ("orders/1", None, ALL, &NAMES[4..6]),
        ("orders", None, 3, &NAMES[1..4]),
        ("orders", Some("orders/"), 3, &NAMES[4..7]),
        ("orders/", Some("orders/11"), ALL, &NAMES[6..9]),
        ("orders/", Some("a name before them all"), ALL, &NAMES[3..9]),
        ("orders/", Some("z"), ALL, &[]),
        ("orders/", Some("orders/日本"), ALL, &[]),
        ("orders/é", None, ALL, &NAMES[7..8]),
        ("order/", None, ALL, &[]),
        ("Orders", None, ALL, &[]),
        ("", Some("orders/é"), ALL, &NAMES[8..]),
    ];
    for (prefix, after, limit, expected) in cases {
        let found = names(&topics(&node, prefix, after.map(str::to_owned), limit).await);
        assert_eq!(found, expected, "{prefix:?} after {after:?}, at most {limit}");
    }
}

/// A topic tells how many events it holds, their first and its last id; also when it holds none any more.
pub async fn a_topic_tells_what_it_holds(harness: &impl Harness) {
    const KEPT: usize = 3;
    let node = Node::start(harness, Setup { history_events: KEPT, ..Setup::roomy(2) }).await;
    let orders = topic("orders/42");
    assert_eq!(info(&node, &orders).await, None, "nobody knows it");
    assert_eq!(topics(&node, "", None, ALL).await, []);

    let mut published = Vec::new();
    for _ in 0..2 * KEPT {
        published.push(node.publish(&orders, "0123456789").await);
        node.publish(&topic("news"), "of another topic").await;
        let kept = &published[published.len().saturating_sub(KEPT)..];
        holds(&node, &orders, kept, published[published.len() - 1], 10 * kept.len()).await;
    }

    node.clear(&orders).await;
    holds(&node, &orders, &[], published[published.len() - 1], 0).await;
}

/// Totals count the events that are held and the topics that are known.
pub async fn totals_count_everything_held(harness: &impl Harness) {
    const KEPT: usize = 3;
    let node = Node::start(harness, Setup { history_events: KEPT, ..Setup::roomy(4) }).await;
    let all = node.topics(2);
    let totals = async || in_time("totals", node.backplane.totals()).await.expect("totals are answered");
    let counts = async || (totals().await.events, totals().await.topics);
    assert_eq!(counts().await, (0, 0));

    for round in 1..=KEPT + 2 {
        node.publish_all(all.iter().map(|topic| event(topic, "0123456789")).collect()).await;
        let held = all.len() * round.min(KEPT);
        assert_eq!(counts().await, (held, all.len()), "after {round} rounds");
        assert!(totals().await.bytes >= 10 * held, "{:?}", totals().await);
    }

    let before = totals().await;
    node.clear(&all[0]).await;
    assert_eq!(counts().await, (KEPT * (all.len() - 1), all.len()), "a cleared topic is still known");
    assert!(totals().await.bytes < before.bytes, "{:?}, before {before:?}", totals().await);
}

async fn with_names(harness: &impl Harness) -> Node {
    let node = Node::start(harness, Setup::roomy(4)).await;
    // Not in the order in which they are to come back, and some twice.
    for name in NAMES.iter().rev().chain(&NAMES[2..5]) {
        node.publish(&topic(name), "x").await;
    }
    node
}

async fn topics(node: &Node, prefix: &str, after: Option<String>, limit: usize) -> Vec<TopicInfo> {
    in_time("topics", node.backplane.topics(prefix.to_owned(), after, limit)).await.expect("topics are answered")
}

fn names(topics: &[TopicInfo]) -> Vec<String> {
    topics.iter().map(|info| info.topic.to_string()).collect()
}

async fn info(node: &Node, topic: &Topic) -> Option<TopicInfo> {
    in_time("topic", node.backplane.topic(topic.clone())).await.expect("topic is answered")
}

/// What the topic tells of itself and in the list, which is the same. What an event costs is the implementation's own:
/// no less than its data.
async fn holds(node: &Node, topic: &Topic, events: &[EventId], last: EventId, data_bytes: usize) {
    let info = info(node, topic).await.expect("the topic is known");
    assert_eq!(info.topic, *topic);
    assert_eq!(info.events, events.len(), "{info:?}");
    assert_eq!((info.first_id, info.last_id), (events.first().copied(), last), "{info:?}");
    assert!(info.bytes >= data_bytes && (info.bytes > 0 || events.is_empty()), "{info:?}");
    assert!(info.bytes == 0 || !events.is_empty(), "no events, no bytes: {info:?}");
    assert_eq!(topics(node, topic.as_str(), None, 1).await, [info]);
}
