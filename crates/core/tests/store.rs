//! The store against a model that keeps everything in plain lists.

use std::collections::BTreeMap;

use proptest::prelude::*;
use towncrier_core::{
    Retention, Store,
    store::{Options, Totals},
};
use towncrier_wire::{EventId, Heads, Name, NewEvent, Partitions, Topic};

const TOPICS: [&str; 5] = ["a", "a/1", "a/b/1", "b/1", "c"];
const PREFIXES: [&str; 3] = ["a/", "a/b/", "c"];

/// The store counts so much for a topic.
const TOPIC_COST: usize = 256;

#[derive(Debug, Clone)]
enum Op {
    Publish {
        topic: usize,
        bytes: usize,
        key: Option<usize>,
    },
    Clear(usize),
    /// The clock goes on, or back.
    Clock(i64),
    Read {
        topic: usize,
        back: usize,
        limit: usize,
    },
    Topics {
        prefix: usize,
        after: Option<usize>,
        limit: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let topic = 0..TOPICS.len();
    let key = prop_oneof![2 => Just(None), 1 => (0..3_usize).prop_map(Some)];
    prop_oneof![
        10 => (topic.clone(), 0..200_usize, key).prop_map(|(topic, bytes, key)| Op::Publish { topic, bytes, key }),
        1 => topic.clone().prop_map(Op::Clear),
        4 => prop_oneof![3 => 0..20_i64, 1 => -30..0_i64].prop_map(Op::Clock),
        3 => (topic.clone(), 0..12_usize, 0..4_usize).prop_map(|(topic, back, limit)| Op::Read { topic, back, limit }),
        1 => (0..PREFIXES.len(), prop::option::of(topic), 0..4_usize)
            .prop_map(|(prefix, after, limit)| Op::Topics { prefix, after, limit }),
    ]
}

fn retention() -> impl Strategy<Value = Retention> {
    (1..6_usize, 1..60_u64).prop_map(|(events, age_ms)| Retention { events, age_ms })
}

prop_compose! {
    fn options()(
        partitions in 1..=3_usize,
        retention in retention(),
        namespaces in prop::collection::vec(retention(), PREFIXES.len()),
        bytes_max in prop_oneof![1 => 500..4_000_usize, 1 => Just(usize::MAX)],
        topics_max in prop_oneof![1 => 1..5_usize, 1 => Just(usize::MAX)],
        idempotency_age_ms in 0..40_u64,
        idempotency_keys_max in 1..5_usize,
    ) -> Options {
        let namespaces = PREFIXES.iter().map(|&prefix| prefix.to_owned()).zip(namespaces).collect();
        let partitions = Partitions::new(partitions).expect("a number of partitions");
        Options { partitions, retention, namespaces, bytes_max, topics_max, idempotency_age_ms, idempotency_keys_max }
    }
}

/// An event that was published.
#[derive(Debug, Clone)]
struct Fact {
    topic: Topic,
    class: usize,
    id: EventId,
    cost: usize,
}

#[derive(Debug)]
struct Model {
    options: Options,
    heads: Heads,
    floors: Heads,
    /// Every event that ever was.
    all: Vec<Fact>,
    /// Those that are retained, in the order in which they came.
    kept: Vec<Fact>,
    /// Topics that are known, and the newest event of each.
    topics: BTreeMap<Topic, EventId>,
    /// Those of them without events, in the order in which they became so.
    empty: Vec<Topic>,
    keys: Vec<(u64, Topic, usize, EventId)>,
}

impl Model {
    fn new(options: Options, now_ms: u64) -> Self {
        let start = [EventId::new(now_ms, 0).expect("an id"); _];
        let (all, kept, topics, empty, keys) = Default::default();
        Self { options, heads: start, floors: start, all, kept, topics, empty, keys }
    }

    fn class(&self, topic: &Topic) -> usize {
        let fits = |class: &usize| topic.as_str().starts_with(PREFIXES[class - 1]);
        (1..=PREFIXES.len()).filter(fits).max_by_key(|class| PREFIXES[class - 1].len()).unwrap_or(0)
    }

    fn retention(&self, class: usize) -> Retention {
        if class == 0 { self.options.retention } else { self.options.namespaces[class - 1].1 }
    }

    fn seen(&mut self, topic: &Topic, key: usize, now_ms: u64) -> Option<EventId> {
        let Options { idempotency_keys_max: max, .. } = self.options;
        while self.keys.first().is_some_and(|(expires, ..)| *expires <= now_ms || self.keys.len() > max) {
            self.keys.remove(0);
        }
        self.keys.iter().find(|(_, of, other, _)| of == topic && *other == key).map(|(.., id)| *id)
    }

    fn publish(&mut self, topic: &Topic, id: EventId, cost: usize, key: Option<usize>, now_ms: u64) {
        let partition = self.options.partitions.of(topic).index();
        assert!(id > self.heads[partition], "{id} after {}", self.heads[partition]);
        assert!(id.ms() >= now_ms);
        self.heads[partition] = id;
        let class = self.class(topic);
        let fact = Fact { topic: topic.clone(), class, id, cost };
        self.all.push(fact.clone());
        self.kept.push(fact);
        self.topics.insert(topic.clone(), id);
        self.empty.retain(|other| other != topic);
        if self.kept.iter().filter(|fact| fact.topic == *topic).count() > self.retention(class).events {
            let oldest = self.kept.iter().position(|fact| fact.topic == *topic).expect("an event");
            self.lose(oldest);
        }
        if let Some(key) = key {
            self.keys.push((now_ms + self.options.idempotency_age_ms, topic.clone(), key, id));
        }
        self.sweep(now_ms);
    }

    fn lose(&mut self, index: usize) {
        let Fact { topic, .. } = self.kept.remove(index);
        if !self.kept.iter().any(|fact| fact.topic == topic) {
            self.empty.push(topic);
        }
    }

    fn clear(&mut self, topic: &Topic) -> usize {
        let mut count = 0;
        while let Some(index) = self.kept.iter().position(|fact| fact.topic == *topic) {
            self.lose(index);
            count += 1;
        }
        count
    }

    fn bytes(&self) -> usize {
        self.topics.len() * TOPIC_COST + self.kept.iter().map(|fact| fact.cost).sum::<usize>()
    }

    fn first_of(&self, class: usize) -> Option<usize> {
        self.kept.iter().position(|fact| fact.class == class)
    }

    fn sweep(&mut self, now_ms: u64) {
        for class in 0..=PREFIXES.len() {
            let oldest = now_ms.saturating_sub(self.retention(class).age_ms);
            while let Some(first) = self.first_of(class).filter(|first| self.kept[*first].id.ms() < oldest) {
                self.lose(first);
            }
        }
        while self.bytes() > self.options.bytes_max || self.topics.len() > self.options.topics_max {
            if !self.empty.is_empty() {
                let topic = self.empty.remove(0);
                let last = self.topics.remove(&topic).expect("a topic");
                let floor = &mut self.floors[self.options.partitions.of(&topic).index()];
                *floor = last.max(*floor);
            } else if let Some(first) =
                (0..=PREFIXES.len()).filter_map(|class| self.first_of(class)).min_by_key(|first| self.kept[*first].id)
            {
                self.lose(first);
            } else {
                break;
            }
        }
    }
}

#[derive(Debug)]
struct Bench {
    store: Store,
    model: Model,
    now_ms: u64,
}

impl Bench {
    fn new(options: Options) -> Self {
        let now_ms = 1_000;
        Self { store: Store::new(options.clone(), now_ms), model: Model::new(options, now_ms), now_ms }
    }

    fn apply(&mut self, op: &Op) {
        let topic = |index: usize| Topic::new(TOPICS[index]).expect("a topic");
        match *op {
            Op::Publish { topic: index, bytes, key } => self.publish(&topic(index), bytes, key),
            Op::Clear(index) => assert_eq!(self.store.clear(&topic(index)), self.model.clear(&topic(index))),
            Op::Clock(ms) => self.now_ms = self.now_ms.saturating_add_signed(ms),
            Op::Read { topic: index, back, limit } => {
                let nth = self.model.all.iter().rev().nth(back);
                self.read(&topic(index), nth.map_or(EventId::ZERO, |fact| fact.id), limit);
            }
            Op::Topics { prefix, after, limit } => {
                self.topics(PREFIXES[prefix], after.map(|index| TOPICS[index]), limit);
            }
        }
        self.store.sweep(self.now_ms);
        self.model.sweep(self.now_ms);
        let Model { kept, topics, .. } = &self.model;
        let totals = Totals { events: kept.len(), bytes: self.model.bytes(), topics: topics.len() };
        assert_eq!(self.store.totals(), totals);
        assert_eq!((self.store.heads(), self.store.floors()), (self.model.heads, self.model.floors));
    }

    fn publish(&mut self, topic: &Topic, bytes: usize, key: Option<usize>) {
        let seen = key.and_then(|key| self.model.seen(topic, key, self.now_ms));
        if key.is_none() {
            self.model.seen(topic, usize::MAX, self.now_ms);
        }
        let idempotency_key = key.map(|key| Name::new(&format!("key {key}")).expect("a key"));
        let new = NewEvent {
            topic: topic.clone(),
            event_type: None,
            data: "x".repeat(bytes).into(),
            idempotency_key,
            trace: None,
        };
        let stored = self.store.publish(new, self.now_ms);
        if let Some(first) = seen {
            assert_eq!((stored.id, stored.event), (first, None), "it takes effect once");
            return;
        }
        let event = stored.event.expect("a new event");
        assert_eq!(event.id(), stored.id);
        let last = self.model.topics.get(topic).copied();
        let prev = last.unwrap_or(self.model.floors[self.model.options.partitions.of(topic).index()]);
        assert_eq!(event.prev(), prev);
        self.model.publish(topic, stored.id, event.cost(), key, self.now_ms);
    }

    /// What a read tells is exactly what is retained, and it tells of a loss if there is one, and only then.
    fn read(&mut self, topic: &Topic, after: EventId, limit: usize) {
        let read = self.store.read(topic, after, limit, self.now_ms);
        self.model.sweep(self.now_ms);
        let Model { options, floors, heads, all, kept, .. } = &self.model;
        let partition = options.partitions.of(topic).index();
        let later = |fact: &&Fact| fact.topic == *topic && fact.id > after;
        let retained: Vec<_> = kept.iter().filter(later).map(|fact| fact.id).collect();
        let told: Vec<_> = read.events.iter().map(|event| event.id()).collect();
        assert_eq!(told, retained[..limit.min(retained.len())]);
        assert_eq!(read.more, retained.len() > limit);
        assert_eq!(read.head, heads[partition]);

        let published = all.iter().filter(later).map(|fact| fact.id);
        let lost = published.filter(|id| !retained.contains(id)).max();
        if read.trimmed > after.max(floors[partition]) {
            assert_eq!(Some(read.trimmed), lost, "no loss is made up");
        } else if let Some(lost) = lost {
            assert!(lost <= floors[partition], "no loss is kept back");
        }
    }

    fn topics(&mut self, prefix: &str, after: Option<&str>, limit: usize) {
        let listed = self.store.topics(prefix, after, limit, self.now_ms);
        self.model.sweep(self.now_ms);
        let wanted = |name: &str| name.starts_with(prefix) && after.is_none_or(|after| name > after);
        let expected = self.model.topics.iter().filter(|(topic, _)| wanted(topic.as_str())).take(limit);
        assert_eq!(listed.len(), expected.clone().count());
        for (info, (topic, last)) in listed.iter().zip(expected) {
            let kept: Vec<_> = self.model.kept.iter().filter(|fact| fact.topic == *topic).collect();
            assert_eq!((&info.topic, info.last_id, info.events), (topic, *last, kept.len()));
            assert_eq!(info.first_id, kept.first().map(|fact| fact.id));
            assert_eq!(info.bytes, kept.iter().map(|fact| fact.cost).sum::<usize>());
            assert_eq!(self.store.topic(topic, self.now_ms).as_ref(), Some(info));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_keeps_and_tells_what_lists_would(options in options(), ops in prop::collection::vec(op(), 1..60)) {
        let mut bench = Bench::new(options);
        ops.iter().for_each(|op| bench.apply(op));
    }
}

fn publish(store: &mut Store, topic: &str, now_ms: u64) {
    let topic = Topic::new(topic).expect("a topic");
    store
        .publish(NewEvent { topic, event_type: None, data: "data".into(), idempotency_key: None, trace: None }, now_ms);
}

/// A topic that is quiet for longer than its events last is emptied after each: that must leave nothing behind.
#[test]
fn topics_that_come_and_go_take_no_more_and_more_memory() {
    let options = Options {
        partitions: Partitions::ONE,
        retention: Retention { events: 10, age_ms: 1 },
        namespaces: Vec::new(),
        bytes_max: usize::MAX,
        topics_max: usize::MAX,
        idempotency_age_ms: 0,
        idempotency_keys_max: 1,
    };
    let mut store = Store::new(options, 0);
    let size = |store: &Store| format!("{store:?}").len();
    let mut come_and_go = |from: u64| {
        for round in from..from + 5_000 {
            publish(&mut store, "a", 10 * round);
            store.sweep(10 * round + 5);
        }
        size(&store)
    };
    let (before, after) = (come_and_go(0), come_and_go(5_000));
    assert!(after < before * 3 / 2, "{before} grew to {after}");
}
