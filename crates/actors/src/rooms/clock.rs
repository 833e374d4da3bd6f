//! What is due on a worker: one wheel for all its sessions.

use std::{sync::atomic::Ordering, time::Duration};

use towncrier_wire::CloseReason;

use super::{Rooms, tell};
use crate::{
    local::Local,
    messages::{End, Leave, SessionKey},
};

#[derive(Debug, Clone, Copy)]
pub(super) enum Due {
    Heartbeat(SessionKey),
    End(SessionKey),
}

impl Rooms {
    pub(super) fn tick(&mut self) {
        let before = self.local.tick.get();
        let now = Self::ticks(self.began.elapsed());
        self.local.tick.set(now);
        let mut due = Vec::new();
        self.wheel.advance(now, &mut due);
        for due in due {
            match due {
                Due::Heartbeat(key) => self.heartbeat(key, now),
                Due::End(key) => {
                    if let Some(shared) = self.local.session(key) {
                        tell(&shared, End(CloseReason::MaxLifetime));
                    }
                }
            }
        }

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

    fn heartbeat(&mut self, key: SessionKey, now: u64) {
        let Some(shared) = self.local.session(key) else { return };
        let due = shared.sent_at.get() + Self::ticks(self.local.options.heartbeat);
        if due > now {
            self.wheel.insert(due, Due::Heartbeat(key));
            return;
        }
        shared.out.borrow_mut().heartbeat = true;
        shared.wake();
        self.wheel.insert(now + Self::ticks(self.local.options.heartbeat), Due::Heartbeat(key));
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
