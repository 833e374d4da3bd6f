//! Which events exist, put together from acknowledgements, histories and what subscribers saw.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Kind, Record, Verdict};
use crate::{
    ids::{Id, PARTITIONS},
    journal::{Key, Seen},
    traffic::{BRIEF_EVENTS, TOPICS, is_brief},
};

/// An event that every subscriber of its topic is to get.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) key: Key,
    /// Whether history has it in the end.
    pub(super) held: bool,
    /// When it was first sent.
    pub(super) sent: std::time::Duration,
}

#[derive(Debug, Default)]
pub(super) struct Truth {
    partitions: Vec<Option<usize>>,
    /// By partition and id.
    events: [BTreeMap<Id, Event>; PARTITIONS],
    only_seen: Vec<(Key, Id)>,
}

impl Truth {
    pub(super) fn find(record: &Record, verdict: &mut Verdict) -> Self {
        let mut truth = Self { partitions: partitions(record), ..Self::default() };
        let acked: HashMap<Key, Id> =
            record.publishes.iter().filter_map(|publish| Some((publish.key, publish.acked?.1))).collect();
        let topics: HashSet<u16> = acked.keys().map(|key| key.topic).collect();
        for topic in topics.into_iter().filter(|topic| truth.partition(*topic).is_none()) {
            verdict.add(
                Kind::Lost,
                None,
                format!("nothing of {} was delivered to anybody", TOPICS[usize::from(topic)]),
            );
        }
        let sent: HashMap<Key, _> = record.publishes.iter().map(|publish| (publish.key, publish.sent)).collect();
        let mut names: HashMap<(usize, Id), Key> = HashMap::new();
        let mut ids: HashMap<Key, HashSet<Id>> = HashMap::new();
        let mut name = |partition: usize, id: Id, key: Key, verdict: &mut Verdict| {
            let other = *names.entry((partition, id)).or_insert(key);
            if other != key {
                verdict.add(Kind::Identity, None, format!("{id} of partition {partition} is {other} and {key}"));
            }
            if !sent.contains_key(&key) {
                verdict.add(Kind::Identity, None, format!("{key} was never published"));
            }
            ids.entry(key).or_default().insert(id);
        };
        // Of a topic with a short history a node may hold more, for a while, than others have to.
        let kept = |events: &[(Id, Key)]| match events.last().is_some_and(|(_, key)| is_brief(key.topic)) {
            true => events[events.len().saturating_sub(BRIEF_EVENTS)..].to_vec(),
            false => events.to_vec(),
        };
        let stored: Vec<_> = record.histories.first().into_iter().flatten().flat_map(|events| kept(events)).collect();
        let held: HashSet<(Key, Id)> = stored.into_iter().map(|(id, key)| (key, id)).collect();
        let seen: HashSet<(Key, Id)> = seen(record, &truth.partitions).collect();

        let mut all: HashSet<(Key, Id)> = acked.iter().map(|(key, id)| (*key, *id)).collect();
        all.extend(&held);
        // What was neither acknowledged nor kept, Redis may have lost in good faith, if it may lose anything.
        if !record.mode.is_lossy() {
            all.extend(&seen);
        }
        truth.only_seen = seen.iter().filter(|one| !held.contains(one) && !is_brief(one.0.topic)).copied().collect();
        for (key, id) in all.union(&seen) {
            let Some(partition) = truth.partitions[usize::from(key.topic)] else { continue };
            name(partition, *id, *key, verdict);
            if all.contains(&(*key, *id)) {
                let sent = sent.get(key).copied().unwrap_or_default();
                truth.events[partition].insert(*id, Event { key: *key, held: held.contains(&(*key, *id)), sent });
            }
        }
        for (key, ids) in ids.into_iter().filter(|(_, ids)| ids.len() > 1) {
            // Redis lost it before it was acknowledged, so it was published again.
            if record.mode.is_lossy() {
                verdict.repeated += 1;
            } else {
                let ids: Vec<_> = ids.iter().map(Id::to_string).collect();
                verdict.add(Kind::Identity, None, format!("{key} took effect {} times: {}", ids.len(), ids.join(", ")));
            }
        }
        truth
    }

    /// The partition of a topic, if it could be found out.
    pub(super) fn partition(&self, topic: u16) -> Option<usize> {
        self.partitions[usize::from(topic)]
    }

    /// How many events there are.
    pub(super) fn count(&self) -> usize {
        self.events.iter().map(BTreeMap::len).sum()
    }

    /// Events of a partition after one id and up to another.
    pub(super) fn between(&self, partition: usize, after: Id, upto: Id) -> impl Iterator<Item = (Id, Event)> {
        use std::ops::Bound::{Excluded, Included};
        let range = (after < upto).then_some((Excluded(after), Included(upto)));
        let events = range.map(|range| self.events[partition].range(range));
        events.into_iter().flatten().map(|(id, event)| (*id, *event))
    }

    /// Events after an id.
    pub(super) fn after(&self, partition: usize, after: Id) -> impl Iterator<Item = (Id, Event)> {
        let last = self.events[partition].last_key_value().map_or(after, |(id, _)| *id);
        self.between(partition, after, last)
    }

    /// What was delivered, though history, which should keep all of its topic, does not have it.
    pub(super) fn only_seen(&self) -> impl Iterator<Item = (Key, Id)> {
        self.only_seen.iter().copied()
    }
}

/// Everything that any subscriber saw.
fn seen(record: &Record, partitions: &[Option<usize>]) -> impl Iterator<Item = (Key, Id)> {
    let lines = record.journals.iter().flat_map(|journal| &journal.lines);
    lines.filter_map(|line| match &line.seen {
        Seen::Event { key, cursor } => Some((*key, cursor.0[partitions[usize::from(key.topic)]?])),
        _ => None,
    })
}

/// A cursor does not say which of its ids is that of the event it came with; the acknowledgements do.
fn partitions(record: &Record) -> Vec<Option<usize>> {
    let acked: HashMap<Key, Id> =
        record.publishes.iter().filter_map(|publish| Some((publish.key, publish.acked?.1))).collect();
    let mut votes = vec![[0_usize; PARTITIONS]; TOPICS.len()];
    for line in record.journals.iter().flat_map(|journal| &journal.lines) {
        let Seen::Event { key, cursor } = &line.seen else { continue };
        let Some(id) = acked.get(key) else { continue };
        for partition in (0..PARTITIONS).filter(|&partition| cursor.0[partition] == *id) {
            votes[usize::from(key.topic)][partition] += 1;
        }
    }
    let winner = |votes: &[usize; PARTITIONS]| (0..PARTITIONS).filter(|&p| votes[p] > 0).max_by_key(|&p| votes[p]);
    votes.iter().map(winner).collect()
}
