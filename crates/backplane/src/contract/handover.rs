//! The answer to a join divides a topic's events in two: those up to its heads are in history, those after them are told.
//! That is what lets a session go from replay to live without loss, repeat or reorder.

use towncrier_core::TopicRead;
use towncrier_wire::{EventId, Heads, Topic};

use super::{
    Harness, Setup,
    node::{Heard, Node, assert_same, ids, told_of},
    traffic::Traffic,
};

/// How often a session comes and goes.
const VISITS: usize = 400;

/// Topics that are joined one by one under traffic: each is divided exactly.
pub async fn heads_divide_history_from_live(harness: &impl Harness) {
    for partitions in [1, 4] {
        let node = Node::start(harness, Setup::roomy(partitions)).await;
        let topics = node.topics(12 / partitions);
        let traffic = Traffic::start(&node, &topics);

        let mut seams = Vec::new();
        for topic in &topics {
            traffic.flows(60).await;
            let heads = node.join(&[topic.as_str()]).await;
            seams.push(Seam::at(&node, topic, heads).await);
        }
        traffic.flows(200).await;
        let record = traffic.stop().await;

        let heard = node.settle().await;
        for seam in &seams {
            seam.is_sound(&record.of(&seam.topic), &told_of(&heard, &seam.topic));
        }
    }
}

/// A pattern touches all partitions: each of its topics is divided, also those that have no events before the join.
pub async fn a_pattern_is_divided_in_every_partition(harness: &impl Harness) {
    let node = Node::start(harness, Setup::roomy(4)).await;
    let (old, new): (Vec<_>, Vec<_>) = node.topics(4).into_iter().enumerate().partition(|(index, _)| index % 2 == 0);
    let topics = |side: Vec<(usize, Topic)>| side.into_iter().map(|(_, topic)| topic).collect::<Vec<_>>();
    let (old, new) = (topics(old), topics(new));
    let traffic_on_old = Traffic::start(&node, &old);
    traffic_on_old.flows(100).await;

    let heads = node.join(&["t/*"]).await;
    let mut seams = Vec::new();
    for topic in &old {
        seams.push(Seam::at(&node, topic, heads).await);
    }
    let traffic_on_new = Traffic::start(&node, &new);
    traffic_on_new.flows(100).await;
    traffic_on_old.flows(200).await;

    let (on_old, on_new) = (traffic_on_old.stop().await, traffic_on_new.stop().await);
    let heard = node.settle().await;
    for seam in &seams {
        seam.is_sound(&on_old.of(&seam.topic), &told_of(&heard, &seam.topic));
    }
    for topic in &new {
        let what = format!("{topic} began after the join, so all of it is told:");
        assert_same(&what, &told_of(&heard, topic), &on_new.of(topic));
    }
}

/// A session comes and goes on a busy topic. Each time, history takes it from its cursor to the heads of the join, and the
/// signals from there on: in all, it gets every event once.
pub async fn a_session_that_comes_and_goes_gets_everything_once(harness: &impl Harness) {
    let node = Node::start(harness, Setup::roomy(1)).await;
    let topics = node.topics(2);
    let busy = &topics[0];
    let traffic = Traffic::start(&node, &topics);

    let (mut visits, mut cursor) = (Vec::new(), EventId::ZERO);
    for followed in [busy.as_str(), "t/*", "**"].into_iter().cycle().take(VISITS) {
        traffic.flows(5).await;
        let head = node.join(&[followed]).await[0];
        let mut replay = ids(&node.read(busy, cursor).await.events);
        replay.retain(|id| *id <= head);
        let live = |heard: &[Heard]| newest_of(heard, busy).filter(|id| *id > head);
        cursor = node.wait("event after the join", live).await;
        visits.push((replay, head, cursor));
        node.leave(&[followed]).await;
    }
    let published = traffic.stop().await.of(busy);
    assert!(visits[1..].iter().any(|(replay, ..)| !replay.is_empty()), "there was traffic between the visits");

    let told = told_of(&node.settle().await, busy);
    let mut received = Vec::new();
    for (replay, head, until) in visits {
        received.extend(replay);
        received.extend(told.iter().filter(|id| **id > head && **id <= until));
    }
    let until = published.partition_point(|id| *id <= cursor);
    assert_same("what the session got", &received, &published[..until]);
}

fn newest_of(heard: &[Heard], topic: &Topic) -> Option<EventId> {
    heard.iter().rev().find_map(|heard| match heard {
        Heard::Event(event) if event.topic() == topic => Some(event.id()),
        Heard::Event(_) | Heard::Joined(..) | Heard::Heads(_) => None,
    })
}

/// Where a topic was joined, and what history held right after.
struct Seam {
    topic: Topic,
    head: EventId,
    read: TopicRead,
}

impl Seam {
    async fn at(node: &Node, topic: &Topic, heads: Heads) -> Self {
        let read = node.read(topic, EventId::ZERO).await;
        Self { topic: topic.clone(), head: heads[node.partition(topic)], read }
    }

    /// Nothing that was published is missing, or on both sides.
    fn is_sound(&self, published: &[EventId], told: &[EventId]) {
        let (before, after) = published.split_at(published.partition_point(|id| *id <= self.head));
        assert!(!before.is_empty() && !after.is_empty(), "{}: there was traffic all the time", self.topic);
        let mut read = ids(&self.read.events);
        read.retain(|id| *id <= self.head);
        assert_same(&format!("{}, joined at {}: read", self.topic, self.head), &read, before);
        assert_same(&format!("{}, joined at {}: told", self.topic, self.head), told, after);
    }
}
