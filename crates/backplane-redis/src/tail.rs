//! What this node published, and was told of late: from here a Redis that lost its tail gets it back.
//!
//! Bounded in bytes; the oldest go first. What counts for completeness is what this node published itself, since every
//! event was published by some node: `from` is the newest of these that is not held any more.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use towncrier_wire::{Event, EventId, EventType, Heads, Name, Topic, limits::PARTITIONS_MAX};

/// What an event costs here beside its texts.
const ENTRY_COST: usize = 160;

/// An event, as it is handed in.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) content: Content,
    pub(crate) key: Option<Name>,
    own: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// As it was published here.
    Published { topic: Topic, prev: EventId, event_type: Option<EventType>, data: Arc<str> },
    /// As it was told: shared with history.
    Told(Arc<Event>),
}

impl Content {
    pub(crate) fn topic(&self) -> &Topic {
        match self {
            Self::Published { topic, .. } => topic,
            Self::Told(event) => event.topic(),
        }
    }

    pub(crate) fn prev(&self) -> EventId {
        match self {
            Self::Published { prev, .. } => *prev,
            Self::Told(event) => event.prev(),
        }
    }

    pub(crate) fn event_type(&self) -> &str {
        match self {
            Self::Published { event_type, .. } => event_type.as_ref(),
            Self::Told(event) => event.event_type(),
        }
        .map_or("", EventType::as_str)
    }

    pub(crate) fn data(&self) -> &str {
        match self {
            Self::Published { data, .. } => data,
            Self::Told(event) => event.data(),
        }
    }

    fn cost(&self) -> usize {
        ENTRY_COST
            + match self {
                Self::Published { topic, data, .. } => topic.as_str().len() + data.len(),
                Self::Told(event) => event.cost(),
            }
    }
}

#[derive(Debug)]
pub(crate) struct Tail {
    state: Mutex<State>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    kept: [BTreeMap<EventId, Kept>; PARTITIONS_MAX],
    bytes: usize,
    from: Heads,
}

impl Tail {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { state: Mutex::default(), bytes_max }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what this node published.
    pub(crate) fn published(&self, partition: usize, id: EventId, content: Content, key: Option<Name>) {
        let mut state = self.state();
        match state.kept[partition].get_mut(&id) {
            Some(kept) => (kept.own, kept.key) = (true, key.or(kept.key.take())),
            None => state.insert(partition, id, Kept { content, key, own: true }),
        }
        state.fit(self.bytes_max);
    }

    /// Keeps what this node was told.
    pub(crate) fn told(&self, partition: usize, event: &Arc<Event>, key: Option<Name>) {
        if self.bytes_max == 0 {
            return;
        }
        let mut state = self.state();
        // One text is enough: this one history holds as well.
        let before = state.kept[partition].remove(&event.id());
        state.bytes -= before.as_ref().map_or(0, |kept| kept.content.cost());
        let own = before.as_ref().is_some_and(|kept| kept.own);
        let key = before.and_then(|kept| kept.key).or(key);
        state.insert(partition, event.id(), Kept { content: Content::Told(event.clone()), key, own });
        state.fit(self.bytes_max);
    }

    /// What is held after an id, in order: at most so many, and bytes, or one event.
    pub(crate) fn after(&self, partition: usize, id: EventId, count: usize, bytes_max: usize) -> Vec<(EventId, Kept)> {
        let state = self.state();
        let mut bytes = 0;
        let fits = |(_, kept): &(&EventId, &Kept)| {
            let first = bytes == 0;
            bytes += kept.content.cost();
            first || bytes <= bytes_max
        };
        let after = state.kept[partition].range(id.successor()..);
        after.take(count).take_while(fits).map(|(id, kept)| (*id, kept.clone())).collect()
    }

    /// Whether everything is still held that this node published after an id.
    pub(crate) fn reaches(&self, partition: usize, id: EventId) -> bool {
        self.state().from[partition] <= id
    }
}

impl State {
    fn insert(&mut self, partition: usize, id: EventId, kept: Kept) {
        self.bytes += kept.content.cost();
        self.kept[partition].insert(id, kept);
    }

    fn fit(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            let first =
                |(partition, kept): (usize, &BTreeMap<EventId, Kept>)| Some((*kept.first_key_value()?.0, partition));
            let Some((id, partition)) = self.kept.iter().enumerate().filter_map(first).min() else { return };
            let Some(kept) = self.kept[partition].remove(&id) else { return };
            self.bytes -= kept.content.cost();
            if kept.own {
                self.from[partition] = id.max(self.from[partition]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(seq: u64) -> EventId {
        EventId::new(1, seq).unwrap()
    }

    fn published(data: &str) -> Content {
        let topic = Topic::new("a").unwrap();
        Content::Published { topic, prev: EventId::ZERO, event_type: None, data: data.into() }
    }

    fn told(seq: u64, data: &str) -> Arc<Event> {
        Arc::new(Event::new(Topic::new("a").unwrap(), id(seq), EventId::ZERO, None, data))
    }

    fn ids(tail: &Tail, after: EventId, count: usize, bytes: usize) -> Vec<u64> {
        tail.after(0, after, count, bytes).iter().map(|(id, _)| id.seq()).collect()
    }

    #[test]
    fn the_oldest_go_first_and_what_was_published_here_is_missed() {
        let tail = Tail::new(5 * (ENTRY_COST + 101));
        for seq in 1..=5 {
            tail.published(0, id(seq), published(&"x".repeat(100)), None);
        }
        assert!(tail.reaches(0, EventId::ZERO));
        assert_eq!(ids(&tail, id(2), 2, usize::MAX), [3, 4]);
        assert_eq!(ids(&tail, EventId::ZERO, 9, 1), [1], "one always fits");
        tail.published(1, id(9), published(&"x".repeat(100)), None);
        assert_eq!(ids(&tail, EventId::ZERO, 9, usize::MAX), [2, 3, 4, 5]);
        assert!(!tail.reaches(0, EventId::ZERO) && tail.reaches(0, id(1)) && tail.reaches(1, EventId::ZERO));
    }

    #[test]
    fn what_was_only_told_is_missed_by_nobody() {
        let tail = Tail::new(1000);
        (1..=100).for_each(|seq| tail.told(0, &told(seq, "x"), None));
        let held = ids(&tail, EventId::ZERO, 1000, usize::MAX);
        assert!(held.len() < 10 && held.last() == Some(&100), "{held:?}");
        assert!(tail.reaches(0, EventId::ZERO));
    }

    #[test]
    fn an_event_that_is_told_and_published_is_held_once_with_its_key() {
        let key = || Some(Name::new("k").unwrap());
        let event = told(1, "x");
        for told_first in [false, true] {
            let tail = Tail::new(10_000);
            if told_first {
                tail.told(0, &event, None);
            }
            tail.published(0, id(1), published("x"), key());
            if !told_first {
                tail.told(0, &event, None);
            }
            let held = tail.after(0, EventId::ZERO, 9, usize::MAX);
            assert!(
                matches!(&held[..], [(_, Kept { content: Content::Told(_), key: Some(_), own: true })]),
                "{held:?}"
            );
            assert_eq!(tail.state().bytes, Content::Told(event.clone()).cost());
        }
    }

    #[test]
    fn with_no_bytes_nothing_is_held_and_that_is_known() {
        let tail = Tail::new(0);
        tail.told(0, &told(1, "x"), None);
        tail.published(0, id(2), published("x"), None);
        assert!(ids(&tail, EventId::ZERO, 9, usize::MAX).is_empty());
        assert!(!tail.reaches(0, id(1)) && tail.reaches(0, id(2)));
    }
}
