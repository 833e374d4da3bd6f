//! How many events a second the members of a cohort get, and what becomes of those beyond.
//!
//! All members of a cohort get the same events, so what each of them may get is counted once for all. What lies in
//! history when a session comes is not counted: it is bounded there.

use std::{collections::BTreeSet, num::NonZeroU32, sync::Arc};

use towncrier_wire::{Cursor, Event, Gap, GapReason, Topic, limits::GAP_TOPICS_MAX};

use super::{CohortId, Rooms, frames};
use crate::conflate::{Conflated, Newest};

/// What becomes of events beyond a [`Rate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Over {
    /// They are dropped, and a gap tells of it.
    Drop,
    /// The newest of each topic comes as soon as the rate allows, behind a gap that tells of the rest.
    Conflate,
}

/// Most events a second that a member gets live; as many may come at once after a rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How many.
    pub events_per_second: NonZeroU32,
    /// What becomes of the others.
    pub over: Over,
}

/// What was withheld from members, to be counted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Withheld {
    /// Events that a member did not get, each time.
    pub events: u64,
    /// Gaps that a member was told of, each time.
    pub gaps: u64,
}

const SECOND_US: u64 = 1_000_000;

/// A cohort's rate, by GCRA, and what waits to be told.
#[derive(Debug)]
pub(super) struct Throttle {
    rate: Rate,
    bytes_max: usize,
    /// When the next event is due at the steady rate, in µs.
    due_us: u64,
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    /// Where the members stand.
    cursor: Cursor,
    count: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    Dropped {
        topics: BTreeSet<Topic>,
        /// Whether there were more of them than a gap may name.
        more: bool,
    },
    Newest(Newest),
}

impl Throttle {
    pub(super) fn new(rate: Rate, bytes_max: usize) -> Self {
        Self { rate, bytes_max, due_us: 0, held: None }
    }

    pub(super) fn holds(&self) -> bool {
        self.held.is_some()
    }

    fn interval_us(&self) -> u64 {
        (SECOND_US / u64::from(self.rate.events_per_second.get())).max(1)
    }

    fn has_room(&self, now_us: u64) -> bool {
        self.due_us + self.interval_us() <= now_us + SECOND_US
    }

    fn charge(&mut self, now_us: u64, events: u64) {
        self.due_us = self.due_us.max(now_us) + self.interval_us() * events;
    }

    /// Whether an event may pass now, which is then counted. Never before what is held, or the order would be lost.
    fn admits(&mut self, now_us: u64) -> bool {
        let passes = self.held.is_none() && self.has_room(now_us);
        if passes {
            self.charge(now_us, 1);
        }
        passes
    }

    /// Whether an event passes; if not, it is held back from members that stand at `cursor`.
    pub(super) fn passes(&mut self, event: &Arc<Event>, now_us: u64, cursor: impl FnOnce() -> Cursor) -> bool {
        let passes = self.admits(now_us);
        if !passes {
            self.hold(event, cursor);
        }
        passes
    }

    /// Holds an event back from members that stand at `cursor`, if it is the first.
    fn hold(&mut self, event: &Arc<Event>, cursor: impl FnOnce() -> Cursor) {
        let (over, bytes_max) = (self.rate.over, self.bytes_max);
        let held = self.held.get_or_insert_with(|| Held {
            cursor: cursor(),
            count: 0,
            what: match over {
                Over::Drop => What::Dropped { topics: BTreeSet::new(), more: false },
                Over::Conflate => What::Newest(Newest::bounded(bytes_max)),
            },
        });
        held.count += 1;
        match &mut held.what {
            What::Newest(newest) => newest.push(held.count, event),
            What::Dropped { topics, more } => {
                if topics.len() < GAP_TOPICS_MAX {
                    topics.insert(event.topic().clone());
                } else {
                    *more |= !topics.contains(event.topic());
                }
            }
        }
    }

    /// What is held, which then is counted, and how many events are not in it.
    fn release(&mut self, now_us: u64) -> Option<(Conflated, u64)> {
        let Held { cursor, count, what } = self.held.take()?;
        let mut released = match what {
            What::Newest(newest) => newest.since(0),
            What::Dropped { topics, more } => {
                Conflated { dropped: topics.into_iter().collect(), more_dropped: more, ..Conflated::default() }
            }
        };
        released.cursor = Some(cursor);
        let passed = released.events.len() as u64;
        self.charge(now_us, passed);
        Some((released, count - passed))
    }
}

impl<T> Rooms<T> {
    /// Lets the time be `now_ms`, by any clock that does not go back, and makes what was held back ready to be told
    /// where the rates allow it. To be called some times a second if any policy has a rate; [`Rooms::seal`] comes next.
    pub fn tick(&mut self, now_ms: u64) {
        self.now_us = now_ms.saturating_mul(1000);
        let now_us = self.now_us;
        let throttle = |id: &CohortId| self.cohorts.get(id.0).and_then(|cohort| cohort.throttle.as_ref());
        let ready = |id: &CohortId| throttle(id).is_none_or(|throttle| throttle.has_room(now_us));
        let ready: Vec<_> = self.held.iter().copied().filter(ready).collect();
        ready.into_iter().for_each(|id| self.release(id));
    }

    /// What was withheld since this was last asked.
    pub fn take_withheld(&mut self) -> Withheld {
        std::mem::take(&mut self.withheld)
    }

    /// Tells the members of a cohort what was held back from them, so that none of them is past it without knowing.
    pub(super) fn release(&mut self, id: CohortId) {
        let Some(cohort) = self.cohorts.get_mut(id.0) else { return };
        let released = cohort.throttle.as_mut().and_then(|throttle| throttle.release(self.now_us));
        let Some((Conflated { events, dropped, cursor: Some(mut cursor), more_dropped }, missing)) = released else {
            return;
        };
        self.held.retain(|other| *other != id);
        let members = cohort.outbox.len() as u64;
        if members == 0 {
            return;
        }
        if missing > 0 {
            let topics = if more_dropped { Vec::new() } else { dropped };
            cohort.outbox.push_gap(cursor, Gap::new(GapReason::Dropped, topics).frame(&cursor), self.now_us);
            self.withheld.events += missing * members;
            self.withheld.gaps += members;
        }
        let mut encoded = Vec::with_capacity(events.len());
        frames(&mut cursor, &events, &mut encoded);
        events.iter().zip(encoded).for_each(|(event, frame)| cohort.outbox.push(event, frame, self.now_us));
        if !std::mem::replace(&mut cohort.dirty, true) {
            self.dirty.push(id);
        }
    }
}
