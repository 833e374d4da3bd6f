//! Publishing: ids, links, answers, content, idempotency keys.

use std::collections::{BTreeMap, BTreeSet};

use towncrier_wire::{
    Event, EventId, EventType, NewEvent, SpanId, Topic, TraceContext, TraceId, limits::TOPIC_BYTES_MAX,
};

use super::{
    Harness, Setup,
    node::{Node, at_once, event, ids, keyed, told, told_of, topic},
};

/// Ids rise within a partition, from topic to topic and from batch to batch.
pub async fn ids_rise_within_a_partition(harness: &impl Harness) {
    let node = Node::start(harness, Setup::roomy(4)).await;
    let topics = node.topics(3);
    let mut newest = node.newest();

    for round in 0..20 {
        let batch: Vec<_> = topics.iter().cycle().skip(round).take(1 + round).collect();
        let published = node.publish_all(batch.iter().map(|topic| event(topic, "x")).collect()).await;
        for (topic, published) in batch.iter().zip(published) {
            let newest = &mut newest[node.partition(topic)];
            assert!(published.id > *newest, "{topic}: {} came after {newest}", published.id);
            *newest = published.id;
        }
    }
}

/// However many publish at once, each event has an id of its own, and is told exactly once, under that id.
pub async fn publishers_at_the_same_time_share_no_id(harness: &impl Harness) {
    for partitions in [1, 4] {
        let node = Node::start(harness, Setup::roomy(partitions)).await;
        node.join(&["**"]).await;
        let topics = node.topics(2);

        let publishers = (0..16).map(|publisher| {
            let (node, topics) = (node.clone(), topics.clone());
            async move {
                let mut published = Vec::new();
                for round in 0..40 {
                    let batch: Vec<_> = (0..round % 4 + 1)
                        .map(|index| (&topics[(publisher + round + index) % topics.len()], index))
                        .map(|(topic, index)| (topic.clone(), format!("{publisher}/{round}/{index}")))
                        .collect();
                    let events = batch.iter().map(|(topic, data)| event(topic, data)).collect();
                    let answers = node.publish_all(events).await;
                    published.extend(batch.into_iter().zip(answers).map(|((topic, data), answer)| {
                        assert!(!answer.duplicate, "{data}: published once");
                        (node.partition(&topic), answer.id, topic, data)
                    }));
                }
                published
            }
        });
        let published: Vec<_> = at_once(publishers).await.into_iter().flatten().collect();

        let unique: BTreeSet<_> = published.iter().map(|(partition, id, ..)| (*partition, *id)).collect();
        assert_eq!(unique.len(), published.len(), "no two events of a partition share an id");
        let heard = node.settle().await;
        let described = |event: &Event| {
            let topic = event.topic().clone();
            (node.partition(&topic), event.id(), topic, event.data().to_owned())
        };
        let mut told: Vec<_> = told(&heard).map(|event| described(event)).collect();
        told.sort_unstable();
        let mut published = published;
        published.sort_unstable();
        assert!(told == published, "{} were published, {} others told", published.len(), told.len());
    }
}

/// The answers to a batch stand in the order of its events.
pub async fn a_batch_is_answered_in_its_order(harness: &impl Harness) {
    let node = Node::start(harness, Setup::roomy(4)).await;
    let topics = node.topics(3);
    assert_eq!(node.publish_all(Vec::new()).await, [], "nothing is published, nothing is answered");

    let batch: Vec<_> = (0..1000).map(|number| (&topics[number * 7 % topics.len()], number.to_string())).collect();
    let published = node.publish_all(batch.iter().map(|(topic, data)| event(topic, data)).collect()).await;

    for topic in &topics {
        let answered: Vec<_> = batch
            .iter()
            .zip(&published)
            .filter(|((other, _), _)| *other == topic)
            .map(|((_, data), published)| (published.id, data.as_str()))
            .collect();
        let read = node.read(topic, EventId::ZERO).await;
        let read: Vec<_> = read.events.iter().map(|event| (event.id(), event.data())).collect();
        assert_eq!(read, answered, "{topic}");
    }
}

/// `prev` leads from each event to the one before it on its topic, past what history let go of, and ends at no event.
pub async fn each_event_names_the_one_before_it_on_its_topic(harness: &impl Harness) {
    let node = Node::start(harness, Setup { history_events: 7, ..Setup::roomy(2) }).await;
    let topics = node.topics(2);
    node.join(&["t/*"]).await;

    let publishers = topics.iter().cycle().take(8).cloned().map(|topic| {
        let node = node.clone();
        async move {
            for _ in 0..30 {
                node.publish_all(vec![event(&topic, "x"), event(&topic, "y")]).await;
            }
        }
    });
    at_once(publishers).await;
    for topic in &topics {
        node.clear(topic).await;
        node.publish(topic, "after all were cleared").await;
    }

    let heard = node.settle().await;
    for topic in &topics {
        let chain: Vec<_> = told(&heard).filter(|event| event.topic() == topic).collect();
        assert_eq!(chain.len(), 8 / topics.len() * 60 + 1, "{topic}: all were told");
        assert!(chain[0].prev() <= node.floor(topic).await, "{topic}: no event is before the first");
        for pair in chain.windows(2) {
            assert_eq!(pair[1].prev(), pair[0].id(), "{topic}: what event {} names", pair[1].id());
        }
        let read = node.read(topic, EventId::ZERO).await;
        assert_eq!(read.events[..], [chain[chain.len() - 1].clone()], "{topic}: history says what was told");
    }
}

/// Topic, type and data come back byte for byte, told and read alike.
pub async fn what_is_published_comes_back_unchanged(harness: &impl Harness) {
    let node = Node::start(harness, Setup::roomy(4)).await;
    node.join(&["**"]).await;
    let large = "0123456789abcdef".repeat(64 * 1024);
    let longest = "é".repeat(TOPIC_BYTES_MAX / 2);
    let cases = [
        ("plain", Some("created"), "{\"order\":42}"),
        ("empty", None, ""),
        ("spaces", Some(" "), "  "),
        ("line-ends", None, "a\nb\r\nc\rd\n\n\r\r\n"),
        ("lone/line-end", None, "\n"),
        ("nul", None, "a\0b\0"),
        ("sse", Some("id"), "id: 1\n\ndata: x\n: comment\nevent: connected"),
        ("ünï/cødé/日本/🦀", Some("gelöscht 🗑"), "\u{feff}日本語 🦀 \u{2028}\u{85}\u{7f}\u{1b}\u{10ffff}"),
        ("{brace}:colon ~+?[a]\\", Some("*"), "$1 %s {} \\0 \\n \"quoted\""),
        ("//", None, "segments may be empty"),
        (longest.as_str(), None, "the longest topic"),
        ("large", Some("blob"), large.as_str()),
    ];

    let new = |(name, event_type, data): (&str, Option<&str>, &str)| NewEvent {
        event_type: event_type.map(|text| EventType::new(text).expect("an event type")),
        ..event(&topic(name), data)
    };
    let mut published = node.publish_all(cases[1..].iter().copied().map(new).collect()).await;
    published.insert(0, node.publish_one(new(cases[0])).await);

    let heard = node.settle().await;
    for (case, published) in cases.into_iter().zip(published) {
        let new = new(case);
        let told: Vec<_> = told(&heard).filter(|event| event.topic() == &new.topic).collect();
        let [told] = told[..] else { panic!("{}: told {} times", new.topic, told.len()) };
        let expected = Event::new(new.topic.clone(), published.id, told.prev(), new.event_type, &new.data);
        assert_eq!(told.data(), &*new.data, "{}: the data", new.topic);
        assert!(**told == expected, "{}: told differs", new.topic);
        let read = node.read(&new.topic, EventId::ZERO).await;
        assert!(read.events.len() == 1 && *read.events[0] == expected, "{}: read differs", new.topic);
    }
}

/// What is told of an event says which trace it is part of; the events around it are part of none, on any partition.
pub async fn a_trace_goes_along_with_its_event_and_no_other(harness: &impl Harness) {
    let node = Node::start(harness, Setup::roomy(4)).await;
    // One is followed twice, so that it may come twice.
    node.join(&["**", "traced/1"]).await;
    let trace = |number: u128| {
        let (trace_id, span_id) = (TraceId::new(number << 64 | 1), SpanId::new(0xab));
        TraceContext::new(trace_id.expect("an id"), span_id.expect("an id"), number.is_multiple_of(2))
    };
    let traces: Vec<_> = (0..40).map(|number| (number % 3 > 0).then(|| trace(number))).collect();
    let new = |(number, trace): (usize, &Option<TraceContext>)| NewEvent {
        trace: *trace,
        ..event(&topic(&format!("traced/{}", number % 7)), &number.to_string())
    };
    let published = node.publish_all(traces.iter().enumerate().map(new).collect()).await;

    let heard = node.settle().await;
    for (number, (published, trace)) in published.iter().zip(&traces).enumerate() {
        let topic = topic(&format!("traced/{}", number % 7));
        let told: Vec<_> = told(&heard).filter(|event| event.topic() == &topic && event.id() == published.id).collect();
        let [told] = told[..] else { panic!("event {number}: told {} times", told.len()) };
        assert_eq!(told.trace(), trace.as_ref(), "event {number}");
    }
}

/// A publish that is repeated with its key has the first one's answer, and changes nothing.
pub async fn a_key_takes_effect_once(harness: &impl Harness) {
    let node = Node::start(harness, Setup::roomy(2)).await;
    node.join(&["orders/**"]).await;
    let orders = topic("orders/42");

    let first = node.publish_one(keyed(&orders, "first", "k")).await;
    let other = node.publish_one(keyed(&orders, "other", "K")).await;
    let again = node.publish_one(keyed(&orders, "again", "k")).await;
    let plain = [node.publish(&orders, "plain").await, node.publish(&orders, "plain").await];

    assert_eq!((first.duplicate, other.duplicate), (false, false), "no key was seen before");
    assert_eq!((again.duplicate, again.id), (true, first.id), "the key was seen");
    only_these_took_effect(&node, &orders, &[first.id, other.id, plain[0], plain[1]]).await;
    let read = node.read(&orders, EventId::ZERO).await;
    assert_eq!(read.events[0].data(), "first");
}

/// Of many that use a key at the same time one takes effect, and all have its id.
pub async fn a_key_used_by_many_at_once_takes_effect_once(harness: &impl Harness) {
    let node = Node::start(harness, Setup::roomy(2)).await;
    node.join(&["**"]).await;
    let orders = topic("orders/42");

    for round in 0..20 {
        let publishers = (0..16).map(|publisher| {
            let (node, orders) = (node.clone(), orders.clone());
            async move { node.publish_one(keyed(&orders, &publisher.to_string(), &format!("key {round}"))).await }
        });
        let answers = at_once(publishers).await;
        assert!(answers.iter().all(|answer| answer.id == answers[0].id), "one id for all: {answers:?}");
        assert_eq!(answers.iter().filter(|answer| !answer.duplicate).count(), 1, "one took effect: {answers:?}");
    }

    let read = node.read(&orders, EventId::ZERO).await;
    assert_eq!(read.events.len(), 20, "one event for each key");
    only_these_took_effect(&node, &orders, &ids(&read.events)).await;
}

/// A key that stands in a batch twice takes effect at its first place.
pub async fn a_key_counts_once_within_a_batch(harness: &impl Harness) {
    let node = Node::start(harness, Setup::roomy(2)).await;
    node.join(&["**"]).await;
    let (orders, news) = (topic("orders/42"), topic("news"));

    let published = node
        .publish_all(vec![
            keyed(&orders, "0", "k"),
            event(&news, "1"),
            keyed(&orders, "2", "k"),
            keyed(&orders, "3", "other"),
            keyed(&news, "4", "k"),
            keyed(&orders, "5", "k"),
        ])
        .await;

    let duplicates: Vec<_> = published.iter().map(|published| published.duplicate).collect();
    assert_eq!(duplicates, [false, false, true, false, false, true]);
    assert_eq!([published[2].id, published[5].id], [published[0].id; 2], "duplicates have the first one's id");
    only_these_took_effect(&node, &orders, &[published[0].id, published[3].id]).await;
    only_these_took_effect(&node, &news, &[published[1].id, published[4].id]).await;
}

/// The same key on another topic is another key.
pub async fn a_key_belongs_to_its_topic(harness: &impl Harness) {
    let node = Node::start(harness, Setup::roomy(2)).await;
    let topics = node.topics(3);

    let mut first = BTreeMap::new();
    for topic in &topics {
        let published = node.publish_one(keyed(topic, "x", "k")).await;
        assert!(!published.duplicate, "{topic}: its first");
        first.insert(topic.clone(), published.id);
    }
    for topic in &topics {
        let again = node.publish_one(keyed(topic, "x", "k")).await;
        assert_eq!((again.duplicate, again.id), (true, first[topic]), "{topic}: its own");
    }
}

/// A retry that comes late has the first one's answer, even if history no longer holds the event.
pub async fn a_key_outlives_the_event(harness: &impl Harness) {
    let node = Node::start(harness, Setup { history_events: 1, ..Setup::roomy(1) }).await;
    let orders = topic("orders/42");

    let first = node.publish_one(keyed(&orders, "x", "k")).await;
    let newer = node.publish(&orders, "newer").await;
    let again = node.publish_one(keyed(&orders, "x", "k")).await;

    assert_eq!((again.duplicate, again.id), (true, first.id));
    assert_eq!(ids(&node.read(&orders, EventId::ZERO).await.events), [newer]);
}

async fn only_these_took_effect(node: &Node, topic: &Topic, expected: &[EventId]) {
    assert_eq!(ids(&node.read(topic, EventId::ZERO).await.events), expected, "{topic}: read");
    assert_eq!(told_of(&node.settle().await, topic), expected, "{topic}: told");
}
