//! One load on a client: events are published for a time and received; what came of it is measured between two edges.

use std::time::Duration;

use super::publisher::{Plan, Publisher, Tally};
use super::subscriber::Subscriber;
use super::{Client, Faults, TICK};
use crate::args::Traffic;
use crate::stats::{Quantiles, ServerCpu, histogram, nanoseconds};
use crate::{Error, sys};

/// Between scheduling the first event and its due time: covers connecting the publishers.
const LEAD: Duration = Duration::from_millis(100);
/// A client that uses more of its core than this may be what limits the figures.
const BUSY_SHARE: f64 = 0.9;

/// Who listens to what is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listeners {
    /// The subscribers.
    Subscribers,
    /// The subscribers, who are away: nothing is waited for.
    Absent,
    /// Nobody: what publishing alone costs.
    Nobody,
}

/// What a scenario does between two turns of a load says when it is to be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// At that nanosecond at the latest, or soon.
    Turn(Option<u64>),
    /// Never: what was to be measured has happened.
    Done,
}

/// What one load came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) scheduled: u64,
    pub(crate) published: u64,
    pub(crate) acknowledged: u64,
    pub(crate) window: Duration,
    pub(crate) deliveries: u64,
    pub(crate) bytes: u64,
    pub(crate) publishes: u64,
    /// Deliveries that a publish makes, on average over the topics.
    pub(crate) deliveries_each: f64,
    pub(crate) latency: Option<Quantiles>,
    pub(crate) answers: Option<Quantiles>,
    pub(crate) lateness: Duration,
    /// Connections that the server closed after an answer.
    pub(crate) reconnects: u64,
    pub(crate) server: Option<ServerCpu>,
    /// Share of a core that this thread used in the window.
    pub(crate) client_cores: f64,
    pub(crate) faults: Faults,
    /// Those among the lost that show no hole: they had not come when the time was over, or the stream had ended.
    pub(crate) unfinished: u64,
    pub(crate) problem: Option<String>,
}

impl Outcome {
    /// That of a load which broke off.
    pub(crate) fn nothing() -> Self {
        Self {
            scheduled: 0,
            published: 0,
            acknowledged: 0,
            window: Duration::ZERO,
            deliveries: 0,
            bytes: 0,
            publishes: 0,
            deliveries_each: 0.0,
            latency: None,
            answers: None,
            lateness: Duration::ZERO,
            reconnects: 0,
            server: None,
            client_cores: 0.0,
            faults: Faults::default(),
            unfinished: 0,
            problem: None,
        }
    }

    /// Whether the client was so busy that the figures may be its own.
    pub(crate) fn client_was_busy(&self) -> bool {
        self.client_cores > BUSY_SHARE
    }
}

/// The counters at one edge of the measured window.
#[derive(Debug, Clone, Copy)]
struct Edge {
    at_ns: u64,
    deliveries: u64,
    bytes: u64,
    published: u64,
    server: Option<sys::Cpu>,
    client: Duration,
}

type Meanwhile<'a> = &'a mut dyn FnMut(&mut Client, u64) -> Result<Next, Error>;

impl Client {
    /// Publishes `rate` events a second for the warm-up and the measured time, then waits for the rest to arrive.
    pub(crate) fn publish(&mut self, rate: f64, traffic: &Traffic, listeners: Listeners) -> Result<Outcome, Error> {
        self.publish_while(rate, traffic, listeners, &mut |_, _| Ok(Next::Turn(None)))
    }

    /// The same; in the measured time `meanwhile` is called with the clock's nanosecond in each turn.
    pub(crate) fn publish_while(
        &mut self,
        rate: f64,
        traffic: &Traffic,
        listeners: Listeners,
        meanwhile: Meanwhile<'_>,
    ) -> Result<Outcome, Error> {
        let plan = Plan {
            rate,
            size: traffic.size,
            duration: traffic.warmup + traffic.seconds,
            lanes: traffic.publishers,
            pipeline: traffic.pipeline,
        };
        let lead = if plan.events() == 0 { Duration::ZERO } else { LEAD };
        let start_ns = self.clock.now_ns() + nanoseconds(lead);
        let open_ns = start_ns + nanoseconds(traffic.warmup);
        let close_ns = open_ns + nanoseconds(traffic.seconds);
        let publish_target = traffic.publish_target.unwrap_or(self.target.first());
        sys::require_loopback(publish_target)?;
        let mut publisher = Publisher::connect(publish_target, self.topics.len(), plan, start_ns, &self.poller)?;
        let faults_before = self.inbox.faults;
        for inbox in [&mut self.inbox, &mut self.stalled] {
            inbox.size = traffic.size;
            inbox.measure_from_ns = open_ns;
            inbox.latency = histogram();
        }

        let mut wait = |_: &mut Self, _| Ok(Next::Turn(None));
        let opened = self.run_until(open_ns, &mut publisher, listeners, &mut wait)?;
        let closed = self.run_until(close_ns, &mut publisher, listeners, meanwhile)?;
        // Without a rate there is always more to publish, and with one there is if the time was cut short.
        if plan.is_closed_loop() || closed.at_ns < close_ns {
            publisher.stop();
        }
        self.drain(&mut publisher, listeners, traffic.drain)?;
        Ok(self.outcome(plan, listeners, opened, closed, publisher.finish(), faults_before))
    }

    fn advance(
        &mut self,
        publisher: &mut Publisher,
        listeners: Listeners,
        until_ns: u64,
        now_ns: u64,
    ) -> Result<(), Error> {
        let topics = if listeners == Listeners::Nobody { &mut self.unheard } else { &mut self.topics };
        publisher.advance(topics, until_ns, now_ns)
    }

    /// Publishes what is due and receives, until `end_ns` or until `meanwhile` is done; the counters then.
    fn run_until(
        &mut self,
        end_ns: u64,
        publisher: &mut Publisher,
        listeners: Listeners,
        meanwhile: Meanwhile<'_>,
    ) -> Result<Edge, Error> {
        loop {
            let now_ns = self.clock.now_ns();
            // Not what is due at the end itself: that belongs to what follows.
            self.advance(publisher, listeners, now_ns.min(end_ns - 1), now_ns)?;
            let next = meanwhile(self, now_ns)?;
            let Next::Turn(asked_ns) = next else {
                return self.edge(self.clock.now_ns(), publisher.published());
            };
            if now_ns >= end_ns {
                return self.edge(now_ns, publisher.published());
            }
            let wake_ns = publisher.next_due_ns().into_iter().chain(asked_ns).fold(end_ns, u64::min);
            self.timer.arm(wake_ns, self.clock.now_ns())?;
            self.turn(TICK, Some((publisher, listeners)))?;
            let inbox = &self.inbox;
            self.progress.show(|| {
                let left = end_ns.saturating_sub(now_ns) as f64 / 1e9;
                format!("{} published, {} delivered, {left:.0} s left", publisher.published(), inbox.deliveries)
            });
        }
    }

    fn edge(&self, at_ns: u64, published: u64) -> Result<Edge, Error> {
        Ok(Edge {
            at_ns,
            deliveries: self.inbox.deliveries + self.stalled.deliveries,
            bytes: self.inbox.bytes + self.stalled.bytes,
            published,
            server: sys::cpu_of_all(&self.target.server_pid)?,
            client: sys::thread_cpu(),
        })
    }

    /// Publishes what is late for half the time, and receives until nothing is missing any more or the time is over.
    fn drain(&mut self, publisher: &mut Publisher, listeners: Listeners, limit: Duration) -> Result<(), Error> {
        let start_ns = self.clock.now_ns();
        let (stop_ns, deadline_ns) = (start_ns + nanoseconds(limit / 2), start_ns + nanoseconds(limit));
        loop {
            let now_ns = self.clock.now_ns();
            if now_ns >= stop_ns {
                publisher.stop();
            }
            self.advance(publisher, listeners, now_ns, now_ns)?;
            let complete = || listeners != Listeners::Subscribers || self.awaited() == 0;
            if now_ns >= deadline_ns || (publisher.is_done() && complete()) {
                return Ok(());
            }
            self.turn(TICK, Some((publisher, listeners)))?;
            self.progress.show(|| "waiting for the last deliveries".to_owned());
        }
    }

    /// Deliveries that readers with an open stream still wait for.
    fn awaited(&self) -> u64 {
        let open = self.subscribers[..self.readers].iter().filter(|subscriber| !subscriber.has_ended());
        open.map(|subscriber| subscriber.behind(&self.topics)).sum()
    }

    /// Deliveries that never came after the last one of each reader: its sequence shows no hole for them.
    fn missing_at_end(&self) -> u64 {
        self.subscribers[..self.readers].iter().map(|subscriber| subscriber.behind(&self.topics)).sum()
    }

    fn outcome(
        &mut self,
        plan: Plan,
        listeners: Listeners,
        opened: Edge,
        closed: Edge,
        tally: Tally,
        before: Faults,
    ) -> Outcome {
        let window = Duration::from_nanos(closed.at_ns - opened.at_ns);
        let deliveries = closed.deliveries - opened.deliveries;
        let server = opened.server.zip(closed.server);
        let unfinished = if listeners == Listeners::Subscribers { self.missing_at_end() } else { 0 };
        let mut faults = self.inbox.faults.since(before);
        faults.lost += unfinished;
        faults.refused = tally.refused + (tally.published - tally.acknowledged - tally.refused);
        let failure = self.inbox.first_failure.as_ref();
        Outcome {
            scheduled: if plan.is_closed_loop() { tally.published } else { plan.events() },
            published: tally.published,
            acknowledged: tally.acknowledged,
            window,
            deliveries,
            bytes: closed.bytes - opened.bytes,
            publishes: closed.published - opened.published,
            deliveries_each: self.subscribers.iter().map(Subscriber::topics).sum::<usize>() as f64
                / self.topics.len() as f64,
            latency: Quantiles::of(&self.inbox.latency),
            answers: Quantiles::of(&tally.answers),
            lateness: Duration::from_nanos(tally.lateness_ns_max),
            reconnects: tally.reconnects,
            server: server.map(|(opened, closed)| ServerCpu::per_delivery(closed - opened, deliveries, window)),
            client_cores: (closed.client - opened.client).as_secs_f64() / window.as_secs_f64().max(f64::MIN_POSITIVE),
            faults,
            unfinished,
            problem: tally.first_refusal.or_else(|| failure.map(|(index, why)| format!("subscriber {index}: {why}"))),
        }
    }
}
