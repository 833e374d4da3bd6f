//! The one owner of the backplane.
//!
//! It tells the backplane what this node follows, feeds everything that comes back to history first, and then hands each
//! worker what it wants of it, in one message. The order in which the backplane tells things is kept all the way.

mod asks;

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context as TaskContext, Poll},
    time::{Duration, Instant},
};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, StreamHandler, WrapFuture};
use futures_util::Stream;
use towncrier_backplane::{Answer, Backplane, Signal, Signals};
use towncrier_core::SelectorIndex;
use towncrier_telemetry::{DropReason, Metrics, Operation as Asked};
use towncrier_wire::{CloseReason, Event, Heads, Selector, limits::WORKERS_MAX};

use crate::{
    History, Options, Post, Rooms,
    fatal::Vital,
    messages::{Deliver, Delivery, EndAll, Feed, Follow, Join, Leave, Reset, Unfollow, WorkerUp},
};

/// Most signals that are taken in one turn.
const SIGNALS_PER_TURN: usize = 256;

/// How often sessions on quiet topics are told how far they are, and gauges are set.
const ANNOUNCE: Duration = Duration::from_secs(1);

/// How long the backplane may take to say how far it is before sessions end without that.
const END_WITHIN: Duration = Duration::from_millis(500);

/// How long until a join that failed is tried again: at first, and at most.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(5);

/// A worker thread of this node.
#[derive(Debug)]
struct Worker {
    rooms: Post<Rooms>,
    /// Bytes of events that it was sent and has not taken up.
    queued: Arc<AtomicUsize>,
    /// Set while it gets no events, because it did not keep up: joins that it must be answered then.
    behind: Option<Vec<Selector>>,
}

/// Who wants a selector.
#[derive(Debug, Default)]
struct Wanted {
    /// Which workers want it, as bits by number.
    by: u64,
    /// Which of them get its events.
    joined: u64,
    /// Workers that wait for the answer to a join, one entry for each join: answers come in the order of the joins.
    waiting: VecDeque<usize>,
}

/// Something to ask of the backplane.
#[derive(Debug)]
enum Operation {
    Join(Vec<Selector>),
    Leave(Vec<Selector>),
}

/// See the module.
pub struct Bridge {
    backplane: Arc<dyn Backplane>,
    signals: Option<Signals>,
    history: Post<History>,
    workers: Vec<Worker>,
    wanted: HashMap<Selector, Wanted>,
    index: SelectorIndex<usize>,
    heads: Heads,
    /// What to follow and what not to, one after the other: a leave that overtook a later join would end what was just
    /// begun.
    operations: VecDeque<Operation>,
    operating: bool,
    announcing: bool,
    /// Why all sessions are to end, as soon as the backplane has said how far it is.
    ending: Option<CloseReason>,
    options: Arc<Options>,
    metrics: Arc<Metrics>,
    vital: Vital,
}

/// The backplane's signals, as many at a time as there are.
struct InBatches(Signals);

impl Stream for InBatches {
    type Item = Vec<Signal>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next(cx, SIGNALS_PER_TURN).map(|signals| (!signals.is_empty()).then_some(signals))
    }
}

impl Bridge {
    pub(crate) fn new(
        backplane: Arc<dyn Backplane>,
        signals: Signals,
        history: Post<History>,
        options: Arc<Options>,
        metrics: Arc<Metrics>,
        vital: Vital,
    ) -> Self {
        Self {
            backplane,
            signals: Some(signals),
            history,
            workers: Vec::new(),
            wanted: HashMap::new(),
            index: SelectorIndex::default(),
            heads: Heads::default(),
            operations: VecDeque::new(),
            operating: false,
            announcing: false,
            ending: None,
            options,
            metrics,
            vital,
        }
    }

    fn operate(&mut self, operation: Operation, ctx: &mut Context<Self>) {
        self.operations.push_back(operation);
        if !self.operating {
            self.operate_next(RETRY_FIRST, ctx);
        }
    }

    /// Asks for the first operation that waits; it stays first until it is done.
    fn operate_next(&mut self, retry: Duration, ctx: &mut Context<Self>) {
        self.operating = !self.operations.is_empty();
        let backplane = self.backplane.clone();
        let asked: Answer<'static, _> = match self.operations.front_mut() {
            None => return,
            Some(Operation::Join(selectors)) => {
                // What was left again while the backplane was away needs no answer.
                selectors.retain(|selector| self.wanted.contains_key(selector));
                let (selectors, metrics) = (selectors.clone(), self.metrics.clone());
                Box::pin(async move {
                    let began = Instant::now();
                    let joined = backplane.join(selectors).await;
                    metrics.backplane_seconds.of(Asked::Join).observe_time(began.elapsed());
                    joined
                })
            }
            Some(Operation::Leave(selectors)) => {
                let selectors = selectors.clone();
                Box::pin(async move { backplane.leave(selectors).await })
            }
        };
        ctx.spawn(asked.into_actor(self).map(move |result, bridge, ctx| match result {
            Ok(()) => {
                bridge.operations.pop_front();
                bridge.operate_next(RETRY_FIRST, ctx);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot tell the backplane what to follow, trying again");
                let wait = retry.mul_f64(0.5 + fastrand::f64());
                let retry = (retry * 2).min(RETRY_MOST);
                ctx.run_later(wait, move |bridge, ctx| bridge.operate_next(retry, ctx));
            }
        }));
    }

    fn joined(&mut self, mut selectors: Vec<Selector>, heads: &Heads, out: &mut [Vec<Delivery>]) {
        self.advance(heads);
        selectors.retain(|selector| self.wanted.contains_key(selector));
        self.history.do_send(Follow { selectors: selectors.clone(), heads: *heads });
        let mut answers: Vec<Vec<Selector>> = vec![Vec::new(); self.workers.len()];
        for selector in selectors {
            let Some(wanted) = self.wanted.get_mut(&selector) else { continue };
            let Some(worker) = wanted.waiting.pop_front() else { continue };
            if wanted.joined & (1 << worker) == 0 {
                self.index.insert(&selector, worker);
                wanted.joined |= 1 << worker;
            }
            answers[worker].push(selector);
        }
        for (worker, selectors) in answers.into_iter().enumerate().filter(|(_, selectors)| !selectors.is_empty()) {
            match &mut self.workers[worker].behind {
                Some(later) => later.extend(selectors),
                None => out[worker].push(Delivery::Joined(selectors, *heads)),
            }
        }
    }

    fn events(&mut self, events: Vec<Arc<Event>>, taken: Instant, out: &mut [Vec<Delivery>]) {
        let mut batches: Vec<(Vec<Arc<Event>>, usize)> = vec![(Vec::new(), 0); self.workers.len()];
        let partitions = self.backplane.partitions();
        for event in &events {
            // A worker that does not get it is told by its heads, when it resumes, that history has it.
            let head = &mut self.heads[partitions.of(event.topic()).index()];
            *head = event.id().max(*head);
            let mut to = 0_u64;
            self.index.matches(event.topic(), |worker| to |= 1 << worker);
            if let Some(trace) = event.trace() {
                tracing::debug!(
                    trace_id = %trace.trace_id(),
                    event = %event.id(),
                    topic = %event.topic(),
                    workers = to.count_ones(),
                    "an event has come"
                );
            }
            for worker in bits(to) {
                batches[worker].0.push(event.clone());
                batches[worker].1 += event.cost();
            }
        }
        // Before any worker: what a session reads up to its heads must be there.
        self.history.do_send(Feed(events));
        for (index, (events, bytes)) in batches.into_iter().enumerate().filter(|(_, (events, _))| !events.is_empty()) {
            let worker = &mut self.workers[index];
            if worker.behind.is_none() && worker.queued.load(Ordering::Relaxed) > self.options.worker_bytes_max {
                tracing::warn!(worker = index, "a worker does not keep up, its sessions will resume from history");
                worker.behind = Some(Vec::new());
            }
            if worker.behind.is_some() {
                self.metrics.drops.of(DropReason::WorkerBehind).inc_by(events.len() as u64);
                continue;
            }
            worker.queued.fetch_add(bytes, Ordering::Relaxed);
            self.metrics.dispatches.inc_by(events.len() as u64);
            out[index].push(Delivery::Events(events, taken));
        }
    }

    fn heads(&mut self, heads: Heads, out: &mut [Vec<Delivery>]) {
        self.advance(&heads);
        if let Some(reason) = self.ending.take() {
            let workers = self.workers.len();
            out.iter_mut().for_each(|out| out.push(Delivery::End(reason, workers)));
        }
        for (worker, out) in self.workers.iter().zip(out) {
            if worker.behind.is_none() {
                out.push(Delivery::Heads(heads));
            }
        }
    }

    /// Sessions resume, and read everything up to these heads from the backplane: neither history here nor the workers have
    /// all of it. A worker that is behind will have its sessions resume anyway.
    fn lost(&mut self, heads: Heads, out: &mut [Vec<Delivery>]) {
        tracing::warn!("the backplane lost events, all sessions resume from history");
        self.metrics.drops.of(DropReason::BackplaneLost).inc();
        self.advance(&heads);
        self.history.do_send(Reset(heads));
        for (worker, out) in self.workers.iter().zip(out) {
            if worker.behind.is_none() {
                out.push(Delivery::Resync(heads));
            }
        }
    }

    fn advance(&mut self, heads: &Heads) {
        for (own, head) in self.heads.iter_mut().zip(heads) {
            *own = (*own).max(*head);
        }
    }

    /// Lets workers go on that were behind and have now taken up all that they had been sent.
    fn resync(&mut self) {
        for (index, worker) in self.workers.iter_mut().enumerate() {
            if worker.queued.load(Ordering::Relaxed) > 0 {
                continue;
            }
            if let Some(joined) = worker.behind.take() {
                tracing::info!(worker = index, "the worker has caught up");
                let mut deliveries = vec![Delivery::Resync(self.heads)];
                if !joined.is_empty() {
                    deliveries.push(Delivery::Joined(joined, self.heads));
                }
                worker.rooms.do_send(Deliver(deliveries));
            }
        }
    }

    fn every_second(&mut self, ctx: &mut Context<Self>) {
        self.vital.beat();
        self.resync();
        self.count();
        // One at a time: a backplane that does not answer is not asked again and again.
        if std::mem::replace(&mut self.announcing, true) {
            return;
        }
        let backplane = self.backplane.clone();
        let metrics = self.metrics.clone();
        let work = async move {
            // A backplane that is away says so to whoever needs it; quiet sessions just keep the cursor that they have.
            let _ = backplane.announce().await;
            let began = Instant::now();
            let totals = backplane.totals().await;
            metrics.backplane_seconds.of(Asked::Probe).observe_time(began.elapsed());
            if let Ok(totals) = totals {
                let gauge = |value| i64::try_from(value).unwrap_or(i64::MAX);
                metrics.history_events.set(gauge(totals.events));
                metrics.history_bytes.set(gauge(totals.bytes));
                metrics.history_topics.set(gauge(totals.topics));
            }
        };
        ctx.spawn(work.into_actor(self).map(|(), bridge, _| bridge.announcing = false));
    }

    /// Brings the counters up to what the backplane has counted.
    fn count(&self) {
        let (counts, metrics) = (self.backplane.counts(), &self.metrics);
        metrics.backplane_selectors.set(i64::try_from(self.wanted.len()).unwrap_or(i64::MAX));
        for (counter, counted) in [
            (&metrics.backplane_reconnects, counts.reconnects),
            (&metrics.backplane_relinks, counts.relinks),
            (&metrics.backplane_resyncs, counts.resyncs),
            (&metrics.backplane_heals, counts.heals),
            (&metrics.backplane_healed_events, counts.healed_events),
            (&metrics.backplane_heals_incomplete, counts.heals_incomplete),
            (&metrics.backplane_losses, counts.losses),
        ] {
            counter.inc_by(counted.saturating_sub(counter.get()));
        }
    }
}

fn bits(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = (set != 0).then(|| set.trailing_zeros() as usize)?;
        set &= set - 1;
        Some(lowest)
    })
}

impl Actor for Bridge {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(signals) = self.signals.take() {
            ctx.add_stream(InBatches(signals));
        }
        ctx.run_interval(ANNOUNCE, Self::every_second);
    }
}

/// The end of the stream stops the actor, and with it the hub.
impl StreamHandler<Vec<Signal>> for Bridge {
    fn handle(&mut self, signals: Vec<Signal>, _: &mut Self::Context) {
        let mut out: Vec<Vec<Delivery>> = self.workers.iter().map(|_| Vec::new()).collect();
        for signal in signals {
            match signal {
                Signal::Events(events, taken) => self.events(events, taken, &mut out),
                Signal::Joined { selectors, heads } => self.joined(selectors, &heads, &mut out),
                Signal::Heads(heads) => self.heads(heads, &mut out),
                Signal::Lost(heads) => self.lost(heads, &mut out),
            }
        }
        for (worker, deliveries) in self.workers.iter().zip(out) {
            if !deliveries.is_empty() {
                worker.rooms.do_send(Deliver(deliveries));
            }
        }
    }
}

impl Handler<WorkerUp> for Bridge {
    type Result = Option<usize>;

    fn handle(&mut self, WorkerUp { rooms, queued }: WorkerUp, _: &mut Self::Context) -> Option<usize> {
        if self.workers.len() == WORKERS_MAX {
            return None;
        }
        self.workers.push(Worker { rooms, queued, behind: None });
        Some(self.workers.len() - 1)
    }
}

impl Handler<Join> for Bridge {
    type Result = ();

    fn handle(&mut self, Join { worker, selectors }: Join, ctx: &mut Self::Context) {
        for selector in &selectors {
            let wanted = self.wanted.entry(selector.clone()).or_default();
            wanted.by |= 1 << worker;
            wanted.waiting.push_back(worker);
        }
        self.operate(Operation::Join(selectors), ctx);
    }
}

impl Handler<Leave> for Bridge {
    type Result = ();

    fn handle(&mut self, Leave { worker, selectors }: Leave, ctx: &mut Self::Context) {
        let mut unwanted = Vec::new();
        for selector in selectors {
            let Some(wanted) = self.wanted.get_mut(&selector) else { continue };
            wanted.by &= !(1 << worker);
            wanted.joined &= !(1 << worker);
            wanted.waiting.retain(|other| *other != worker);
            self.index.remove(&selector, worker);
            if wanted.by == 0 {
                self.wanted.remove(&selector);
                unwanted.push(selector);
            }
        }
        if unwanted.is_empty() {
            return;
        }
        self.history.do_send(Unfollow(unwanted.clone()));
        self.operate(Operation::Leave(unwanted), ctx);
    }
}

/// An event that was stored before this is told before the heads that are asked for here, so its subscribers get it before
/// their streams end.
impl Handler<EndAll> for Bridge {
    type Result = ();

    fn handle(&mut self, EndAll(reason): EndAll, ctx: &mut Self::Context) {
        self.ending = Some(reason);
        let backplane = self.backplane.clone();
        let asked = async move { backplane.announce().await };
        ctx.spawn(asked.into_actor(self).map(|_, _, _| ()));
        // Whether the backplane answers or not.
        ctx.run_later(END_WITHIN, |bridge, _| {
            if let Some(reason) = bridge.ending.take() {
                for worker in &bridge.workers {
                    worker.rooms.do_send(Deliver(vec![Delivery::End(reason, bridge.workers.len())]));
                }
            }
        });
    }
}
