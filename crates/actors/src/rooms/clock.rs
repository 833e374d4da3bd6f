//! What is due on a worker: one wheel for all its sessions.

use std::{sync::atomic::Ordering, time::Duration};

use towncrier_telemetry::{DropReason, GapReason};
use towncrier_wire::CloseReason;

use super::{Rooms, tell};
use crate::{
    local::{Local, Shared},
    messages::{End, Leave},
};

impl Rooms {
    pub(super) fn tick(&mut self) {
        let before = self.local.tick.get();
        let now = Self::ticks(self.began.elapsed());
        self.local.tick.set(now);
        let mut due = Vec::new();
        self.wheel.advance(now, &mut due);
        for key in due {
            if let Some(shared) = self.local.session(key) {
                self.look_after(&shared, now);
            }
        }

        self.tell_withheld();
        self.end_some();
        let second = Self::ticks(Duration::from_secs(1));
        if now / second > before / second {
            let before_ms = self.now_ms().saturating_sub(self.local.options.linger.as_millis() as u64);
            let idle = self.local.rooms.borrow_mut().leave_idle(before_ms);
            if let (false, Some(worker)) = (idle.is_empty(), self.number) {
                self.bridge.do_send(Leave { worker, selectors: idle });
            }
        }
        self.report();
    }

    /// Wakes members that a rate has kept from something, which they may have now.
    fn tell_withheld(&mut self) {
        let mut rooms = self.local.rooms.borrow_mut();
        rooms.tick(self.now_ms());
        let cohorts = rooms.seal();
        let withheld = rooms.take_withheld();
        drop(rooms);
        if !cohorts.is_empty() {
            self.waking.cohorts.extend(cohorts);
            self.wake_some();
        }
        self.local.metrics.drops.of(DropReason::OverRate).inc_by(withheld.events);
        self.local.metrics.gaps.of(GapReason::Dropped).inc_by(withheld.gaps);
    }

    /// Puts a new session on the wheel, where it has one place as long as it lives.
    pub(super) fn schedule(&mut self, shared: &Shared) {
        if shared.is_poll {
            return;
        }
        let now = self.local.tick.get();
        let lifetime = self.local.options.max_lifetime;
        if !lifetime.is_zero() {
            let lifetime = Self::ticks(lifetime);
            shared.ends_at.set(now + lifetime - fastrand::u64(0..=lifetime / 4));
        }
        shared.ends_at.set(shared.ends_at.get().min(shared.expires_at));
        self.wheel.insert(self.beat_after(now).min(shared.ends_at.get()), shared.key);
    }

    /// A heartbeat's time, a random quarter early: sessions that were sent something at once do not beat at once.
    fn beat_after(&self, sent_at: u64) -> u64 {
        let heartbeat = Self::ticks(self.local.options.heartbeat);
        sent_at + heartbeat - fastrand::u64(0..=heartbeat / 4)
    }

    fn look_after(&mut self, shared: &Shared, now: u64) {
        if now >= shared.ends_at.get() {
            let expired = now >= shared.expires_at;
            tell(shared, End(if expired { CloseReason::TokenExpired } else { CloseReason::MaxLifetime }));
            return;
        }
        let heartbeat = Self::ticks(self.local.options.heartbeat);
        let mut sent_at = shared.sent_at.get();
        if now >= sent_at + heartbeat - heartbeat / 4 {
            shared.out.borrow_mut().heartbeat = true;
            shared.wake();
            sent_at = now;
        }
        self.wheel.insert(self.beat_after(sent_at).max(now + 1).min(shared.ends_at.get()), shared.key);
    }

    fn report(&self) {
        let Local { metrics, sent, rooms, .. } = &*self.local;
        metrics.deliveries.inc_by(sent.events.take());
        metrics.delivered_bytes.inc_by(sent.bytes.take());
        if let Some(worker) = self.number {
            let queued = self.queued.load(Ordering::Relaxed);
            metrics.worker_queue_bytes(worker).set(i64::try_from(queued).unwrap_or(i64::MAX));
        }
        let (topics, cohorts) = rooms.borrow().totals();
        self.local.reported.report(metrics, topics, cohorts);
    }
}
