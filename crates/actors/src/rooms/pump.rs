//! Applying deliveries and waking who has something new.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::atomic::Ordering,
    task::{Context as TaskContext, Poll},
    time::Instant,
};

use actix::{ActorFuture, Context};
use towncrier_core::rooms::{CohortId, Slow};
use towncrier_telemetry::{DropReason, spans::Span};
use towncrier_wire::CloseReason;

use super::{Rooms, tell};
use crate::{
    messages::{Delivery, End, Lagged, Ready},
    trace,
};

/// Most bytes of deliveries that are applied before the streams get a turn.
const SLICE_BYTES: usize = 256 * 1024;

/// Most events of the same.
const SLICE_EVENTS: usize = 512;

/// Most members that are woken in one turn.
const WAKE_MEMBERS: usize = 1024;

/// Members that are yet to be woken.
#[derive(Debug, Default)]
pub(super) struct Waking {
    pub(super) cohorts: VecDeque<CohortId>,
    /// Where in the first of `cohorts` to go on.
    pub(super) from: usize,
}

/// Runs the pump after each turn's messages.
pub(super) struct Pump;

impl ActorFuture<Rooms> for Pump {
    type Output = ();

    fn poll(self: Pin<&mut Self>, rooms: &mut Rooms, _: &mut Context<Rooms>, task: &mut TaskContext<'_>) -> Poll<()> {
        rooms.pump(task);
        Poll::Pending
    }
}

impl Rooms {
    fn pump(&mut self, task: &TaskContext<'_>) {
        if self.waking.cohorts.is_empty()
            && let Some((began, events)) = self.fanout.take()
        {
            // Those that were woken last have had their turn before this one.
            self.local.timing.fanned_out(began.elapsed(), events);
        }
        if !self.waking.cohorts.is_empty() {
            self.wake_some();
            task.waker().wake_by_ref();
            return;
        }
        for cohort in std::mem::take(&mut self.check) {
            self.disconnect_lagging(cohort);
        }
        if self.inbox.is_empty() {
            return;
        }
        let began = self.local.timing.fanouts.is_due().then(Instant::now);
        let (events, delivering) = self.apply_slice();
        self.waking.cohorts = self.local.rooms.borrow_mut().seal().into();
        self.wake_some();
        drop(delivering);
        let sampler = &self.local.timing.fanouts;
        if let Some(began) = began.filter(|_| events > 0) {
            sampler.took();
            self.fanout = Some((began, events));
        }
        sampler.passed();
        let unfinished = !self.waking.cohorts.is_empty()
            || !self.check.is_empty()
            || !self.inbox.is_empty()
            || self.fanout.is_some();
        if unfinished {
            task.waker().wake_by_ref();
        }
    }

    /// Applies deliveries up to a slice's worth. Gives how many events they had, and the spans of those that are traced, which
    /// end when their members have been woken.
    fn apply_slice(&mut self) -> (usize, Vec<Span>) {
        let mut delivering = Vec::new();
        let (mut bytes, mut events) = (0, 0);
        while bytes < SLICE_BYTES && events < SLICE_EVENTS {
            let Some(delivery) = self.inbox.pop_front() else { break };
            match delivery {
                Delivery::Events(batch, taken_at) => {
                    let taken_us = self.local.timing.us(taken_at);
                    let mut rooms = self.local.rooms.borrow_mut();
                    let mut taken = 0;
                    for event in &batch[self.applied..] {
                        if let Some(trace) = event.trace() {
                            let audience = || rooms.audience(event.topic());
                            let tracer = &self.local.options.tracer;
                            delivering.push(trace::deliver(tracer, event, trace, self.number, audience));
                        }
                        let delivered = rooms.deliver(event, taken_us);
                        self.local.timing.delivered(event.topic().as_str(), delivered);
                        taken += event.cost();
                        events += 1;
                        self.applied += 1;
                        if bytes + taken >= SLICE_BYTES || events == SLICE_EVENTS {
                            break;
                        }
                    }
                    bytes += taken;
                    self.queued.fetch_sub(taken, Ordering::Relaxed);
                    if self.applied < batch.len() {
                        self.inbox.push_front(Delivery::Events(batch, taken_at));
                    } else {
                        self.applied = 0;
                    }
                }
                Delivery::Joined(selectors, heads) => {
                    for selector in &selectors {
                        let ready = self.local.rooms.borrow_mut().joined(selector, &heads);
                        ready.into_iter().for_each(|cohort| self.tell_ready(cohort));
                    }
                    self.answer_again();
                }
                Delivery::Heads(heads) => self.local.rooms.borrow_mut().advance(&heads),
                Delivery::End(reason, workers) => self.end_all(reason, workers),
                Delivery::Resync(heads) => {
                    self.resync();
                    self.local.rooms.borrow_mut().advance(&heads);
                }
            }
        }
        (events, delivering)
    }

    pub(super) fn wake_some(&mut self) {
        let rooms = self.local.rooms.borrow();
        let mut budget = WAKE_MEMBERS;
        while let Some(&cohort) = self.waking.cohorts.front() {
            let (members, next) = rooms.members(cohort, self.waking.from, budget);
            let mut woken = 0;
            members.for_each(|shared| {
                shared.wake();
                woken += 1;
            });
            budget = budget.saturating_sub(woken.max(1));
            if let Some(from) = next {
                self.waking.from = from;
            } else {
                self.waking.from = 0;
                self.waking.cohorts.pop_front();
                if rooms.may_lag(cohort) {
                    self.check.push(cohort);
                }
            }
            if budget == 0 {
                break;
            }
        }
    }

    fn disconnect_lagging(&self, cohort: CohortId) {
        let mut rooms = self.local.rooms.borrow_mut();
        for lagging in rooms.lagging(cohort) {
            if lagging.slow == Slow::Conflate {
                continue;
            }
            if let Some(shared) = rooms.detach(lagging.member) {
                self.local.metrics.drops.of(DropReason::Slow).inc();
                shared.member.set(None);
                shared.out.borrow_mut().live = false;
                tell(&shared, Lagged);
            }
        }
    }

    /// Ends every session that is attached: it may have missed something, which history has.
    fn resync(&self) {
        for (_, shared) in self.local.sessions.borrow().iter() {
            if let Some(member) = shared.member.take() {
                self.local.rooms.borrow_mut().detach(member);
                shared.out.borrow_mut().live = false;
                tell(shared, End(CloseReason::Resync));
            }
        }
    }

    fn tell_ready(&mut self, cohort: CohortId) {
        let heads = self.local.rooms.borrow().heads();
        for key in self.waiting.remove(&cohort).into_iter().flatten() {
            if let Some(shared) = self.local.session(key) {
                tell(&shared, Ready(heads));
            }
        }
    }

    fn answer_again(&mut self) {
        let rooms = self.local.rooms.borrow();
        let heads = rooms.heads();
        for (key, _) in self.again.extract_if(.., |(_, again)| rooms.is_answered(again)) {
            if let Some(shared) = self.local.session(key) {
                tell(&shared, Ready(heads));
            }
        }
    }
}
