//! What is due on a worker: one wheel for all its sessions.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use towncrier_telemetry::{DropReason, GapReason};
use towncrier_wire::CloseReason;

use super::{Rooms, tell};
use crate::{
    local::{Local, Shared},
    messages::{End, Leave},
    options::TICK,
};

/// A session lags that has left something unread for so long, in µs.
const LAGGING_US: u64 = 1_000_000;

impl Rooms {
    pub(super) fn tick(&mut self) {
        self.vital.beat();
        let at = Instant::now();
        self.local.timing.ticked(at.duration_since(self.ticked).saturating_sub(TICK));
        self.ticked = at;
        let before = self.local.tick.get();
        let now = self.local.timing.us(at) / TICK.as_micros() as u64;
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
        self.report(at);
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

    fn report(&self, now: Instant) {
        let Local { metrics, sent, rooms, timing, reported, .. } = &*self.local;
        timing.report();
        metrics.deliveries.inc_by(sent.events.take());
        metrics.delivered_bytes.inc_by(sent.bytes.take());
        let mut rooms = rooms.borrow_mut();
        let fill = rooms.fill(timing.us(now).saturating_sub(LAGGING_US));
        reported.report(metrics, rooms.totals(), fill);
        if let Some([queue_bytes, outbox_bytes_max]) = &self.gauges {
            let gauge = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
            queue_bytes.set(gauge(self.queued.load(Ordering::Relaxed)));
            outbox_bytes_max.set(gauge(fill.bytes_max));
        }
    }
}
