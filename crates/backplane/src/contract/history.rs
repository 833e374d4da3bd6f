//! Reading, and knowing exactly what is lost.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep};
use towncrier_wire::EventId;

use super::{
    Harness, Setup,
    node::{DEADLINE, Node, at_once, event, ids, told_of, topic},
};

/// How much earlier than it should an event may expire: ids are in whole ms.
const AGE_SLACK: Duration = Duration::from_millis(100);

/// Whoever has the answer to a publish can read the event, however busy the topic is.
pub async fn what_was_answered_can_be_read(harness: &impl Harness) {
    let node = Node::start(harness, Setup::roomy(2)).await;
    let topics = node.topics(1);

    let publishers = topics.iter().cycle().take(8).cloned().map(|topic| {
        let node = node.clone();
        async move {
            for _ in 0..25 {
                let id = node.publish(&topic, "x").await;
                let read = node.read_page(&topic, id.predecessor(), 1).await;
                assert_eq!(ids(&read.events), [id], "{topic}");
            }
        }
    });
    at_once(publishers).await;
}

/// A read gives the events after an id, oldest first, whether there is an event with that id or not.
pub async fn a_read_gives_what_came_after_an_id(harness: &impl Harness) {
    let node = Node::start(harness, Setup::roomy(2)).await;
    let (orders, news) = (topic("orders/42"), topic("news"));
    let mut published = Vec::new();
    for number in 0..10 {
        published.push(node.publish(&orders, &number.to_string()).await);
        node.publish(&news, "of another topic").await;
    }

    for id in &published {
        for after in [id.predecessor(), *id, id.successor()] {
            let expected: Vec<_> = published.iter().filter(|id| **id > after).copied().collect();
            let read = node.read(&orders, after).await;
            assert_eq!(ids(&read.events), expected, "after {after}");
            assert!(!read.more, "after {after}: that was all");
        }
    }
    let data: Vec<_> =
        node.read(&orders, EventId::ZERO).await.events.iter().map(|event| event.data().to_owned()).collect();
    assert_eq!(data, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    assert!(node.read(&orders, EventId::MAX).await.events.is_empty());
}

/// A read gives no more than its limit, and says whether there is more; so a topic can be read page by page.
pub async fn a_read_stops_at_its_limit_and_tells_of_more(harness: &impl Harness) {
    let node = Node::start(harness, Setup::roomy(1)).await;
    let orders = topic("orders/42");
    let published = node.publish_all((0..12).map(|_| event(&orders, "x")).collect()).await;
    let published: Vec<_> = published.iter().map(|published| published.id).collect();

    for limit in 1..=13 {
        let (mut pages, mut after) = (Vec::new(), EventId::ZERO);
        loop {
            let read = node.read_page(&orders, after, limit).await;
            let rest = published.len() - pages.len();
            assert_eq!(read.events.len(), limit.min(rest), "limit {limit}, {rest} left");
            assert_eq!(read.more, rest > limit, "limit {limit}, {rest} left");
            pages.extend(ids(&read.events));
            if !read.more {
                break;
            }
            after = pages[pages.len() - 1];
        }
        assert_eq!(pages, published, "limit {limit}");
    }
}

/// Nothing is lost of a topic that nobody has published to, nor of one from which nothing was taken.
pub async fn a_topic_without_events_has_lost_nothing(harness: &impl Harness) {
    let node = Node::start(harness, Setup::roomy(2)).await;
    let (silent, orders) = (topic("silent"), topic("orders/42"));
    let first = node.publish(&orders, "x").await;

    let read = node.read(&silent, EventId::ZERO).await;
    assert!(read.events.is_empty() && !read.more, "{read:?}");
    assert!(read.trimmed <= node.floor(&silent).await, "{read:?}");

    let read = node.read(&orders, EventId::ZERO).await;
    assert_eq!(ids(&read.events), [first]);
    assert!(read.trimmed <= node.floor(&orders).await, "{read:?}");

    assert_eq!(node.clear(&silent).await, 0, "nothing to take away");
    assert_eq!(node.backplane.topic(silent).await, Ok(None), "asking makes no topic");
}

/// History keeps so many events of each topic. The newest that it let go of is known exactly.
pub async fn a_topic_keeps_its_newest_events_and_names_the_newest_lost(harness: &impl Harness) {
    const KEPT: usize = 5;
    let node = Node::start(harness, Setup { history_events: KEPT, ..Setup::roomy(2) }).await;
    let (orders, news) = (topic("orders/42"), topic("news"));
    node.join(&["orders/*"]).await;
    let untouched = node.publish(&news, "x").await;

    let mut published: Vec<EventId> = Vec::new();
    for count in 1..=3 * KEPT {
        // One by one at first, then several at once.
        let batch = if count <= 2 * KEPT { 1 } else { 3 };
        let answers = node.publish_all((0..batch).map(|_| event(&orders, "x")).collect()).await;
        published.extend(answers.iter().map(|published| published.id));

        let (lost, kept) = published.split_at(published.len().saturating_sub(KEPT));
        for after in [EventId::ZERO, published[published.len() / 2], published[published.len() - 1]] {
            let read = node.read(&orders, after).await;
            let expected: Vec<_> = kept.iter().filter(|id| **id > after).copied().collect();
            assert_eq!(ids(&read.events), expected, "after {after} of {published:?}");
            match lost.last() {
                Some(lost) => assert_eq!(read.trimmed, *lost, "after {after} of {published:?}"),
                None => assert!(read.trimmed <= node.floor(&orders).await, "nothing is lost yet: {read:?}"),
            }
        }
    }

    assert_eq!(ids(&node.read(&news, EventId::ZERO).await.events), [untouched], "another topic has room of its own");
    assert_eq!(told_of(&node.settle().await, &orders), published, "what is told does not depend on what is kept");
}

/// What is cleared is gone and counted, and later reads say that it is lost. The topic goes on as before.
pub async fn clearing_takes_all_and_is_told_as_a_loss(harness: &impl Harness) {
    let node = Node::start(harness, Setup::roomy(2)).await;
    let (orders, news) = (topic("orders/42"), topic("news"));
    node.join(&["**"]).await;
    let other = node.publish(&news, "x").await;
    let published = node.publish_all((0..4).map(|_| event(&orders, "x")).collect()).await;
    let last = published[3].id;

    assert_eq!(node.clear(&orders).await, 4);
    let read = node.read(&orders, EventId::ZERO).await;
    assert_eq!((ids(&read.events), read.trimmed, read.more), (vec![], last, false));
    assert_eq!(node.clear(&orders).await, 0, "nothing is left");
    assert_eq!(node.read(&orders, last).await.trimmed, last, "still the same loss");

    let next = node.publish(&orders, "after").await;
    let read = node.read(&orders, EventId::ZERO).await;
    assert_eq!((ids(&read.events), read.trimmed), (vec![next], last));
    assert_eq!(read.events[0].prev(), last, "the link leads to what was cleared");
    assert_eq!(ids(&node.read(&news, EventId::ZERO).await.events), [other], "another topic is as it was");

    let heard = node.settle().await;
    let all: Vec<_> = published.iter().map(|published| published.id).chain([next]).collect();
    assert_eq!(told_of(&heard, &orders), all, "what was told stays told");
    assert!(next > last, "ids do not go back");
}

/// Events are kept for as long as they should be; then they go, and are known to be lost.
pub async fn events_expire_by_age(harness: &impl Harness) {
    let age = Duration::from_millis(600);
    let node = Node::start(harness, Setup { history_age: age, ..Setup::roomy(1) }).await;
    let orders = topic("orders/42");
    let began = Instant::now();
    node.publish(&orders, "old").await;
    let last = node.publish(&orders, "old").await;

    loop {
        let read = node.read(&orders, EventId::ZERO).await;
        let elapsed = began.elapsed();
        if read.events.is_empty() {
            assert!(elapsed + AGE_SLACK >= age, "gone after {elapsed:?} already");
            assert_eq!((read.trimmed, read.more), (last, false));
            break;
        }
        assert!(elapsed < DEADLINE, "still there after {elapsed:?}: {read:?}");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(node.clear(&orders).await, 0, "what has expired is not there to be cleared");
    let info = node.backplane.topic(orders.clone()).await.expect("an answer").expect("the topic is remembered");
    assert_eq!((info.events, info.first_id, info.last_id), (0, None, last));

    let began = Instant::now();
    let new = node.publish(&orders, "new").await;
    let read = node.read(&orders, EventId::ZERO).await;
    if began.elapsed() + AGE_SLACK < age {
        assert_eq!((ids(&read.events), read.trimmed), (vec![new], last));
        assert_eq!(read.events[0].prev(), last, "the link leads to what expired");
    }
}

/// A hub that starts with nothing knows that it knows nothing of what came before it: every older cursor is below its
/// floor, and every event of its own above.
pub async fn the_floor_is_above_all_that_came_before(harness: &impl Harness) {
    let setup = Setup::roomy(4);
    let before = Node::start(harness, setup).await;
    let topics = before.topics(1);
    before.publish_all(topics.iter().map(|topic| event(topic, "x")).collect()).await;
    let old = before.newest();
    drop(before);
    let newest = old.iter().max().expect("a partition").ms();
    while SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() <= u128::from(newest) {
        sleep(Duration::from_millis(1)).await;
    }

    let node = Node::start(harness, setup).await;
    let heads = node.join(&["**"]).await;
    for topic in &topics {
        let (floor, partition) = (node.floor(topic).await, node.partition(topic));
        assert!(floor > old[partition], "{topic}: the floor {floor} is above {}", old[partition]);
        assert!(floor <= heads[partition], "{topic}: the floor {floor} is not above the head {}", heads[partition]);
        let id = node.publish(topic, "x").await;
        assert!(id > heads[partition], "{topic}: the first event {id} is above the head {}", heads[partition]);
        assert_eq!(node.floor(topic).await, floor, "{topic}: publishing does not raise the floor");
    }
}
