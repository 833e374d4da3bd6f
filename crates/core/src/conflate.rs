//! The newest event of each topic, for members that fell behind in a cohort that conflates.

use std::{collections::HashMap, sync::Arc};

use towncrier_wire::{Cursor, Event, Topic, limits::CONFLATE_TOPICS_MAX};

/// What a conflating member gets when it reads again.
#[derive(Debug, Default)]
pub struct Conflated {
    /// The newest event of each topic, in the order in which they came.
    pub events: Vec<Arc<Event>>,
    /// Topics of which older events were dropped for this member.
    pub dropped: Vec<Topic>,
    /// Where the client stands before them.
    pub cursor: Option<Cursor>,
    /// Whether events of topics that are no longer known were dropped too.
    pub more_dropped: bool,
}

/// Of each topic, its newest event and the numbers of its newest two.
#[derive(Debug, Default)]
pub(crate) struct Newest {
    topics: HashMap<Topic, Entry>,
    bytes: usize,
    bytes_max: usize,
    /// Events up to this number may have been let go of.
    evicted: Option<u64>,
}

#[derive(Debug)]
struct Entry {
    event: Arc<Event>,
    number: u64,
    before: Option<u64>,
}

impl Newest {
    pub(crate) fn bounded(bytes_max: usize) -> Self {
        Self { bytes_max, ..Self::default() }
    }

    /// Takes event `number` in. An event that is there already, or older than its topic's newest, only tells what was
    /// dropped.
    pub(crate) fn push(&mut self, number: u64, event: &Arc<Event>) {
        match self.topics.get_mut(event.topic()) {
            Some(entry) if entry.number == number => {}
            Some(entry) if entry.number > number => {
                entry.before = Some(entry.before.map_or(number, |before| before.max(number)));
            }
            Some(entry) => {
                self.bytes = self.bytes + event.cost() - entry.event.cost();
                *entry = Entry { event: event.clone(), number, before: Some(entry.number) };
            }
            None => {
                self.bytes += event.cost();
                self.topics.insert(event.topic().clone(), Entry { event: event.clone(), number, before: None });
            }
        }
        while self.topics.len() > 1 && (self.bytes > self.bytes_max || self.topics.len() > CONFLATE_TOPICS_MAX) {
            self.evict();
        }
    }

    /// Takes in that events may have been lost before event `number`, of whatever topics.
    pub(crate) fn lose(&mut self, number: u64) {
        self.evicted = self.evicted.max(Some(number));
    }

    /// Lets go of the topic whose newest event is the oldest.
    fn evict(&mut self) {
        let oldest = self.topics.iter().min_by_key(|(_, entry)| entry.number).map(|(topic, _)| topic.clone());
        if let Some(entry) = oldest.and_then(|topic| self.topics.remove(&topic)) {
            self.bytes -= entry.event.cost();
            self.evicted = self.evicted.max(Some(entry.number));
        }
    }

    /// What a member gets that stopped before event `since`.
    pub(crate) fn since(&self, since: u64) -> Conflated {
        let mut conflated =
            Conflated { more_dropped: self.evicted.is_some_and(|evicted| evicted >= since), ..Conflated::default() };
        let mut kept: Vec<_> = self.topics.iter().filter(|(_, entry)| entry.number >= since).collect();
        kept.sort_unstable_by_key(|(_, entry)| entry.number);
        for (topic, entry) in kept {
            if entry.before.is_some_and(|before| before >= since) {
                conflated.dropped.push(topic.clone());
            }
            conflated.events.push(entry.event.clone());
        }
        conflated
    }
}
