//! What lies between the backplane and the sessions: one ordered queue from the backplane to the bridge, and one each way
//! between the bridge and each worker.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use towncrier_core::{
    Rooms, SelectorIndex,
    rooms::{Again, CohortId},
};
use towncrier_wire::{Event, EventId, Heads, Partitions, Selector, Topic, limits::PARTITIONS_MAX};

use super::session::Shared;

/// From the backplane to the bridge, in one order.
#[derive(Debug)]
pub(crate) enum Signal {
    Event(Arc<Event>),
    Joined { worker: usize, selectors: Vec<Selector>, heads: Heads },
    Heads(Heads),
    Cleared(Topic),
}

/// From a worker to the bridge.
#[derive(Debug)]
pub(crate) enum Request {
    Join(Vec<Selector>),
    Leave(Vec<Selector>),
}

/// From the bridge to a worker, in one order.
#[derive(Debug)]
pub(crate) enum Delivery {
    Event(Arc<Event>),
    Joined(Vec<Selector>, Heads),
    Heads(Heads),
    Resync(Heads),
}

#[derive(Debug)]
pub(crate) struct Worker {
    /// A member's payload is its client's number.
    pub(crate) rooms: Rooms<usize>,
    pub(crate) requests: VecDeque<Request>,
    pub(crate) deliveries: VecDeque<Delivery>,
    /// Clients that wait for the answer to another join.
    pub(crate) again: Vec<(usize, Again)>,
    clock_ms: u64,
}

/// What a delivery means to the sessions of a worker.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// Cohorts whose sessions may begin.
    pub(crate) ready: Vec<CohortId>,
    /// Clients whose other join is answered.
    pub(crate) answered: Vec<usize>,
    /// Whether all members have missed something, up to `heads`.
    pub(crate) resync: bool,
    pub(crate) heads: Heads,
}

impl Worker {
    /// Its clock goes on.
    pub(crate) fn tick(&mut self, ms: u64) {
        self.clock_ms += ms;
        self.rooms.tick(self.clock_ms);
    }

    /// Takes the next delivery.
    pub(crate) fn deliver(&mut self) -> Option<Taken> {
        let mut taken = Taken::default();
        match self.deliveries.pop_front()? {
            Delivery::Event(event) => _ = self.rooms.deliver(&event, self.clock_ms * 1000),
            Delivery::Heads(heads) => self.rooms.advance(&heads),
            Delivery::Resync(heads) => taken = Taken { resync: true, heads, ..taken },
            Delivery::Joined(selectors, heads) => {
                taken.ready = selectors.iter().flat_map(|selector| self.rooms.joined(selector, &heads)).collect();
                let rooms = &self.rooms;
                let answered = self.again.extract_if(.., |(_, again)| rooms.is_answered(again));
                taken.answered = answered.map(|(client, _)| client).collect();
            }
        }
        Some(taken)
    }
}

/// The queues, and who wants what.
#[derive(Debug)]
pub(crate) struct Plumbing {
    pub(crate) workers: Vec<Worker>,
    pub(crate) signals: VecDeque<Signal>,
    /// What the backplane signals, and for which workers.
    followed: HashMap<Selector, BTreeSet<usize>>,
    index: SelectorIndex<usize>,
    /// How far the bridge is.
    heads: Heads,
}

impl Plumbing {
    pub(crate) fn new(partitions: Partitions, workers: usize) -> Self {
        let worker = |_| Worker {
            rooms: Rooms::new(partitions),
            requests: VecDeque::new(),
            deliveries: VecDeque::new(),
            again: Vec::new(),
            clock_ms: 0,
        };
        Self {
            workers: (0..workers).map(worker).collect(),
            signals: VecDeque::new(),
            followed: HashMap::new(),
            index: SelectorIndex::default(),
            heads: [EventId::ZERO; PARTITIONS_MAX],
        }
    }

    pub(crate) fn publish(&mut self, shared: &mut Shared, topic: &Topic) {
        let stored = shared.store.publish(shared.truth.draft(topic), shared.now_ms);
        shared.truth.record(topic, stored.id);
        self.signals.extend(stored.event.filter(|_| self.index.any(topic)).map(Signal::Event));
    }

    pub(crate) fn clear(&mut self, shared: &mut Shared, topic: &Topic) {
        shared.store.clear(topic);
        self.signals.push_back(Signal::Cleared(topic.clone()));
    }

    pub(crate) fn announce(&mut self, shared: &Shared) {
        self.signals.push_back(Signal::Heads(shared.store.heads()));
    }

    /// The bridge takes the next signal: history gets it before any worker.
    pub(crate) fn signal(&mut self, shared: &mut Shared) {
        match self.signals.pop_front() {
            None => {}
            Some(Signal::Event(event)) => {
                shared.cache.feed(&event);
                let partition = shared.partitions.of(event.topic()).index();
                self.heads[partition] = event.id();
                let mut workers = BTreeSet::new();
                self.index.matches(event.topic(), |worker| _ = workers.insert(worker));
                for worker in workers {
                    self.workers[worker].deliveries.push_back(Delivery::Event(event.clone()));
                }
            }
            Some(Signal::Joined { worker, selectors, heads }) => {
                self.heads = heads;
                for selector in selectors.iter().filter(|selector| self.followed.contains_key(selector)) {
                    shared.cache.follow(selector.clone(), heads);
                }
                self.workers[worker].deliveries.push_back(Delivery::Joined(selectors, heads));
            }
            Some(Signal::Heads(heads)) => {
                self.heads = heads;
                self.workers.iter_mut().for_each(|worker| worker.deliveries.push_back(Delivery::Heads(heads)));
            }
            Some(Signal::Cleared(topic)) => shared.cache.clear(&topic),
        }
    }

    pub(crate) fn request(&mut self, worker: usize, shared: &mut Shared) {
        match self.workers[worker].requests.pop_front() {
            None => {}
            Some(Request::Join(selectors)) => {
                for selector in &selectors {
                    if self.followed.entry(selector.clone()).or_default().insert(worker) {
                        self.index.insert(selector, worker);
                    }
                }
                self.signals.push_back(Signal::Joined { worker, selectors, heads: shared.store.heads() });
            }
            Some(Request::Leave(selectors)) => {
                for selector in &selectors {
                    self.index.remove(selector, worker);
                    let workers = self.followed.entry(selector.clone()).or_default();
                    workers.remove(&worker);
                    if workers.is_empty() {
                        self.followed.remove(selector);
                        shared.cache.unfollow(selector);
                    }
                }
            }
        }
    }

    /// The bridge drops what a worker has not taken; its members must resume from history. Answers to joins are kept.
    pub(crate) fn fall_behind(&mut self, worker: usize) {
        let deliveries = &mut self.workers[worker].deliveries;
        let dropped = std::mem::take(deliveries);
        deliveries.push_back(Delivery::Resync(self.heads));
        deliveries.extend(dropped.into_iter().filter_map(|delivery| match delivery {
            Delivery::Joined(selectors, _) => Some(Delivery::Joined(selectors, self.heads)),
            Delivery::Event(_) | Delivery::Heads(_) | Delivery::Resync(_) => None,
        }));
    }
}
