//! The reading end of a session: what a transport sends.

use std::{
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use towncrier_core::{
    outbox::Next,
    rooms::{MemberId, frames},
};
use towncrier_telemetry::{DropReason, GapReason as GapLabel};
use towncrier_wire::{Cursor, Gap, GapReason, control, sse};

use crate::{
    local::{Format, Local, Out, Shared},
    messages::{Drained, Gone},
};

/// Frames for one client, in the order in which it must get them. Dropping it ends the session.
pub struct SessionStream {
    local: Rc<Local>,
    shared: Rc<Shared>,
}

impl SessionStream {
    pub(crate) fn new(local: Rc<Local>, shared: Rc<Shared>) -> Self {
        Self { local, shared }
    }

    pub(crate) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    pub(crate) fn local(&self) -> &Rc<Local> {
        &self.local
    }

    /// The next bytes to send: always whole frames, and all that there are up to a good size for one write. Ends when the
    /// session does.
    pub fn poll_frames(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut out = self.shared.out.borrow_mut();
        let next = self.next(&mut out);
        match next {
            Some(bytes) => {
                out.heartbeat = false;
                self.shared.sent_at.set(self.local.tick.get());
                Poll::Ready(Some(bytes))
            }
            None if out.ended => Poll::Ready(None),
            None => {
                self.shared.set_waker(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }

    fn next(&self, out: &mut Out) -> Option<Bytes> {
        loop {
            if let Some(bytes) = out.pop() {
                self.local.sent.add(0, bytes.len());
                return Some(bytes);
            }
            if out.ended {
                return None;
            }
            if std::mem::take(&mut out.tell_drained) {
                self.tell_drained();
            }
            let member = self.shared.member.get().filter(|_| out.live);
            if let Some(member) = member {
                if self.local.timing.deliveries.is_due() {
                    self.sample(member);
                }
                // Bound to a name, so that the rooms are free again for what follows.
                let next = self.local.rooms.borrow_mut().next(member);
                match next {
                    Next::Frames { bytes, events } => {
                        self.local.sent.add(events, bytes.len());
                        self.local.timing.deliveries.passed();
                        return Some(bytes);
                    }
                    Next::Conflated(conflated) => {
                        self.push_conflated(out, conflated);
                        continue;
                    }
                    Next::Nothing => {}
                }
            }
            if std::mem::take(&mut out.heartbeat) {
                self.local.metrics.heartbeats.inc();
                let checkpoint = member.and_then(|member| self.local.rooms.borrow().checkpoint(member));
                let bytes = heartbeat(out.format, checkpoint);
                self.local.sent.add(0, bytes.len());
                return Some(bytes);
            }
            return None;
        }
    }

    /// Measures how old that is what the member takes now, if there is something.
    #[cold]
    fn sample(&self, member: MemberId) {
        let oldest = self.local.rooms.borrow().oldest_of(member);
        if let Some(oldest) = oldest {
            self.local.timing.handed_over(oldest);
            self.local.timing.deliveries.took();
        }
    }

    fn push_conflated(&self, out: &mut Out, conflated: towncrier_core::outbox::Conflated) {
        let Some(mut cursor) = conflated.cursor else { return };
        if conflated.more_dropped || !conflated.dropped.is_empty() {
            self.local.metrics.gaps.of(GapLabel::Dropped).inc();
            self.local.metrics.drops.of(DropReason::Conflated).inc_by(conflated.dropped.len().max(1) as u64);
            let topics = if conflated.more_dropped { Vec::new() } else { conflated.dropped };
            out.push(Gap::new(GapReason::Dropped, topics).frame(&cursor));
        }
        frames(&mut cursor, &conflated.events, out);
        self.local.sent.add(conflated.events.len(), 0);
    }

    fn tell_drained(&self) {
        if let Some(address) = &*self.shared.address.borrow() {
            address.do_send(Drained);
        }
    }
}

fn heartbeat(format: Format, checkpoint: Option<Cursor>) -> Bytes {
    let cursor = checkpoint.as_ref().map(|cursor| cursor as &dyn std::fmt::Display);
    match format {
        Format::SseWithHeartbeatEvents => control::heartbeat(cursor),
        Format::Sse | Format::Events => sse::ping(cursor),
    }
}

impl Drop for SessionStream {
    fn drop(&mut self) {
        // A waker that stays here would keep the connection's task alive.
        self.shared.set_waker(None);
        if let Some(address) = &*self.shared.address.borrow() {
            address.do_send(Gone);
        }
    }
}
