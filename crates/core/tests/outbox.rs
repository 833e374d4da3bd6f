//! The outbox against a model in which every member has a queue of its own.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use proptest::{prelude::*, sample::Index};
use towncrier_core::outbox::{Conflated, Entry, LagBound, Next, Outbox};
use towncrier_wire::{Cursor, Event, EventId, Partitions, Topic, limits::BATCH_BYTES_MAX};

#[derive(Debug, Clone, Copy)]
enum Op {
    Attach,
    Detach(Index),
    Push { topic: usize, bytes: usize },
    Seal,
    Next(Index),
    Lagging(LagBound),
    Conflate(Index),
}

fn op() -> impl Strategy<Value = Op> {
    let bytes = prop_oneof![4 => 0..50_usize, 1 => 3_000..6_000_usize, 1 => Just(BATCH_BYTES_MAX)];
    prop_oneof![
        2 => Just(Op::Attach),
        1 => any::<Index>().prop_map(Op::Detach),
        8 => (0..4_usize, bytes).prop_map(|(topic, bytes)| Op::Push { topic, bytes }),
        3 => Just(Op::Seal),
        6 => any::<Index>().prop_map(Op::Next),
        2 => (0..20_000_usize, 0..8_usize).prop_map(|(bytes, events)| Op::Lagging(LagBound { bytes, events })),
        2 => any::<Index>().prop_map(Op::Conflate),
    ]
}

/// What one member has yet to get.
#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Arc<Event>>,
    conflates: bool,
}

impl Queue {
    fn bytes(&self) -> usize {
        self.events.iter().map(|event| event.frame().len()).sum()
    }
}

#[derive(Debug)]
struct Bench {
    outbox: Outbox<usize>,
    /// The payload of a member is its number.
    numbers: BTreeMap<usize, usize>,
    queues: BTreeMap<usize, Queue>,
    open: Vec<Arc<Event>>,
    count: u64,
    conflate_bytes_max: usize,
}

impl Bench {
    fn new(conflate_bytes_max: usize) -> Self {
        Self {
            outbox: Outbox::new(true),
            numbers: BTreeMap::new(),
            queues: BTreeMap::new(),
            open: Vec::new(),
            count: 0,
            conflate_bytes_max,
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Attach => {
                self.seal_model();
                let number = self.numbers.len();
                let key = self.outbox.attach(number);
                self.numbers.insert(number, key);
                self.queues.insert(number, Queue::default());
            }
            Op::Detach(which) => {
                if let Some(number) = self.pick(which) {
                    assert_eq!(self.outbox.detach(self.numbers[&number]), Some(number));
                    self.queues.remove(&number);
                }
                if self.queues.is_empty() {
                    self.open.clear();
                }
            }
            Op::Push { topic, bytes } => self.push(topic, bytes),
            Op::Seal => {
                self.outbox.seal();
                self.seal_model();
            }
            Op::Next(which) => {
                if let Some(number) = self.pick(which) {
                    self.next(number);
                }
            }
            Op::Lagging(bound) => self.lagging(bound),
            Op::Conflate(which) => {
                if let Some(number) = self.pick(which) {
                    self.conflate(number);
                }
            }
        }
        let most = self.queues.values().filter(|queue| !queue.conflates).map(Queue::bytes).max();
        assert_eq!(self.outbox.bytes(), most.unwrap_or(0), "it holds what the slowest member lacks, and no more");
        for (number, queue) in &self.queues {
            let caught_up = queue.events.is_empty() && !queue.conflates;
            assert_eq!(self.outbox.has_caught_up(self.numbers[number]), caught_up);
            let oldest = self.outbox.oldest_of(self.numbers[number]);
            let first = queue.events.front().filter(|_| !queue.conflates).map(|event| event.id());
            assert_eq!(oldest.and_then(|oldest| oldest.id), first, "what it takes next begins with what it lacks");
            // Those of one turn are as old as the first of them.
            assert!(oldest.is_none_or(|oldest| first.is_some_and(|id| oldest.taken_us <= id.seq())));
        }
        for before in [0, self.count / 2, self.count, u64::MAX] {
            let is_behind = |(number, queue): (&usize, &Queue)| {
                let oldest = self.outbox.oldest_of(self.numbers[number]);
                queue.conflates || oldest.is_some_and(|oldest| oldest.taken_us < before)
            };
            let behind = self.queues.iter().filter(|one| is_behind(*one)).count();
            assert_eq!(self.outbox.behind(before), behind, "before {before}");
        }
        assert_eq!(self.outbox.len(), self.queues.len());
    }

    fn pick(&self, which: Index) -> Option<usize> {
        let numbers: Vec<_> = self.queues.keys().copied().collect();
        (!numbers.is_empty()).then(|| *which.get(&numbers))
    }

    fn push(&mut self, topic: usize, bytes: usize) {
        self.count += 1;
        let id = EventId::new(1, self.count).expect("an id");
        let topic = Topic::new(&format!("topic {topic}")).expect("a topic");
        let event = Arc::new(Event::new(topic, id, EventId::ZERO, None, &"x".repeat(bytes)));
        // Each is taken in at the time that its number is.
        self.outbox.push(&event, event.frame().clone(), self.count);
        if !self.queues.is_empty() {
            self.open.push(event);
        }
    }

    fn seal_model(&mut self) {
        for queue in self.queues.values_mut() {
            queue.events.extend(self.open.iter().cloned());
        }
        self.open.clear();
    }

    fn next(&mut self, number: usize) {
        let next = self.outbox.next(self.numbers[&number]);
        if self.queues[&number].conflates {
            self.seal_model();
        }
        let queue = self.queues.get_mut(&number).expect("a member");
        match next {
            Next::Nothing => assert!(queue.events.is_empty() && !queue.conflates),
            Next::Frames { bytes, events } => {
                assert!(!queue.conflates);
                assert!(events == 1 || bytes.len() <= BATCH_BYTES_MAX, "{events} events in {} bytes", bytes.len());
                let frames: Vec<Bytes> = queue.events.drain(..events).map(|event| event.frame().clone()).collect();
                assert_eq!(bytes, frames.concat());
            }
            Next::Conflated(conflated) => {
                assert!(queue.conflates);
                let missed = std::mem::take(queue);
                check_conflated(&conflated, &missed.events, self.conflate_bytes_max);
            }
        }
    }

    fn lagging(&mut self, bound: LagBound) {
        let lags = |queue: &Queue| queue.bytes() > bound.bytes || queue.events.len() > bound.events;
        let lagging = self.queues.iter().filter(|(_, queue)| !queue.conflates && lags(queue));
        let lagging: BTreeSet<_> = lagging.map(|(number, _)| self.numbers[number]).collect();
        assert_eq!(self.outbox.exceeds(bound), !lagging.is_empty());
        assert_eq!(self.outbox.lagging(bound).into_iter().collect::<BTreeSet<_>>(), lagging);
    }

    fn conflate(&mut self, number: usize) {
        self.seal_model();
        let queue = self.queues.get_mut(&number).expect("a member");
        let mut stalled = None;
        self.outbox.conflate(self.numbers[&number], self.conflate_bytes_max, |unread| {
            stalled = Some(unread.iter().map(|entry| entry_id(entry)).collect::<Vec<_>>());
            Cursor::empty(Partitions::ONE)
        });
        if !queue.conflates {
            assert_eq!(stalled, Some(queue.events.iter().map(|event| event.id()).collect()));
            queue.conflates = true;
        }
    }
}

/// The newest event of each topic that was missed, in order, and word of all that was dropped.
fn check_conflated(conflated: &Conflated, missed: &VecDeque<Arc<Event>>, bytes_max: usize) {
    assert!(conflated.cursor.is_some());
    let is_newest = |at: usize| !missed.range(at + 1..).any(|later| later.topic() == missed[at].topic());
    let (newest, older): (Vec<_>, Vec<_>) = (0..missed.len()).partition(|at| is_newest(*at));
    let newest: Vec<_> = newest.into_iter().map(|at| missed[at].clone()).collect();
    let older: BTreeSet<_> = older.into_iter().map(|at| missed[at].topic().clone()).collect();
    let dropped: BTreeSet<_> = conflated.dropped.iter().cloned().collect();
    assert_eq!(dropped.len(), conflated.dropped.len(), "each topic is named once");
    assert!(dropped.is_subset(&older), "nothing of {dropped:?} was dropped");

    let cost: usize = conflated.events.iter().map(|event| event.cost()).sum();
    assert!(conflated.events.len() <= 1 || cost <= bytes_max, "{cost} bytes");
    let mut expected = newest.iter();
    let in_order = conflated.events.iter().all(|event| expected.any(|newest| newest == event));
    assert!(in_order, "they are the newest of their topics, in order");
    if conflated.more_dropped {
        assert!(conflated.events.len() < missed.len(), "nothing was dropped");
    } else {
        assert_eq!(conflated.events, newest);
        assert_eq!(dropped, older);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn members_get_what_they_would_from_queues_of_their_own(
        conflate_bytes_max in prop_oneof![Just(usize::MAX), 1_000..10_000_usize],
        ops in prop::collection::vec(op(), 1..80),
    ) {
        let mut bench = Bench::new(conflate_bytes_max);
        for op in ops {
            bench.apply(op);
        }
    }
}

#[test]
fn a_batch_of_one_is_the_event_itself() {
    let mut outbox = Outbox::new(false);
    let member = outbox.attach(());
    let topic = Topic::new("a").expect("a topic");
    let event = Arc::new(Event::new(topic, EventId::ZERO, EventId::ZERO, None, "data"));
    outbox.push(&event, event.frame().clone(), 0);
    outbox.seal();
    let Next::Frames { bytes, events: 1 } = outbox.next(member) else { panic!("no frame") };
    assert_eq!(bytes.as_ptr(), event.frame().as_ptr());
}

#[test]
fn every_member_is_found_by_slices() {
    let mut outbox = Outbox::new(false);
    let keys: Vec<_> = (0..10).map(|number| outbox.attach(number)).collect();
    keys.iter().step_by(3).for_each(|key| _ = outbox.detach(*key));
    let (mut found, mut from) = (Vec::new(), Some(0));
    while let Some(at) = from {
        let (members, next) = outbox.members(at, 4);
        found.extend(members.copied());
        from = next;
    }
    assert_eq!(found, [1, 2, 4, 5, 7, 8]);
}

fn entry_id(entry: &Entry) -> EventId {
    match entry {
        Entry::Event(event) => event.id(),
        Entry::Gap(cursor) => panic!("a gap at {cursor}"),
    }
}
