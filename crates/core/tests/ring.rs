//! Rings against the whole history of their topic.

use std::sync::Arc;

use proptest::{prelude::*, sample::Index};
use towncrier_core::{Ring, TopicRead};
use towncrier_wire::{Event, EventId, Topic};

#[derive(Debug, Clone)]
enum Op {
    /// So many events are published, and only the last of them is seen.
    Publish {
        unseen: usize,
    },
    Pop,
    Clear,
    /// The backplane is asked for what comes after an event, and tells so many at most.
    Ask {
        after: Index,
        limit: usize,
    },
    /// An answer arrives.
    Answer(Index),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => prop_oneof![5 => Just(0), 1 => 1..3_usize].prop_map(|unseen| Op::Publish { unseen }),
        3 => Just(Op::Pop),
        1 => Just(Op::Clear),
        3 => (any::<Index>(), prop_oneof![1 => 1..4_usize, 2 => Just(100)])
            .prop_map(|(after, limit)| Op::Ask { after, limit }),
        3 => any::<Index>().prop_map(Op::Answer),
    ]
}

/// The id of an event by its number, from 1; other topics of the partition have the ids in between.
fn id(number: usize) -> EventId {
    EventId::new(1, 3 * number as u64).expect("an id")
}

fn publish(history: &mut Vec<Arc<Event>>) {
    let topic = Topic::new("a").expect("a topic");
    let prev = history.last().map_or(EventId::ZERO, |event| event.id());
    history.push(Arc::new(Event::new(topic, id(history.len() + 1), prev, None, "data")));
}

fn read(history: &[Arc<Event>], after: EventId, limit: usize) -> TopicRead {
    let events: Vec<_> = history.iter().filter(|event| event.id() > after).cloned().collect();
    TopicRead {
        trimmed: EventId::ZERO,
        more: events.len() > limit,
        events: events.into_iter().take(limit).collect(),
        head: id(history.len()).successor(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Events that were never seen, and answers of any age, make no hole.
    #[test]
    fn nothing_after_the_floor_is_missing(ops in prop::collection::vec(op(), 1..40)) {
        let mut history = Vec::new();
        let mut ring = Ring::after_floor(EventId::ZERO);
        let mut answers = Vec::new();
        for op in ops {
            match op {
                Op::Publish { unseen } => {
                    (0..=unseen).for_each(|_| publish(&mut history));
                    ring.push(history[history.len() - 1].clone());
                }
                Op::Pop => _ = ring.pop(),
                Op::Clear => _ = ring.clear(),
                Op::Ask { after, limit } => {
                    let after = EventId::new(1, after.index(3 * history.len() + 3) as u64).expect("an id");
                    answers.push((after, read(&history, after, limit)));
                }
                Op::Answer(which) if !answers.is_empty() => {
                    let (after, read) = answers.swap_remove(which.index(answers.len()));
                    ring.backfill(after, &read);
                }
                Op::Answer(_) => {}
            }
            let held: Vec<_> = ring.after(EventId::ZERO).cloned().collect();
            let covered = |event: &&Arc<Event>| event.id() > ring.floor() && event.id() <= ring.last();
            let expected: Vec<_> = history.iter().filter(covered).cloned().collect();
            prop_assert_eq!(&held, &expected);
            prop_assert_eq!(ring.bytes(), held.iter().map(|event| event.cost()).sum::<usize>());
            prop_assert_eq!((ring.len(), ring.is_empty(), ring.first()), (held.len(), held.is_empty(), held.first()));
        }
    }
}

#[test]
fn an_event_that_comes_again_is_not_taken_twice() {
    let mut history = Vec::new();
    (0..2).for_each(|_| publish(&mut history));
    let mut ring = Ring::after_floor(EventId::ZERO);
    for event in [&history[0], &history[1], &history[0], &history[1]] {
        ring.push(event.clone());
    }
    assert_eq!(ring.len(), 2);
}

#[test]
fn what_a_ring_tells_is_what_it_holds() {
    let mut history = Vec::new();
    (0..5).for_each(|_| publish(&mut history));
    let mut ring = Ring::after_floor(EventId::ZERO);
    history.iter().for_each(|event| ring.push(event.clone()));
    ring.pop();

    let read = ring.read(id(2), 2);

    assert_eq!((read.trimmed, read.more, read.head), (id(1), true, id(5)));
    assert_eq!(read.events, history[2..4]);
}
