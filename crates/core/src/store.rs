//! The truth of an embedded hub: every retained event, and what is known to be lost.
//!
//! Three bounds hold at once: so many events and such an age for each topic (by namespace), and so many bytes for the
//! whole store. What goes over a bound goes oldest first. A topic whose events are all gone stays as a tombstone that
//! remembers its newest id, so that it can be told exactly whether a cursor missed something of it; when tombstones
//! must go too, the partition's floor rises, and below it nothing can be known.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    ops::Bound,
    sync::Arc,
};

use towncrier_wire::{Event, EventId, Heads, Name, NewEvent, Partitions, Topic};

use crate::{Ring, TopicRead, fifo::Fifo};

/// What a topic without events costs: its two index entries and its name.
const TOPIC_COST: usize = 256;

/// How long and how much of each topic is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Most events of a topic, at least 1.
    pub events: usize,
    /// Longest age of an event, in ms.
    pub age_ms: u64,
}

/// The bounds of a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many partitions the topics are spread over.
    pub partitions: Partitions,
    /// For topics of no namespace.
    pub retention: Retention,
    /// Topic prefixes with a retention of their own; the longest that fits holds.
    pub namespaces: Vec<(String, Retention)>,
    /// Most bytes for all events and topics together.
    pub bytes_max: usize,
    /// Most topics, tombstones included.
    pub topics_max: usize,
    /// How long an idempotency key is remembered, in ms.
    pub idempotency_age_ms: u64,
    /// Most idempotency keys; the oldest are forgotten first.
    pub idempotency_keys_max: usize,
}

/// A publish that took effect, now or before.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The event's id.
    pub id: EventId,
    /// The event; `None` if the idempotency key had been seen, and it was stored then.
    pub event: Option<Arc<Event>>,
}

/// What the store holds, in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events retained.
    pub events: usize,
    /// Bytes that they and their topics cost.
    pub bytes: usize,
    /// Topics known, tombstones included.
    pub topics: usize,
}

/// What the store knows of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// The topic.
    pub topic: Topic,
    /// Events retained.
    pub events: usize,
    /// Bytes that they cost.
    pub bytes: usize,
    /// The oldest retained.
    pub first_id: Option<EventId>,
    /// The newest ever published, retained or not.
    pub last_id: EventId,
}

/// Topics that are kept alike: their events expire in the order in which they came.
#[derive(Debug)]
struct Class {
    prefix: String,
    retention: Retention,
    queue: Fifo,
    live: usize,
}

#[derive(Debug)]
struct Kept {
    class: usize,
    ring: Ring,
}

/// See the module.
#[derive(Debug)]
pub struct Store {
    options: Options,
    floors: Heads,
    heads: Heads,
    topics: HashMap<Topic, Kept>,
    names: BTreeSet<Topic>,
    classes: Vec<Class>,
    /// Topics that became empty, with their newest id at that time.
    tombs: Fifo,
    keys: HashMap<(Topic, Name), EventId>,
    key_queue: VecDeque<(u64, Topic, Name)>,
    events: usize,
    bytes: usize,
}

impl Store {
    /// An empty store that begins at `now_ms`: what came before it is not known.
    #[must_use]
    pub fn new(options: Options, now_ms: u64) -> Self {
        let start = EventId::ZERO.next(now_ms);
        let mut classes = vec![Class::new(String::new(), options.retention)];
        classes.extend(options.namespaces.iter().map(|(prefix, retention)| Class::new(prefix.clone(), *retention)));
        Self {
            floors: [start; _],
            heads: [start; _],
            topics: HashMap::new(),
            names: BTreeSet::new(),
            classes,
            tombs: Fifo::default(),
            keys: HashMap::new(),
            key_queue: VecDeque::new(),
            events: 0,
            bytes: 0,
            options,
        }
    }

    /// The newest id of each partition.
    #[must_use]
    pub fn heads(&self) -> Heads {
        self.heads
    }

    /// Below these ids nothing can be known.
    #[must_use]
    pub fn floors(&self) -> Heads {
        self.floors
    }

    /// What it holds.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals { events: self.events, bytes: self.bytes, topics: self.topics.len() }
    }

    /// Stores an event, or finds that its idempotency key was seen.
    pub fn publish(&mut self, new: NewEvent, now_ms: u64) -> Stored {
        self.forget_keys(now_ms);
        let key = new.idempotency_key.map(|key| (new.topic.clone(), key));
        if let Some(id) = key.as_ref().and_then(|key| self.keys.get(key)) {
            return Stored { id: *id, event: None };
        }

        let partition = self.options.partitions.of(&new.topic).index();
        let id = self.heads[partition].next(now_ms);
        self.heads[partition] = id;
        let class = self.class_of(&new.topic);
        let kept = self.topics.entry(new.topic.clone()).or_insert_with(|| {
            self.names.insert(new.topic.clone());
            self.bytes += TOPIC_COST;
            Kept { class, ring: Ring::after_floor(self.floors[partition]) }
        });
        let event = Event::new(new.topic.clone(), id, kept.ring.last(), new.event_type, &new.data).traced(new.trace);
        let event = Arc::new(event);
        kept.ring.push(event.clone());
        self.bytes += event.cost();
        self.events += 1;
        if kept.ring.len() > self.classes[class].retention.events {
            self.drop_first(&new.topic);
        }
        self.classes[class].live += 1;
        self.classes[class].queue.push(id, new.topic);
        if let Some(key) = key {
            self.key_queue.push_back((
                now_ms.saturating_add(self.options.idempotency_age_ms),
                key.0.clone(),
                key.1.clone(),
            ));
            self.keys.insert(key, id);
        }
        self.sweep(now_ms);
        Stored { id, event: Some(event) }
    }

    /// Reads a topic after an id, at most `limit` events.
    pub fn read(&mut self, topic: &Topic, after: EventId, limit: usize, now_ms: u64) -> TopicRead {
        self.sweep(now_ms);
        let read = self.topics.get(topic).map(|kept| kept.ring.read(after, limit)).unwrap_or_default();
        TopicRead { head: self.heads[self.options.partitions.of(topic).index()], ..read }
    }

    /// What is known of a topic.
    pub fn topic(&mut self, topic: &Topic, now_ms: u64) -> Option<TopicInfo> {
        self.sweep(now_ms);
        self.topics.get_key_value(topic).map(|(topic, kept)| info(topic, kept))
    }

    /// Topics that begin with `prefix`, after the name `after`, in order, at most `limit`.
    pub fn topics(&mut self, prefix: &str, after: Option<&str>, limit: usize, now_ms: u64) -> Vec<TopicInfo> {
        self.sweep(now_ms);
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.names
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|name| name.as_str().starts_with(prefix))
            .filter_map(|name| self.topics.get(name).map(|kept| info(name, kept)))
            .take(limit)
            .collect()
    }

    /// Takes all events of a topic away and gives their number; sessions that had not read them will have a gap.
    pub fn clear(&mut self, topic: &Topic) -> usize {
        let Some(kept) = self.topics.get_mut(topic) else {
            return 0;
        };
        self.bytes -= kept.ring.bytes();
        let count = kept.ring.clear();
        self.events -= count;
        self.classes[kept.class].live -= count;
        if count > 0 {
            self.tombs.push(kept.ring.last(), topic.clone());
        }
        count
    }

    /// Lets go of what is over a bound at `now_ms`. Costs no more than what it takes away, on average.
    pub fn sweep(&mut self, now_ms: u64) {
        for class in 0..self.classes.len() {
            let oldest = now_ms.saturating_sub(self.classes[class].retention.age_ms);
            while let Some((id, topic)) = self.front(class) {
                if id.ms() >= oldest {
                    break;
                }
                self.drop_first(&topic);
            }
            let Class { queue, live, .. } = &mut self.classes[class];
            queue.compact(*live, |id, topic| retains(&self.topics, id, topic));
        }
        self.tombs.compact(self.topics.len(), |last, topic| is_tomb(&self.topics, last, topic));
        while self.bytes > self.options.bytes_max || self.topics.len() > self.options.topics_max {
            if !self.bury() && !self.drop_oldest() {
                break;
            }
        }
    }

    /// The longest namespace that the topic falls into; class 0 is for all others.
    fn class_of(&self, topic: &Topic) -> usize {
        let fits = |class: &(usize, &Class)| topic.as_str().starts_with(&class.1.prefix);
        let longest = self.classes.iter().enumerate().filter(fits).max_by_key(|(_, class)| class.prefix.len());
        longest.map_or(0, |(index, _)| index)
    }

    /// The oldest event of a class that is still retained.
    fn front(&mut self, class: usize) -> Option<(EventId, Topic)> {
        self.classes[class].queue.front(|id, topic| retains(&self.topics, id, topic))
    }

    fn drop_first(&mut self, topic: &Topic) {
        let Some(kept) = self.topics.get_mut(topic) else { return };
        let Some(event) = kept.ring.pop() else { return };
        self.bytes -= event.cost();
        self.events -= 1;
        self.classes[kept.class].live -= 1;
        if kept.ring.is_empty() {
            self.tombs.push(kept.ring.last(), topic.clone());
        }
    }

    /// Drops the oldest event of all.
    fn drop_oldest(&mut self) -> bool {
        let mut fronts = Vec::with_capacity(self.classes.len());
        for class in 0..self.classes.len() {
            fronts.extend(self.front(class));
        }
        let Some((_, topic)) = fronts.into_iter().min_by_key(|(id, _)| *id) else {
            return false;
        };
        self.drop_first(&topic);
        true
    }

    /// Forgets the topic that has been empty for longest; from then on, nothing is known below its newest id.
    fn bury(&mut self) -> bool {
        let tomb = self.tombs.front(|last, topic| is_tomb(&self.topics, last, topic));
        let Some((last, topic)) = tomb else { return false };
        let floor = &mut self.floors[self.options.partitions.of(&topic).index()];
        *floor = last.max(*floor);
        self.topics.remove(&topic);
        self.names.remove(&topic);
        self.bytes -= TOPIC_COST;
        true
    }

    fn forget_keys(&mut self, now_ms: u64) {
        while let Some((expires, ..)) = self.key_queue.front() {
            if *expires > now_ms && self.key_queue.len() <= self.options.idempotency_keys_max {
                break;
            }
            if let Some((_, topic, key)) = self.key_queue.pop_front() {
                self.keys.remove(&(topic, key));
            }
        }
    }
}

impl Class {
    fn new(prefix: String, retention: Retention) -> Self {
        Self { prefix, retention, queue: Fifo::default(), live: 0 }
    }
}

fn retains(topics: &HashMap<Topic, Kept>, id: EventId, topic: &Topic) -> bool {
    topics.get(topic).is_some_and(|kept| kept.ring.floor() < id)
}

/// Whether a topic has been empty since this was its newest event.
fn is_tomb(topics: &HashMap<Topic, Kept>, last: EventId, topic: &Topic) -> bool {
    topics.get(topic).is_some_and(|kept| kept.ring.is_empty() && kept.ring.last() == last)
}

fn info(topic: &Topic, kept: &Kept) -> TopicInfo {
    TopicInfo {
        topic: topic.clone(),
        events: kept.ring.len(),
        bytes: kept.ring.bytes(),
        first_id: kept.ring.first().map(|event| event.id()),
        last_id: kept.ring.last(),
    }
}
