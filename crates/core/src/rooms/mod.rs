//! The rooms of one worker: who there listens to which topics, and the outbox of each cohort.
//!
//! A session subscribes with its selectors and joins the cohort of all sessions with the same ones. It may attach, and
//! then gets every delivery, as soon as each selector has been joined at the bridge. Deliveries and the answers to joins
//! come in one order, so the heads that an attaching member is given divide exactly: what comes after them it gets live,
//! what lies before is history.

mod cohort;
mod cursors;
mod fill;
mod rate;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use slab::Slab;
use towncrier_wire::{Cursor, Event, EventId, Heads, Partitions, Selector, Topic, limits::PARTITIONS_MAX};

use self::{
    cohort::Cohort,
    cursors::{before, cursor_at},
    rate::Throttle,
};
pub use self::{
    cohort::{CohortId, CohortKey, Lagging, MemberId, Policy, Slow},
    cursors::frames,
    fill::{Delivered, Fill},
    rate::{Over, Rate, Withheld},
};
use crate::{
    SelectorIndex,
    outbox::{LagBound, Next, Oldest, Outbox},
};

/// A selector that is joined at the bridge once more, and which of the answers is the one to that.
#[derive(Debug, Clone)]
pub struct Again {
    selector: Selector,
    answer: u64,
}

impl Again {
    /// What to join.
    #[must_use]
    pub fn selector(&self) -> &Selector {
        &self.selector
    }
}

/// Why a selector is joined at the bridge.
#[derive(Debug)]
struct Wanted {
    cohorts: Vec<CohortId>,
    /// How many joins were asked for, and answered.
    asked: u64,
    answered: u64,
    /// When it was last needed, in ms, if no cohort needs it now.
    idle_since: Option<u64>,
}

/// See the module. `T` is the caller's side of a member.
#[derive(Debug)]
pub struct Rooms<T> {
    partitions: Partitions,
    heads: Heads,
    cohorts: Slab<Cohort<T>>,
    by_key: HashMap<CohortKey, CohortId>,
    index: SelectorIndex<CohortId>,
    wanted: HashMap<Selector, Wanted>,
    dirty: Vec<CohortId>,
    /// Cohorts that may hold bytes that some member has yet to take.
    filled: Vec<CohortId>,
    /// Cohorts that hold events back.
    held: Vec<CohortId>,
    withheld: Withheld,
    now_us: u64,
    stamp: u64,
}

impl<T> Rooms<T> {
    /// A worker where nobody listens.
    #[must_use]
    pub fn new(partitions: Partitions) -> Self {
        Self {
            partitions,
            heads: [EventId::ZERO; PARTITIONS_MAX],
            cohorts: Slab::new(),
            by_key: HashMap::new(),
            index: SelectorIndex::default(),
            wanted: HashMap::new(),
            dirty: Vec::new(),
            filled: Vec::new(),
            held: Vec::new(),
            withheld: Withheld::default(),
            now_us: 0,
            stamp: 0,
        }
    }

    /// The newest id of each partition that this worker has seen.
    #[must_use]
    pub fn heads(&self) -> Heads {
        self.heads
    }

    /// How many (selectors, cohorts) there are.
    #[must_use]
    pub fn totals(&self) -> (usize, usize) {
        (self.wanted.len(), self.cohorts.len())
    }

    /// Adds a subscription. Gives its cohort, and the selectors that must now be joined at the bridge.
    pub fn subscribe(&mut self, key: CohortKey) -> (CohortId, Vec<Selector>) {
        if let Some(&id) = self.by_key.get(&key) {
            self.cohorts[id.0].subscriptions += 1;
            return (id, Vec::new());
        }
        let outbox = Outbox::new(key.policy.slow == Slow::Conflate);
        let touched = key.selectors.touched(self.partitions);
        let throttle = key.policy.rate.map(|rate| Throttle::new(rate, key.policy.lag_bytes));
        let cohort = Cohort {
            key: key.clone(),
            touched,
            missing: 0,
            subscriptions: 1,
            outbox,
            throttle,
            stamp: 0,
            dirty: false,
            filled: false,
        };
        let id = CohortId(self.cohorts.insert(cohort));
        let mut to_join = Vec::new();
        for selector in &key.selectors {
            self.index.insert(selector, id);
            let wanted = self.wanted.entry(selector.clone()).or_insert_with(|| {
                to_join.push(selector.clone());
                Wanted { cohorts: Vec::new(), asked: 1, answered: 0, idle_since: None }
            });
            wanted.cohorts.push(id);
            wanted.idle_since = None;
            if wanted.answered == 0 {
                self.cohorts[id.0].missing += 1;
            }
        }
        self.by_key.insert(key, id);
        (id, to_join)
    }

    /// Takes a subscription away, at `now_ms`; its members must have detached.
    pub fn unsubscribe(&mut self, id: CohortId, now_ms: u64) {
        let Some(cohort) = self.cohorts.get_mut(id.0) else {
            return;
        };
        cohort.subscriptions -= 1;
        if cohort.subscriptions > 0 {
            return;
        }
        let cohort = self.cohorts.remove(id.0);
        self.by_key.remove(&cohort.key);
        self.dirty.retain(|other| *other != id);
        if cohort.filled {
            self.filled.retain(|other| *other != id);
        }
        self.held.retain(|other| *other != id);
        for selector in &cohort.key.selectors {
            self.index.remove(selector, id);
            if let Some(wanted) = self.wanted.get_mut(selector) {
                wanted.cohorts.retain(|other| *other != id);
                if wanted.cohorts.is_empty() {
                    wanted.idle_since = Some(now_ms);
                }
            }
        }
    }

    /// Selectors that nobody has needed since `before_ms`: they must now be left at the bridge. One of which an answer is
    /// under way stays: after a leave and a new join that answer would be mistaken for the new one's.
    pub fn leave_idle(&mut self, before_ms: u64) -> Vec<Selector> {
        let idle = |wanted: &Wanted| {
            wanted.answered == wanted.asked && wanted.idle_since.is_some_and(|since| since <= before_ms)
        };
        self.wanted.extract_if(|_, wanted| idle(wanted)).map(|(selector, _)| selector).collect()
    }

    /// Asks for one more join of a cohort, for a session whose cursor is ahead of this worker: as answers and deliveries
    /// come in one order, everything that was published before has come when it is answered. The bridge must answer each
    /// join, and in their order.
    pub fn join_again(&mut self, id: CohortId) -> Option<Again> {
        let selector = self.cohorts.get(id.0)?.key.selectors.iter().next()?;
        let wanted = self.wanted.get_mut(selector)?;
        wanted.asked += 1;
        Some(Again { selector: selector.clone(), answer: wanted.asked })
    }

    /// Whether such a join was answered.
    #[must_use]
    pub fn is_answered(&self, again: &Again) -> bool {
        self.wanted.get(&again.selector).is_none_or(|wanted| wanted.answered >= again.answer)
    }

    /// Takes the bridge's answer to a join. Gives the cohorts whose members may now attach.
    pub fn joined(&mut self, selector: &Selector, heads: &Heads) -> Vec<CohortId> {
        self.advance(heads);
        let Some(wanted) = self.wanted.get_mut(selector) else {
            return Vec::new();
        };
        let joined = wanted.answered > 0;
        wanted.answered = wanted.asked.min(wanted.answered + 1);
        if joined {
            return Vec::new();
        }
        let mut ready = Vec::new();
        for &id in &wanted.cohorts {
            let cohort = &mut self.cohorts[id.0];
            cohort.missing -= 1;
            if cohort.missing == 0 {
                ready.push(id);
            }
        }
        ready
    }

    /// Whether members of a cohort may attach.
    #[must_use]
    pub fn is_ready(&self, id: CohortId) -> bool {
        self.cohorts.get(id.0).is_some_and(|cohort| cohort.missing == 0)
    }

    /// Takes in that everything up to these heads has been delivered.
    pub fn advance(&mut self, heads: &Heads) {
        for (own, head) in self.heads.iter_mut().zip(heads) {
            *own = (*own).max(*head);
        }
    }

    /// Appends an event, which was taken in at `taken_us` by the clock of [`Rooms::tick`], to the outbox of each cohort that
    /// wants it.
    pub fn deliver(&mut self, event: &Arc<Event>, taken_us: u64) -> Delivered {
        let partition = self.partitions.of(event.topic());
        let head = &mut self.heads[partition.index()];
        let mut delivered = Delivered::default();
        if event.id() <= *head {
            return delivered;
        }
        *head = event.id();
        self.stamp += 1;
        let Self { index, cohorts, dirty, held, now_us, heads, partitions, stamp, .. } = self;
        index.matches(event.topic(), |id| {
            let cohort = &mut cohorts[id.0];
            if std::mem::replace(&mut cohort.stamp, *stamp) == *stamp || cohort.outbox.is_empty() {
                return;
            }
            if let Some(throttle) = &mut cohort.throttle {
                let holds = throttle.holds();
                let stand = || {
                    let mut cursor = cursor_at(heads, &cohort.touched, *partitions);
                    cursor.set(partition, event.id().predecessor());
                    cursor
                };
                if !throttle.passes(event, *now_us, stand) {
                    if !holds {
                        held.push(id);
                    }
                    return;
                }
            }
            let frame = if *partitions == Partitions::ONE {
                event.frame().clone()
            } else {
                event.frame_with(&cursor_at(heads, &cohort.touched, *partitions))
            };
            delivered.add(cohort.outbox.len(), frame.len());
            cohort.outbox.push(event, frame, taken_us);
            if !std::mem::replace(&mut cohort.dirty, true) {
                dirty.push(id);
            }
        });
        delivered
    }

    /// How many cohorts, and members of them, get what is published to a topic now.
    #[must_use]
    pub fn audience(&self, topic: &Topic) -> (usize, usize) {
        let mut found = BTreeSet::new();
        self.index.matches(topic, |id| _ = found.insert(id));
        let members = found.iter().map(|id| self.cohorts[id.0].outbox.len()).filter(|members| *members > 0);
        members.fold((0, 0), |(cohorts, all), members| (cohorts + 1, all + members))
    }

    /// Makes everything that was delivered readable and gives the cohorts that have something new.
    pub fn seal(&mut self) -> Vec<CohortId> {
        let dirty = std::mem::take(&mut self.dirty);
        for id in &dirty {
            let cohort = &mut self.cohorts[id.0];
            cohort.dirty = false;
            cohort.outbox.seal();
            if !std::mem::replace(&mut cohort.filled, true) {
                self.filled.push(*id);
            }
        }
        dirty
    }

    /// Some members' payloads, to wake them: see [`Outbox::members`].
    pub fn members(&self, id: CohortId, from: usize, count: usize) -> (impl Iterator<Item = &T>, Option<usize>) {
        let (members, next) = match self.cohorts.get(id.0) {
            Some(cohort) => {
                let (members, next) = cohort.outbox.members(from, count);
                (Some(members), next)
            }
            None => (None, None),
        };
        (members.into_iter().flatten(), next)
    }

    /// What a cohort listens to.
    #[must_use]
    pub fn selectors(&self, id: CohortId) -> Vec<Selector> {
        self.cohorts.get(id.0).map_or_else(Vec::new, |cohort| cohort.key.selectors.iter().cloned().collect())
    }

    /// Whether some member of a cohort may have fallen too far behind: a look at the cohort alone.
    #[must_use]
    pub fn may_lag(&self, id: CohortId) -> bool {
        self.cohorts.get(id.0).is_some_and(|cohort| {
            let policy = cohort.key.policy;
            cohort.outbox.exceeds(LagBound { bytes: policy.lag_bytes, events: policy.lag_events })
        })
    }

    /// Members of a cohort that have fallen too far behind, each told once.
    pub fn lagging(&mut self, id: CohortId) -> Vec<Lagging> {
        self.release(id);
        let Some(cohort) = self.cohorts.get_mut(id.0) else {
            return Vec::new();
        };
        let policy = cohort.key.policy;
        let bound = LagBound { bytes: policy.lag_bytes, events: policy.lag_events };
        let lagging = cohort.outbox.lagging(bound);
        if policy.slow == Slow::Conflate {
            let (partitions, caught_up) = (self.partitions, cursor_at(&self.heads, &cohort.touched, self.partitions));
            for key in &lagging {
                cohort
                    .outbox
                    .conflate(*key, policy.lag_bytes, |unread| before(unread.iter().copied(), caught_up, partitions));
            }
        }
        let tell = |key| Lagging { member: MemberId { cohort: id, key }, slow: policy.slow };
        lagging.into_iter().map(tell).collect()
    }

    /// Adds a member: everything after the heads that it is given, it gets. `None` as long as the cohort is not ready.
    pub fn attach(&mut self, id: CohortId, payload: T) -> Option<(MemberId, Heads)> {
        self.release(id);
        let cohort = self.cohorts.get_mut(id.0).filter(|cohort| cohort.missing == 0)?;
        let key = cohort.outbox.attach(payload);
        Some((MemberId { cohort: id, key }, self.heads))
    }

    /// Takes a member away.
    pub fn detach(&mut self, member: MemberId) -> Option<T> {
        self.cohorts.get_mut(member.cohort.0)?.outbox.detach(member.key)
    }

    /// A member's payload.
    #[must_use]
    pub fn get(&self, member: MemberId) -> Option<&T> {
        self.cohorts.get(member.cohort.0)?.outbox.get(member.key)
    }

    /// A member's next frames.
    pub fn next(&mut self, member: MemberId) -> Next {
        self.cohorts.get_mut(member.cohort.0).map_or(Next::Nothing, |cohort| cohort.outbox.next(member.key))
    }

    /// How old what a member gets next is; `None` if it has taken everything.
    #[must_use]
    pub fn oldest_of(&self, member: MemberId) -> Option<Oldest> {
        self.cohorts.get(member.cohort.0)?.outbox.oldest_of(member.key)
    }

    /// The cursor of a member that has taken everything; `None` if it has not.
    #[must_use]
    pub fn checkpoint(&self, member: MemberId) -> Option<Cursor> {
        let cohort = self.cohorts.get(member.cohort.0)?;
        let holds = cohort.throttle.as_ref().is_some_and(Throttle::holds);
        let open = holds || cohort.dirty || !cohort.outbox.has_caught_up(member.key);
        (!open).then(|| cursor_at(&self.heads, &cohort.touched, self.partitions))
    }
}
