//! What a node knows of the recent events of the topics that it follows, so that a replay asks the backplane only for
//! what is older, and many sessions that come back at once ask for it once.
//!
//! A followed topic is fed every event after the head at which the following began. A ring is made at a topic's first
//! event; `prev` of that event says how far back the ring is complete.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ops::Bound,
    sync::Arc,
};

use slab::Slab;
use towncrier_wire::{
    Event, EventId, Heads, Partitions, Selector, Topic,
    limits::{PARTITIONS_MAX, REPLAY_PAGE_EVENTS_MAX},
};

use crate::{
    Ring, SelectorIndex, TopicRead,
    fifo::Fifo,
    replay::{From, Request},
};

/// The bounds of a cache.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many partitions the topics are spread over.
    pub partitions: Partitions,
    /// Most events of a topic.
    pub topic_events_max: usize,
    /// Topic prefixes with a bound of their own; the longest that fits holds.
    pub namespaces: Vec<(String, usize)>,
    /// Most bytes of all events.
    pub bytes_max: usize,
    /// Most topics with a ring.
    pub topics_max: usize,
}

impl Options {
    fn events_max(&self, topic: &Topic) -> usize {
        let fits = |own: &&(String, usize)| topic.as_str().starts_with(&own.0);
        let longest = self.namespaces.iter().filter(fits).max_by_key(|(prefix, _)| prefix.len());
        longest.map_or(self.topic_events_max, |(_, events)| *events)
    }
}

/// What a replay needs beyond the cache.
#[derive(Debug, Default)]
pub struct Plan {
    /// What the cache knows of the topics.
    pub known: HashMap<Topic, TopicRead>,
    /// Topics that the backplane must be asked for, each after an id.
    pub missing: Vec<(Topic, EventId)>,
    /// Patterns whose topics the backplane must be asked for.
    pub unknown: Vec<Selector>,
    /// The topics in `known` and `missing`.
    planned: HashSet<Topic>,
}

#[derive(Debug)]
struct Cached {
    ring: Ring,
    /// The newest id that the backplane said to have lost, when last asked.
    lost: EventId,
    /// Most events.
    events_max: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Cache {
    options: Options,
    followed: HashMap<Selector, usize>,
    /// Of each followed selector, the heads at which the following began.
    since: Slab<Heads>,
    index: SelectorIndex<usize>,
    rings: HashMap<Topic, Cached>,
    names: BTreeSet<Topic>,
    /// The newest id of any ring that was let go of while it was followed.
    forgotten: Heads,
    queue: Fifo,
    events: usize,
    bytes: usize,
}

impl Cache {
    /// An empty cache.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            followed: HashMap::new(),
            since: Slab::new(),
            index: SelectorIndex::default(),
            rings: HashMap::new(),
            names: BTreeSet::new(),
            forgotten: [EventId::ZERO; PARTITIONS_MAX],
            queue: Fifo::default(),
            events: 0,
            bytes: 0,
        }
    }

    /// How many events and bytes it holds.
    #[must_use]
    pub fn totals(&self) -> (usize, usize) {
        (self.events, self.bytes)
    }

    /// From now on, every event that fits the selector and comes after the heads is fed.
    pub fn follow(&mut self, selector: Selector, heads: Heads) {
        if !self.followed.contains_key(&selector) {
            let key = self.since.insert(heads);
            self.index.insert(&selector, key);
            self.followed.insert(selector, key);
        }
    }

    /// Events that fit the selector are no longer fed, unless another selector wants them.
    pub fn unfollow(&mut self, selector: &Selector) {
        let Some(key) = self.followed.remove(selector) else {
            return;
        };
        self.since.remove(key);
        self.index.remove(selector, key);
        let orphans: Vec<_> = match selector {
            Selector::Topic(topic) => self.names.get(topic).into_iter().cloned().collect(),
            Selector::Pattern(_) => self.fitting(selector).cloned().collect(),
        };
        for topic in orphans {
            if !self.index.any(&topic) {
                self.remove(&topic);
            }
        }
    }

    /// Takes in the next event of a topic. One that is not followed is ignored, such as an event that was under way when
    /// its topic was left: what comes after it would not be known.
    pub fn feed(&mut self, event: &Arc<Event>) {
        if !self.rings.contains_key(event.topic()) && !self.index.any(event.topic()) {
            return;
        }
        let cached = self.rings.entry(event.topic().clone()).or_insert_with(|| {
            self.names.insert(event.topic().clone());
            let events_max = self.options.events_max(event.topic());
            Cached { ring: Ring::after_floor(event.prev()), lost: EventId::ZERO, events_max }
        });
        let (events, bytes) = (cached.ring.len(), cached.ring.bytes());
        cached.ring.push(event.clone());
        if cached.ring.len() > cached.events_max {
            cached.ring.pop();
        }
        self.events = self.events + cached.ring.len() - events;
        self.bytes = self.bytes + cached.ring.bytes() - bytes;
        self.queue.push(event.id(), event.topic().clone());
        self.bound();
    }

    /// Takes in what the backplane has of a topic after `after`.
    pub fn backfill(&mut self, topic: &Topic, after: EventId, read: &TopicRead) {
        let Some(head) = self.complete_after(topic) else { return };
        let cached = self.rings.entry(topic.clone()).or_insert_with(|| {
            self.names.insert(topic.clone());
            let events_max = self.options.events_max(topic);
            Cached { ring: Ring::after_floor(head), lost: EventId::ZERO, events_max }
        });
        let (events, bytes) = (cached.ring.len(), cached.ring.bytes());
        let newest = cached.ring.floor();
        cached.ring.backfill(after, read);
        if cached.ring.floor() < newest {
            self.queue.push(newest, topic.clone());
        } else if cached.ring.is_empty() {
            self.remove(topic);
            return;
        }
        cached.lost = cached.lost.max(read.trimmed);
        self.events = self.events + cached.ring.len() - events;
        self.bytes = self.bytes + cached.ring.bytes() - bytes;
        self.bound();
    }

    /// Lets go of a topic's events, because the backplane did.
    pub fn clear(&mut self, topic: &Topic) {
        self.forget(topic);
    }

    /// Lets go of everything up to these heads: some of it was never fed.
    pub fn reset(&mut self, heads: &Heads) {
        for topic in self.names.iter().cloned().collect::<Vec<_>>() {
            self.remove(&topic);
        }
        for (forgotten, head) in self.forgotten.iter_mut().zip(heads) {
            *forgotten = (*forgotten).max(*head);
        }
    }

    /// What is known for a request, and what must be asked for.
    #[must_use]
    pub fn plan(&self, request: &Request) -> Plan {
        let mut plan = Plan::default();
        for selector in &request.selectors {
            match selector {
                Selector::Topic(topic) => self.plan_topic(topic, request, &mut plan),
                Selector::Pattern(_) if self.knows_all(selector, request) => {
                    for topic in self.fitting(selector) {
                        self.plan_topic(topic, request, &mut plan);
                    }
                }
                Selector::Pattern(_) => plan.unknown.push(selector.clone()),
            }
        }
        plan
    }

    /// Adds one topic to a plan.
    pub fn plan_topic(&self, topic: &Topic, request: &Request, plan: &mut Plan) {
        if !plan.planned.insert(topic.clone()) {
            return;
        }
        let partition = self.options.partitions.of(topic).index();
        let after = request.after(partition, self.options.partitions);
        // As many as fill a page, and one more to tell whether there are.
        let limit = if matches!(request.from, From::Last(_)) { usize::MAX } else { REPLAY_PAGE_EVENTS_MAX + 1 };
        match self.read(topic, after, limit) {
            Some(read) => _ = plan.known.insert(topic.clone(), read),
            None => plan.missing.push((topic.clone(), after)),
        }
    }

    /// The events of a topic after an id, at most `limit`, if the cache can tell.
    #[must_use]
    pub fn read(&self, topic: &Topic, after: EventId, limit: usize) -> Option<TopicRead> {
        let Some(cached) = self.rings.get(topic) else {
            return self.complete_after(topic).filter(|head| *head <= after).map(|_| TopicRead::default());
        };
        let covers = cached.ring.floor() <= after || cached.ring.floor() == cached.lost;
        covers.then(|| cached.ring.read(after, limit))
    }

    /// The id after which every event of a topic was fed, if it is followed.
    fn complete_after(&self, topic: &Topic) -> Option<EventId> {
        let partition = self.options.partitions.of(topic).index();
        let mut earliest: Option<EventId> = None;
        self.index.matches(topic, |key| {
            let head = self.since[key][partition];
            earliest = Some(earliest.map_or(head, |earliest| earliest.min(head)));
        });
        Some(earliest?.max(self.forgotten[partition]))
    }

    /// Whether every topic with events after the request's cursor that fits the pattern has a ring.
    fn knows_all(&self, pattern: &Selector, request: &Request) -> bool {
        let partitions = self.options.partitions;
        matches!(request.from, From::After(_))
            && self.followed.get(pattern).is_some_and(|&key| {
                let known = |p: usize| self.since[key][p].max(self.forgotten[p]);
                (0..partitions.count()).all(|p| request.after(p, partitions) >= known(p))
            })
    }

    fn fitting<'a>(&'a self, selector: &'a Selector) -> impl Iterator<Item = &'a Topic> {
        let prefix = selector.prefix();
        self.names
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |name| name.as_str().starts_with(prefix))
            .filter(move |name| selector.matches(name))
    }

    fn bound(&mut self) {
        while self.bytes > self.options.bytes_max || self.rings.len() > self.options.topics_max {
            let rings = &self.rings;
            let Some((_, topic)) = self.queue.front(|id, topic| is_live(rings, id, topic)) else {
                break;
            };
            let Some(cached) = self.rings.get_mut(&topic) else {
                break;
            };
            if let Some(event) = cached.ring.pop() {
                self.bytes -= event.cost();
                self.events -= 1;
            }
            if cached.ring.is_empty() {
                self.forget(&topic);
            }
        }
        let rings = &self.rings;
        self.queue.compact(rings.len() + self.events, |id, topic| is_live(rings, id, topic));
    }

    /// Lets go of a ring whose topic is still followed.
    fn forget(&mut self, topic: &Topic) {
        if let Some(last) = self.rings.get(topic).map(|cached| cached.ring.last()) {
            let forgotten = &mut self.forgotten[self.options.partitions.of(topic).index()];
            *forgotten = last.max(*forgotten);
            self.remove(topic);
        }
    }

    fn remove(&mut self, topic: &Topic) {
        if let Some(cached) = self.rings.remove(topic) {
            self.bytes -= cached.ring.bytes();
            self.events -= cached.ring.len();
            self.names.remove(topic);
        }
    }
}

/// Whether a place in the queue still stands for something: an event, or what a ring without events knows.
fn is_live(rings: &HashMap<Topic, Cached>, id: EventId, topic: &Topic) -> bool {
    rings.get(topic).is_some_and(|cached| cached.ring.floor() < id)
}
