//! The answer to a join divides a topic's events in two: those up to its heads are in history, those after them are told.
//! That is what lets a session go from replay to live without loss, repeat or reorder.

use towncrier_core::TopicRead;
use towncrier_wire::{EventId, Heads, Topic};

use super::{
    Harness, Setup,
    node::{Heard, Node, ids, told_of},
    traffic::Traffic,
};

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
    let (old, new): (Vec<_>, Vec<_>) = node
        .topics(4)
        .into_iter()
        .enumerate()
        .partition(|(index, _)| index % 2 == 0);
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
        assert_eq!(
            told_of(&heard, topic),
            on_new.of(topic),
            "{topic}: began after the join, so all is told"
        );
    }
}

/// A topic that is left and joined again under traffic: what was not told in between is at or before the new heads, so
/// history has it.
pub async fn coming_back_leaves_no_hole_but_what_history_holds(harness: &impl Harness) {
    let node = Node::start(harness, Setup::roomy(2)).await;
    let topics = node.topics(2);
    let traffic = Traffic::start(&node, &topics);
    let topic = &topics[0];

    let mut visits = Vec::new();
    for _ in 0..10 {
        traffic.flows(40).await;
        let heads = node.join(&[topic.as_str()]).await;
        let seam = Seam::at(&node, topic, heads).await;
        traffic.flows(40).await;
        let newest = |heard: &[Heard]| told_of(heard, topic).pop().filter(|id| *id > seam.head);
        let newest = node.wait("an event after the join", newest).await;
        visits.push((seam, newest));
        node.leave(&[topic.as_str()]).await;
    }
    traffic.flows(40).await;
    let heads = node.join(&[topic.as_str()]).await;
    let last = Seam::at(&node, topic, heads).await;
    traffic.flows(200).await;
    let record = traffic.stop().await;

    let published = record.of(topic);
    let told = told_of(&node.settle().await, topic);
    last.is_sound(&published, &told);
    for (seam, newest) in &visits {
        seam.history_is_whole(&published);
        let stay = |ids: &[EventId]| -> Vec<_> {
            ids.iter()
                .copied()
                .filter(|id| *id > seam.head && id <= newest)
                .collect()
        };
        assert_eq!(stay(&told), stay(&published), "told from the join at {} on", seam.head);
    }
    assert!(
        told.iter().all(|id| published.contains(id)),
        "nothing is told that was not published"
    );
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
        Self {
            topic: topic.clone(),
            head: heads[node.partition(topic)],
            read,
        }
    }

    /// Nothing that was published is missing, or on both sides.
    fn is_sound(&self, published: &[EventId], told: &[EventId]) {
        self.history_is_whole(published);
        let (_, after) = self.divide(published);
        let live: Vec<_> = told.iter().filter(|id| **id > self.head).copied().collect();
        assert_eq!(live, after, "{}: told after the join at {}", self.topic, self.head);
        assert!(!after.is_empty(), "{}: there was traffic after the join", self.topic);
    }

    fn history_is_whole(&self, published: &[EventId]) {
        let (before, _) = self.divide(published);
        let read: Vec<_> = ids(&self.read.events)
            .into_iter()
            .filter(|id| *id <= self.head)
            .collect();
        assert_eq!(read, before, "{}: read after the join at {}", self.topic, self.head);
        assert!(!before.is_empty(), "{}: there was traffic before the join", self.topic);
    }

    fn divide<'a>(&self, published: &'a [EventId]) -> (&'a [EventId], &'a [EventId]) {
        published.split_at(published.partition_point(|id| *id <= self.head))
    }
}
