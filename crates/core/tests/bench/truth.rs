//! What was published, kept for ever: the model that every session is measured against.

use towncrier_core::Store;
use towncrier_wire::{EventId, NewEvent, Partitions, Selectors, Topic};

/// An event that was published. Its number is also its data.
#[derive(Debug, Clone)]
pub(crate) struct Fact {
    pub(crate) number: usize,
    pub(crate) topic: Topic,
    pub(crate) partition: usize,
    pub(crate) id: EventId,
}

/// Every event that ever was.
#[derive(Debug)]
pub(crate) struct Truth {
    partitions: Partitions,
    facts: Vec<Fact>,
}

impl Truth {
    pub(crate) fn new(partitions: Partitions) -> Self {
        Self { partitions, facts: Vec::new() }
    }

    /// The next event to publish to a topic.
    pub(crate) fn draft(&self, topic: &Topic) -> NewEvent {
        let data = self.facts.len().to_string().into();
        NewEvent { topic: topic.clone(), event_type: None, data, idempotency_key: None, trace: None }
    }

    /// The last draft was stored.
    pub(crate) fn record(&mut self, topic: &Topic, id: EventId) {
        let partition = self.partitions.of(topic).index();
        self.facts.push(Fact { number: self.facts.len(), topic: topic.clone(), partition, id });
    }

    pub(crate) fn fact(&self, number: usize) -> Option<&Fact> {
        self.facts.get(number)
    }

    pub(crate) fn facts(&self) -> &[Fact] {
        &self.facts
    }

    /// The events of some selectors.
    pub(crate) fn of<'a>(&'a self, selectors: &'a Selectors) -> impl DoubleEndedIterator<Item = &'a Fact> {
        self.facts.iter().filter(|fact| selectors.matches(&fact.topic))
    }
}

/// Whether a store still has an event.
pub(crate) fn retains(store: &mut Store, fact: &Fact, now_ms: u64) -> bool {
    let read = store.read(&fact.topic, fact.id.predecessor(), 1, now_ms);
    read.events.first().is_some_and(|event| event.id() == fact.id)
}
