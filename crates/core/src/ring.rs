//! The newest events of one topic.

use std::{collections::VecDeque, sync::Arc};

use towncrier_wire::{Event, EventId};

/// What a backplane knows of a topic after an id.
#[derive(Debug, Clone, Default)]
pub struct TopicRead {
    /// The newest event of the topic that is no longer retained; [`EventId::ZERO`] if none is known to be lost.
    pub trimmed: EventId,
    /// Retained events after the id that was asked for, oldest first.
    pub events: Vec<Arc<Event>>,
    /// Whether there are more after the last of `events`.
    pub more: bool,
    /// The newest id of the topic's partition when it was read: of what came later the read says nothing.
    pub head: EventId,
}

/// Consecutive events of one topic: every event of it after `floor` is here.
#[derive(Debug)]
pub struct Ring {
    floor: EventId,
    last: EventId,
    events: VecDeque<Arc<Event>>,
    bytes: usize,
}

impl Ring {
    /// A ring of a topic of which nothing at or before `floor` will be here.
    #[must_use]
    pub fn after_floor(floor: EventId) -> Self {
        Self { floor, last: floor, events: VecDeque::new(), bytes: 0 }
    }

    /// Every event of the topic after this id is in the ring; those at or before it are not.
    #[must_use]
    pub fn floor(&self) -> EventId {
        self.floor
    }

    /// The newest event that the ring has seen, or its floor at the start.
    #[must_use]
    pub fn last(&self) -> EventId {
        self.last
    }

    /// How many events it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether it holds no event.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// What its events cost, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The oldest event.
    #[must_use]
    pub fn first(&self) -> Option<&Arc<Event>> {
        self.events.front()
    }

    /// Adds the topic's next event. One that does not follow the newest here means that events in between were never
    /// seen: the ring then forgets what came before, so that it stays true that nothing after its floor is missing.
    pub fn push(&mut self, event: Arc<Event>) {
        if event.id() <= self.last {
            return;
        }
        if event.prev() > self.last {
            self.clear();
            self.floor = event.prev();
        }
        self.last = event.id();
        self.bytes += event.cost();
        self.events.push_back(event);
    }

    /// Adds older events in front of those that are here: `read` is all that the backplane had of the topic after `after`.
    /// One that is older than what the ring has let go of since would leave a hole and is not taken.
    pub fn backfill(&mut self, after: EventId, read: &TopicRead) {
        let floor = read.trimmed.max(after);
        if read.more || floor >= self.floor || read.head < self.floor {
            return;
        }
        for event in read.events.iter().rev().filter(|event| event.id() <= self.floor) {
            self.bytes += event.cost();
            self.events.push_front(event.clone());
        }
        self.floor = floor;
    }

    /// Takes the oldest event away.
    pub fn pop(&mut self) -> Option<Arc<Event>> {
        let event = self.events.pop_front()?;
        self.bytes -= event.cost();
        self.floor = event.id();
        Some(event)
    }

    /// Takes all events away and gives their number.
    pub fn clear(&mut self) -> usize {
        let count = self.events.len();
        self.events = VecDeque::new();
        self.bytes = 0;
        self.floor = self.last;
        count
    }

    /// The events after an id, oldest first.
    pub fn after(&self, id: EventId) -> impl DoubleEndedIterator<Item = &Arc<Event>> + ExactSizeIterator {
        let start = self.events.partition_point(|event| event.id() <= id);
        self.events.range(start..)
    }

    /// The events after an id, at most `limit`, as a backplane tells them that has seen no more than the ring.
    #[must_use]
    pub fn read(&self, after: EventId, limit: usize) -> TopicRead {
        let events = self.after(after);
        let more = events.len() > limit;
        TopicRead { trimmed: self.floor, events: events.take(limit).cloned().collect(), more, head: self.last }
    }
}
