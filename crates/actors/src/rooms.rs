//! The rooms of one worker thread.
//!
//! Messages only queue work; the pump does it, once per turn of the thread's loop: it applies a slice of deliveries, makes
//! them readable at once, and wakes the members of each cohort that has something new, some at a time. What it has not
//! done it does at its next turn, after the streams that it woke, so that a burst is sent in pieces that the sockets can
//! take and nobody is called slow who was never asked.

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context as TaskContext, Poll},
    time::{Duration, Instant},
};

use actix::{Actor, ActorFuture, ActorFutureExt, Addr, AsyncContext, Context, Handler, WrapFuture};
use towncrier_core::{
    Wheel,
    rooms::{CohortId, CohortKey, Slow},
};
use towncrier_telemetry::DropReason;
use towncrier_wire::{CloseReason, Selector};

use crate::{
    Bridge,
    fatal::Vital,
    local::{Local, Shared},
    messages::{
        Attach, Attached, Deliver, Delivery, Direct, End, EndSessions, Join, JoinAgain, Lagged, Leave, Numbered, Ready,
        SessionKey, Subscribe, Unsubscribe, WorkerUp,
    },
    options::TICK,
};

/// Most bytes of deliveries that are applied before the streams get a turn.
const SLICE_BYTES: usize = 256 * 1024;

/// Most events of the same.
const SLICE_EVENTS: usize = 512;

/// Most members that are woken in one turn.
const WAKE_MEMBERS: usize = 1024;

/// Slots of the wheel: most heartbeats lie within one turn of it.
const WHEEL_SLOTS: usize = 512;

#[derive(Debug, Clone, Copy)]
enum Due {
    Heartbeat(SessionKey),
    End(SessionKey),
}

/// Members that are yet to be woken.
#[derive(Debug)]
struct Waking {
    cohorts: VecDeque<CohortId>,
    /// Where in the first of `cohorts` to go on.
    from: usize,
}

/// See the module.
pub struct Rooms {
    local: Rc<Local>,
    bridge: Addr<Bridge>,
    number: Option<usize>,
    /// Selectors to join as soon as the bridge has given this worker a number.
    early: Vec<Selector>,
    waiting: HashMap<CohortId, Vec<SessionKey>>,
    /// Sessions that joined again, each with the selectors that are yet to be answered.
    again: Vec<(SessionKey, Vec<Selector>)>,
    inbox: VecDeque<Delivery>,
    /// How many events of the first delivery in `inbox` have been applied.
    applied: usize,
    queued: Arc<AtomicUsize>,
    waking: Waking,
    /// Cohorts whose members have had a turn to read since they were woken.
    check: Vec<CohortId>,
    wheel: Wheel<Due>,
    began: Instant,
    _vital: Vital,
}

impl Rooms {
    pub(crate) fn new(local: Rc<Local>, bridge: Addr<Bridge>, vital: Vital) -> Self {
        Self {
            local,
            bridge,
            number: None,
            early: Vec::new(),
            waiting: HashMap::new(),
            again: Vec::new(),
            inbox: VecDeque::new(),
            applied: 0,
            queued: Arc::new(AtomicUsize::new(0)),
            waking: Waking { cohorts: VecDeque::new(), from: 0 },
            check: Vec::new(),
            wheel: Wheel::new(WHEEL_SLOTS, 0),
            began: Instant::now(),
            _vital: vital,
        }
    }

    fn now_ms(&self) -> u64 {
        self.local.tick.get() * TICK.as_millis() as u64
    }

    fn ticks(duration: Duration) -> u64 {
        (duration.as_millis() / TICK.as_millis()).max(1) as u64
    }

    fn join(&mut self, selectors: Vec<Selector>) {
        match self.number {
            _ if selectors.is_empty() => {}
            Some(worker) => self.bridge.do_send(Join { worker, selectors }),
            None => self.early.extend(selectors),
        }
    }

    fn pump(&mut self, task: &TaskContext<'_>) {
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
        self.apply_slice();
        self.waking.cohorts = self.local.rooms.borrow_mut().seal().into();
        self.wake_some();
        let unfinished = !self.waking.cohorts.is_empty() || !self.check.is_empty() || !self.inbox.is_empty();
        if unfinished {
            task.waker().wake_by_ref();
        }
    }

    /// Applies deliveries up to a slice's worth.
    fn apply_slice(&mut self) {
        let (mut bytes, mut events) = (0, 0);
        while bytes < SLICE_BYTES && events < SLICE_EVENTS {
            let Some(delivery) = self.inbox.pop_front() else { break };
            match delivery {
                Delivery::Events(batch) => {
                    let mut rooms = self.local.rooms.borrow_mut();
                    let mut taken = 0;
                    for event in &batch[self.applied..] {
                        rooms.deliver(event);
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
                        self.inbox.push_front(Delivery::Events(batch));
                    } else {
                        self.applied = 0;
                    }
                }
                Delivery::Joined(selectors, heads) => {
                    for selector in &selectors {
                        let ready = self.local.rooms.borrow_mut().joined(selector, &heads);
                        ready.into_iter().for_each(|cohort| self.tell_ready(cohort));
                    }
                    self.answer_again(&selectors);
                }
                Delivery::Heads(heads) => self.local.rooms.borrow_mut().advance(&heads),
                Delivery::Resync(heads) => {
                    self.resync();
                    self.local.rooms.borrow_mut().advance(&heads);
                }
            }
        }
    }

    fn wake_some(&mut self) {
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

    fn answer_again(&mut self, joined: &[Selector]) {
        let heads = self.local.rooms.borrow().heads();
        self.again.retain_mut(|(key, missing)| {
            missing.retain(|selector| !joined.contains(selector));
            if missing.is_empty()
                && let Some(shared) = self.local.session(*key)
            {
                tell(&shared, Ready(heads));
            }
            !missing.is_empty()
        });
    }

    fn tick(&mut self) {
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

/// Sends a session a message, if it still runs.
fn tell<M>(shared: &Shared, message: M)
where
    crate::Session: Handler<M>,
    M: actix::Message<Result = ()> + Send + 'static,
{
    if let Some(address) = &*shared.address.borrow() {
        address.do_send(message);
    }
}

impl Actor for Rooms {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let up = WorkerUp { rooms: ctx.address(), queued: self.queued.clone() };
        let own = ctx.address();
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

/// Runs the pump after each turn's messages.
struct Pump;

impl ActorFuture<Rooms> for Pump {
    type Output = ();

    fn poll(self: Pin<&mut Self>, rooms: &mut Rooms, _: &mut Context<Rooms>, task: &mut TaskContext<'_>) -> Poll<()> {
        rooms.pump(task);
        Poll::Pending
    }
}

impl Handler<Numbered> for Rooms {
    type Result = ();

    fn handle(&mut self, Numbered(number): Numbered, _: &mut Self::Context) {
        self.number = Some(number);
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

        let now = self.local.tick.get();
        let heartbeat = Self::ticks(self.local.options.heartbeat);
        // The first one comes early, at a random time, so that sessions which came at once do not beat at once.
        self.wheel.insert(now + fastrand::u64(heartbeat / 2..=heartbeat), Due::Heartbeat(session));
        let lifetime = self.local.options.max_lifetime;
        if !lifetime.is_zero() {
            let lifetime = Self::ticks(lifetime);
            self.wheel.insert(now + lifetime - fastrand::u64(0..=lifetime / 4), Due::End(session));
        }
    }
}

impl Handler<JoinAgain> for Rooms {
    type Result = ();

    fn handle(&mut self, JoinAgain(key): JoinAgain, _: &mut Self::Context) {
        let Some(cohort) = self.local.session(key).and_then(|shared| shared.cohort.get()) else { return };
        let selectors = self.local.rooms.borrow().selectors(cohort);
        self.again.push((key, selectors.clone()));
        self.join(selectors);
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
            rooms.unsubscribe(cohort, self.local.tick.get() * TICK.as_millis() as u64);
        }
        // The actor holds the last way to itself in here.
        shared.address.take();
    }
}

impl Handler<Direct> for Rooms {
    type Result = usize;

    fn handle(&mut self, Direct { sessions, frame }: Direct, _: &mut Self::Context) -> usize {
        let max = self.local.options.direct_events_max;
        let offer = |shared: &Shared| {
            let taken = shared.out.borrow_mut().push_direct(frame.clone(), max);
            if !taken {
                self.local.metrics.drops.of(DropReason::DirectFull).inc();
            }
            shared.wake();
            usize::from(taken)
        };
        let taken = match sessions {
            Some(keys) => keys.iter().filter_map(|key| self.local.session(*key)).map(|shared| offer(&shared)).sum(),
            None => self.local.sessions.borrow().iter().map(|(_, shared)| offer(shared)).sum(),
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
                keys.into_iter().filter_map(|key| self.local.session(key)).for_each(|shared| tell(&shared, End(reason)))
            }
            None => self.local.sessions.borrow().iter().for_each(|(_, shared)| tell(shared, End(reason))),
        }
    }
}
