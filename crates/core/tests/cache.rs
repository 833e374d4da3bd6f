//! The cache against the store that it spares: it must never claim to know what it does not.

use std::{collections::VecDeque, sync::Arc};

use proptest::{prelude::*, sample::select};
use towncrier_core::{
    Cache, Retention, SelectorIndex, Store, TopicRead,
    cache::{self, Plan},
    replay::{From, Page, Request},
    store,
};
use towncrier_wire::{Cursor, Event, EventId, Heads, NewEvent, Partitions, Selector, Selectors, Topic, limits};

const TOPICS: [&str; 4] = ["a", "a/1", "a/2", "b/1"];
const SELECTORS: [&str; 6] = ["a/1", "b/1", "a/*", "**", "*/1", "a/**"];

#[derive(Debug, Clone)]
enum Op {
    Publish(usize),
    Clear(usize),
    Follow(&'static str),
    Unfollow(&'static str),
    /// The cache takes so many of the signals that are under way.
    Signals(usize),
    /// Somebody asks for what comes after an event, so many before the newest, and the reads go out.
    Ask {
        selector: &'static str,
        back: Option<usize>,
    },
    /// An answer to one of the reads arrives.
    Answer(usize),
    /// The answers are complete, or somebody asks just now.
    Check {
        selector: &'static str,
        back: Option<usize>,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let (topic, selector) = (0..TOPICS.len(), select(&SELECTORS[..]));
    let back = prop::option::weighted(0.8, 0..8_usize);
    prop_oneof![
        10 => topic.clone().prop_map(Op::Publish),
        1 => topic.prop_map(Op::Clear),
        3 => selector.clone().prop_map(Op::Follow),
        2 => selector.clone().prop_map(Op::Unfollow),
        8 => (1..6_usize).prop_map(Op::Signals),
        3 => (selector.clone(), back.clone()).prop_map(|(selector, back)| Op::Ask { selector, back }),
        3 => (0..4_usize).prop_map(Op::Answer),
        6 => (selector, back).prop_map(|(selector, back)| Op::Check { selector, back }),
    ]
}

prop_compose! {
    fn options()(
        partitions in 1..=2_usize,
        retained in prop_oneof![1..5_usize, Just(usize::MAX)],
        topics_max in prop_oneof![1 => 1..4_usize, 3 => Just(usize::MAX)],
        topic_events_max in prop_oneof![1..4_usize, Just(usize::MAX)],
        cache_bytes in prop_oneof![1 => 300..2_000_usize, 1 => Just(usize::MAX)],
        cache_topics in prop_oneof![1..4_usize, Just(usize::MAX)],
    ) -> (store::Options, cache::Options) {
        let partitions = Partitions::new(partitions).expect("a number of partitions");
        let store = store::Options {
            partitions,
            retention: Retention { events: retained, age_ms: u64::MAX },
            namespaces: Vec::new(),
            bytes_max: usize::MAX,
            topics_max,
            idempotency_age_ms: 0,
            idempotency_keys_max: 0,
        };
        let cache = cache::Options {
            partitions,
            topic_events_max,
            namespaces: Vec::new(),
            bytes_max: cache_bytes,
            topics_max: cache_topics,
        };
        (store, cache)
    }
}

#[derive(Debug)]
enum Signal {
    Event(Arc<Event>),
    Follow(Selector, Heads),
    Clear(Topic),
}

#[derive(Debug)]
struct Bench {
    partitions: Partitions,
    store: Store,
    cache: Cache,
    cache_options: cache::Options,
    all: Vec<Arc<Event>>,
    /// What the backplane signals.
    followed: SelectorIndex<()>,
    selectors: Vec<Selector>,
    signals: VecDeque<Signal>,
    /// How far the cache was told.
    heads: Heads,
    answers: Vec<(Topic, EventId, TopicRead)>,
}

impl Bench {
    fn new((store, cache): (store::Options, cache::Options)) -> Self {
        let (partitions, store) = (store.partitions, Store::new(store, 1_000));
        Self {
            partitions,
            heads: store.heads(),
            store,
            cache: Cache::new(cache.clone()),
            cache_options: cache,
            all: Vec::new(),
            followed: SelectorIndex::default(),
            selectors: Vec::new(),
            signals: VecDeque::new(),
            answers: Vec::new(),
        }
    }

    fn apply(&mut self, op: &Op) {
        let topic = |index: usize| Topic::new(TOPICS[index]).expect("a topic");
        let selector = |text: &str| Selector::new(text).expect("a selector");
        match *op {
            Op::Publish(index) => {
                let new = NewEvent {
                    topic: topic(index),
                    event_type: None,
                    data: "data".into(),
                    idempotency_key: None,
                    trace: None,
                };
                let event = self.store.publish(new, 1_000).event.expect("a new event");
                self.all.push(event.clone());
                self.signals.extend(Some(event).filter(|event| self.followed.any(event.topic())).map(Signal::Event));
            }
            Op::Clear(index) => {
                self.store.clear(&topic(index));
                self.signals.push_back(Signal::Clear(topic(index)));
            }
            Op::Follow(text) => {
                let selector = selector(text);
                if !self.selectors.contains(&selector) {
                    self.selectors.push(selector.clone());
                    self.followed.insert(&selector, ());
                }
                self.signals.push_back(Signal::Follow(selector, self.store.heads()));
            }
            Op::Unfollow(text) => {
                let selector = selector(text);
                // Nobody leaves while an answer to a join is under way: see `Rooms::leave_idle`.
                let awaited = |signal: &Signal| matches!(signal, Signal::Follow(other, _) if *other == selector);
                if self.selectors.contains(&selector) && !self.signals.iter().any(awaited) {
                    self.selectors.retain(|other| *other != selector);
                    self.followed.remove(&selector, ());
                    self.cache.unfollow(&selector);
                }
            }
            Op::Signals(count) => (0..count).for_each(|_| self.signal()),
            Op::Ask { selector, back } => {
                let request = self.request(selector, back);
                let plan = self.plan(&request);
                for (topic, after) in plan.missing {
                    let read = self.store.read(&topic, after, usize::MAX, 1_000);
                    self.answers.push((topic, after, read));
                }
            }
            Op::Answer(index) => {
                if index < self.answers.len() {
                    let (topic, after, read) = self.answers.swap_remove(index);
                    self.cache.backfill(&topic, after, &read);
                }
            }
            Op::Check { selector, back } => self.check(&self.request(selector, back)),
        }
        let (_, bytes) = self.cache.totals();
        assert!(bytes <= self.cache_options.bytes_max, "{bytes} bytes");
    }

    fn signal(&mut self) {
        match self.signals.pop_front() {
            None => {}
            Some(Signal::Event(event)) => {
                self.cache.feed(&event);
                self.heads[self.partitions.of(event.topic()).index()] = event.id();
            }
            Some(Signal::Follow(selector, heads)) => {
                if self.selectors.contains(&selector) {
                    self.cache.follow(selector, heads);
                }
                self.heads = heads;
            }
            Some(Signal::Clear(topic)) => self.cache.clear(&topic),
        }
    }

    fn request(&self, selector: &str, back: Option<usize>) -> Request {
        let after = |back| self.all.iter().rev().nth(back).map_or(EventId::ZERO.successor(), |event| event.id());
        let from = back.map_or(From::Earliest, |back| From::After(Cursor::everywhere(self.partitions, after(back))));
        let selectors = Selectors::new([selector], 1).expect("a selector");
        Request { selectors, from, upto: self.heads }
    }

    fn plan(&mut self, request: &Request) -> Plan {
        let mut plan = self.cache.plan(request);
        for selector in std::mem::take(&mut plan.unknown) {
            for info in self.store.topics(selector.prefix(), None, usize::MAX, 1_000) {
                if selector.matches(&info.topic) {
                    self.cache.plan_topic(&info.topic, request, &mut plan);
                }
            }
        }
        plan
    }

    fn page(&mut self, request: &Request) -> Page {
        let mut plan = self.plan(request);
        for (topic, after) in std::mem::take(&mut plan.missing) {
            let read = self.store.read(&topic, after, usize::MAX, 1_000);
            self.cache.backfill(&topic, after, &read);
            plan.known.insert(topic, read);
        }
        request.page(&plan.known, &self.store.floors(), self.partitions)
    }

    /// What the store alone would answer.
    fn page_of_store(&mut self, request: &Request) -> Page {
        let topics = TOPICS.map(|text| Topic::new(text).expect("a topic"));
        let mut read = |topic: Topic| {
            let after = request.after(self.partitions.of(&topic).index(), self.partitions);
            let read = self.store.read(&topic, after, usize::MAX, 1_000);
            (topic, read)
        };
        let known = topics.into_iter().filter(|topic| request.selectors.matches(topic)).map(&mut read).collect();
        request.page(&known, &self.store.floors(), self.partitions)
    }

    /// The same page with and without the cache, but for events that only the cache still has.
    fn check(&mut self, request: &Request) {
        let alone = self.page_of_store(request);
        let page = self.page(request);
        let ids = |page: &Page| page.events.iter().map(|event| event.id()).collect::<Vec<_>>();
        let has = |event: &Arc<Event>| page.events.contains(event);
        assert!(alone.events.iter().all(has), "{:?} with the cache, {:?} without", ids(&page), ids(&alone));
        assert!(page.events.is_sorted_by_key(|event| event.id()));
        assert!(!page.more);
        assert_eq!(page.floors, alone.floors);

        for event in self.all.iter().filter(|event| request.selectors.matches(event.topic())) {
            let partition = self.partitions.of(event.topic()).index();
            let due = event.id() > request.after(partition, self.partitions) && event.id() <= request.upto[partition];
            let lost = page.lost.iter().any(|(topic, id)| topic == event.topic() && event.id() <= *id);
            let below = page.floors.iter().any(|(of, floor)| *of == partition && event.id() <= *floor);
            assert!(!due || has(event) || lost || below, "{event:?} is lost without a word");
            assert!(due || !has(event), "{event:?} was not asked for");
        }
        for (topic, id) in &page.lost {
            assert!(alone.lost.iter().any(|(of, lost)| of == topic && lost >= id), "nothing of {topic} was lost");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_the_cache_knows_is_what_the_store_would_tell(
        options in options(),
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let mut bench = Bench::new(options);
        ops.iter().for_each(|op| bench.apply(op));
    }
}

fn id(seq: u64) -> EventId {
    EventId::new(1, seq).expect("an id")
}

fn event(topic: &str, seq: u64, prev: u64) -> Arc<Event> {
    Arc::new(Event::new(Topic::new(topic).expect("a topic"), id(seq), id(prev), None, "data"))
}

fn cache(topics_max: usize) -> Cache {
    let mut cache = Cache::new(cache::Options {
        partitions: Partitions::ONE,
        topic_events_max: 10,
        namespaces: vec![("brief/".into(), 2)],
        bytes_max: usize::MAX,
        topics_max,
    });
    cache.follow(Selector::new("**").expect("a selector"), [EventId::ZERO; limits::PARTITIONS_MAX]);
    cache
}

fn after(topic: &str, seq: u64) -> Request {
    Request {
        selectors: Selectors::new([topic], 1).expect("a selector"),
        from: From::After(Cursor::everywhere(Partitions::ONE, id(seq))),
        upto: [EventId::MAX; limits::PARTITIONS_MAX],
    }
}

#[test]
fn an_event_that_the_cache_never_saw_makes_it_ask() {
    let mut cache = cache(10);
    cache.feed(&event("a", 1, 0));
    cache.feed(&event("a", 3, 2));

    assert_eq!(cache.plan(&after("a", 1)).missing.len(), 1, "2 is not here");
    assert!(cache.plan(&after("a", 2)).missing.is_empty());
}

/// Topics of which there is nothing to keep must not push out those of which there is.
#[test]
fn quiet_topics_make_room_for_busy_ones() {
    let mut cache = cache(2);
    for (number, topic) in ["q1", "q2", "q3"].into_iter().enumerate() {
        cache.feed(&event(topic, 1 + number as u64, 0));
        cache.clear(&Topic::new(topic).expect("a topic"));
        let nothing = TopicRead { trimmed: id(5), head: id(9), ..TopicRead::default() };
        cache.backfill(&Topic::new(topic).expect("a topic"), EventId::ZERO, &nothing);
    }

    (10..13).for_each(|seq| cache.feed(&event("busy", seq, seq - 1)));

    assert_eq!(cache.totals().0, 3, "the events of the busy topic are all there");
    assert!(cache.plan(&after("busy", 9)).missing.is_empty());
}

/// Many sessions that come back at once ask for each topic once.
#[test]
fn what_was_asked_for_once_is_known() {
    let mut cache = cache(10);
    cache.feed(&event("a", 8, 5));
    let topic = Topic::new("a").expect("a topic");
    let read = TopicRead { events: vec![event("a", 5, 2), event("a", 8, 5)], trimmed: id(2), more: false, head: id(9) };
    assert_eq!(cache.plan(&after("a", 3)).missing, [(topic.clone(), id(3))]);

    cache.backfill(&topic, id(3), &read);

    let plan = cache.plan(&after("a", 3));
    assert!(plan.missing.is_empty());
    assert_eq!(plan.known[&topic].events, read.events);
}

#[test]
fn after_a_reset_everything_up_to_the_heads_is_asked_for() {
    let mut cache = cache(10);
    cache.unfollow(&Selector::new("**").expect("a selector"));
    let id = |seq| EventId::new(1, seq).expect("an id");
    let topic = Topic::new("a").expect("a topic");
    let event = |seq, prev| Arc::new(Event::new(topic.clone(), id(seq), id(prev), None, "x"));
    let heads = |seq| [id(seq); limits::PARTITIONS_MAX];
    let request = |after, upto| Request {
        selectors: Selectors::new(["a"], 1).expect("a selector"),
        from: From::After(Cursor::everywhere(Partitions::ONE, id(after))),
        upto: heads(upto),
    };
    cache.follow(Selector::Topic(topic.clone()), heads(0));
    cache.feed(&event(1, 0));
    cache.feed(&event(2, 1));
    assert!(cache.plan(&request(0, 2)).missing.is_empty());

    cache.reset(&heads(9));
    assert_eq!(cache.totals(), (0, 0));
    assert_eq!(cache.plan(&request(2, 9)).missing, [(topic.clone(), id(2))]);
    assert!(cache.plan(&request(9, 9)).missing.is_empty(), "from there on it is fed again");
    cache.feed(&event(10, 8));
    assert_eq!(cache.plan(&request(9, 10)).known[&topic].events.len(), 1);
}

#[test]
fn a_namespace_keeps_as_many_as_it_says() {
    let mut cache = cache(10);
    for topic in ["long", "brief/a"] {
        (1..=5).for_each(|seq| cache.feed(&event(topic, seq, seq - 1)));
    }
    assert_eq!(cache.totals().0, 5 + 2);
    assert!(cache.plan(&after("long", 0)).missing.is_empty());
    assert!(!cache.plan(&after("brief/a", 2)).missing.is_empty());
    assert!(cache.plan(&after("brief/a", 3)).missing.is_empty());
}
