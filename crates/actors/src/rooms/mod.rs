//! The rooms of one worker thread.
//!
//! Messages only queue work; the pump does it, once per turn of the thread's loop: it applies a slice of deliveries, makes
//! them readable at once, and wakes the members of each cohort that has something new, some at a time. What it has not
//! done it does at its next turn, after the streams that it woke, so that a burst is sent in pieces that the sockets can
//! take and nobody is called slow who was never asked.

mod clock;
mod drain;
mod pump;

use std::{
    collections::{HashMap, VecDeque},
    rc::Rc,
    sync::{Arc, atomic::AtomicUsize},
    time::{Duration, Instant},
};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use towncrier_core::{
    Wheel,
    rooms::{Again, CohortId, CohortKey},
};
use towncrier_telemetry::{Actor as ActorLabel, DropReason, GapReason, Gauge};
use towncrier_wire::Selector;

use self::pump::{Pump, Waking};
use crate::{
    Bridge, Post, Posted,
    fatal::Vital,
    local::{DirectBound, Local, Shared},
    messages::{
        Attach, Attached, Deliver, Delivery, Direct, End, EndSessions, Join, JoinAgain, Numbered, Ready, SessionKey,
        Subscribe, Unsubscribe, WorkerUp,
    },
    options::TICK,
};

/// Slots of the wheel: most heartbeats lie within one turn of it.
const WHEEL_SLOTS: usize = 512;

/// See the module.
pub struct Rooms {
    local: Rc<Local>,
    bridge: Post<Bridge>,
    number: Option<usize>,
    /// Selectors to join as soon as the bridge has given this worker a number.
    early: Vec<Selector>,
    waiting: HashMap<CohortId, Vec<SessionKey>>,
    /// Sessions that joined again and wait for the answer.
    again: Vec<(SessionKey, Again)>,
    ending: Option<drain::Ending>,
    inbox: VecDeque<Delivery>,
    /// How many events of the first delivery in `inbox` have been applied.
    applied: usize,
    queued: Arc<AtomicUsize>,
    waking: Waking,
    /// Cohorts whose members have had a turn to read since they were woken.
    check: Vec<CohortId>,
    wheel: Wheel<SessionKey>,
    /// When the last tick came.
    ticked: Instant,
    /// Bytes that wait for this worker, and those in its fullest outbox.
    gauges: Option<[Gauge; 2]>,
    /// When a slice that is a sample was begun, and how many events it has, until all its members have had a turn.
    fanout: Option<(Instant, usize)>,
    vital: Vital,
}

impl Rooms {
    pub(crate) fn new(local: Rc<Local>, bridge: Post<Bridge>, vital: Vital) -> Self {
        Self {
            local,
            bridge,
            number: None,
            early: Vec::new(),
            waiting: HashMap::new(),
            again: Vec::new(),
            ending: None,
            inbox: VecDeque::new(),
            applied: 0,
            queued: Arc::new(AtomicUsize::new(0)),
            waking: Waking::default(),
            check: Vec::new(),
            wheel: Wheel::new(WHEEL_SLOTS, 0),
            ticked: Instant::now(),
            gauges: None,
            fanout: None,
            vital,
        }
    }

    fn now_ms(&self) -> u64 {
        self.local.tick.get() * TICK.as_millis() as u64
    }

    pub(crate) fn ticks(duration: Duration) -> u64 {
        (duration.as_millis() / TICK.as_millis()).max(1) as u64
    }

    fn join(&mut self, selectors: Vec<Selector>) {
        match self.number {
            _ if selectors.is_empty() => {}
            Some(worker) => self.bridge.do_send(Join { worker, selectors }),
            None => self.early.extend(selectors),
        }
    }
}

/// Sends a session a message, if it still runs.
fn tell<M>(shared: &Shared, message: M)
where
    crate::Session: Handler<Posted<M>>,
    M: actix::Message<Result = ()> + Send + 'static,
{
    if let Some(address) = &*shared.address.borrow() {
        address.do_send(message);
    }
}

impl Actor for Rooms {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let own = Post::new(ctx.address(), self.local.metrics.mailbox_messages.of(ActorLabel::Rooms));
        let up = WorkerUp { rooms: own.clone(), queued: self.queued.clone() };
        let bridge = self.bridge.clone();
        ctx.spawn(async move { bridge.send(up).await.ok().flatten() }.into_actor(self).map(move |number, _, _| {
            match number {
                Some(number) => own.do_send(Numbered(number)),
                None => tracing::error!("too many workers, this one gets no events"),
            }
        }));
        ctx.run_interval(TICK, |rooms, _| rooms.tick());
        ctx.spawn(Pump);
    }
}

impl Handler<Numbered> for Rooms {
    type Result = ();

    fn handle(&mut self, Numbered(number): Numbered, _: &mut Self::Context) {
        self.number = Some(number);
        self.vital.number(number);
        let metrics = &self.local.metrics;
        self.gauges = Some([metrics.worker_queue_bytes(number), metrics.worker_outbox_bytes_max(number)]);
        let early = std::mem::take(&mut self.early);
        self.join(early);
    }
}

impl Handler<Deliver> for Rooms {
    type Result = ();

    fn handle(&mut self, Deliver(deliveries): Deliver, _: &mut Self::Context) {
        self.inbox.extend(deliveries);
    }
}

impl Handler<Subscribe> for Rooms {
    type Result = ();

    fn handle(&mut self, Subscribe { session, selectors }: Subscribe, _: &mut Self::Context) {
        let Some(shared) = self.local.session(session) else { return };
        let policy = self.local.options.policies.of(&selectors);
        let (cohort, to_join) = self.local.rooms.borrow_mut().subscribe(CohortKey { selectors, policy });
        shared.cohort.set(Some(cohort));
        if self.local.rooms.borrow().is_ready(cohort) {
            tell(&shared, Ready(self.local.rooms.borrow().heads()));
        } else {
            self.waiting.entry(cohort).or_default().push(session);
        }
        self.join(to_join);

        self.schedule(&shared);
    }
}

impl Handler<JoinAgain> for Rooms {
    type Result = ();

    fn handle(&mut self, JoinAgain(key): JoinAgain, _: &mut Self::Context) {
        let Some(cohort) = self.local.session(key).and_then(|shared| shared.cohort.get()) else { return };
        let again = self.local.rooms.borrow_mut().join_again(cohort);
        if let Some(again) = again {
            self.join(vec![again.selector().clone()]);
            self.again.push((key, again));
        }
    }
}

impl Handler<Attach> for Rooms {
    type Result = ();

    fn handle(&mut self, Attach(key): Attach, _: &mut Self::Context) {
        let Some(shared) = self.local.session(key) else { return };
        let Some(cohort) = shared.cohort.get() else { return };
        let attached = self.local.rooms.borrow_mut().attach(cohort, shared.clone());
        if let Some((member, heads)) = attached {
            shared.member.set(Some(member));
            tell(&shared, Attached(heads));
        }
    }
}

impl Handler<Unsubscribe> for Rooms {
    type Result = ();

    fn handle(&mut self, Unsubscribe(key): Unsubscribe, _: &mut Self::Context) {
        let Some(shared) = self.local.session(key) else { return };
        self.local.sessions.borrow_mut().remove(key.index);
        self.again.retain(|(other, _)| *other != key);
        let mut rooms = self.local.rooms.borrow_mut();
        if let Some(member) = shared.member.take() {
            rooms.detach(member);
        }
        if let Some(cohort) = shared.cohort.take() {
            if let Some(waiting) = self.waiting.get_mut(&cohort) {
                waiting.retain(|other| *other != key);
                if waiting.is_empty() {
                    self.waiting.remove(&cohort);
                }
            }
            rooms.unsubscribe(cohort, self.now_ms());
        }
        // The address keeps the actor's mailbox, and the actor keeps this.
        shared.address.take();
    }
}

impl Handler<Direct> for Rooms {
    type Result = usize;

    fn handle(&mut self, Direct { sessions, frame }: Direct, _: &mut Self::Context) -> usize {
        let options = &self.local.options;
        let bound = DirectBound { events: options.direct_events_max, bytes: options.policies.fallback.lag_bytes };
        let offer = |shared: &Shared| {
            let taken = shared.out.borrow_mut().push_direct(frame.clone(), bound);
            if !taken {
                self.local.metrics.drops.of(DropReason::DirectFull).inc();
                self.local.metrics.gaps.of(GapReason::Dropped).inc();
            }
            shared.wake();
            usize::from(taken)
        };
        let taken = match sessions {
            Some(keys) => keys.iter().filter_map(|key| self.local.session(*key)).map(|shared| offer(&shared)).sum(),
            None => {
                let sessions = self.local.sessions.borrow();
                sessions.iter().filter(|(_, shared)| !shared.is_poll).map(|(_, shared)| offer(shared)).sum()
            }
        };
        self.local.metrics.direct_sent.inc_by(taken as u64);
        taken
    }
}

impl Handler<EndSessions> for Rooms {
    type Result = ();

    fn handle(&mut self, EndSessions { sessions, reason }: EndSessions, _: &mut Self::Context) {
        match sessions {
            Some(keys) => {
                let found = keys.into_iter().filter_map(|key| self.local.session(key));
                found.for_each(|shared| tell(&shared, End(reason)));
            }
            None => self.local.sessions.borrow().iter().for_each(|(_, shared)| tell(shared, End(reason))),
        }
    }
}
