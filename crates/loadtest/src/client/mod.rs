//! The load: any number of subscribers and a few publishers in one thread around one epoll set.
//!
//! [`Client::connect`] opens the subscribers and returns once each has its `connected` event, [`Client::publish`] runs one
//! load and drains it, [`Client::rest`] only listens. The subscribers stay connected in between, so that scenarios can
//! measure one state after another.

mod http;
mod inbox;
mod open;
mod publisher;
mod sequence;
mod sse;
mod subscriber;
mod topics;

use std::time::Duration;

pub use inbox::Faults;

use inbox::Inbox;
use publisher::{LANE_TOKEN, Plan, Publisher, Tally};
use subscriber::Subscriber;
use topics::TopicSet;

use crate::Error;
use crate::args::{Target, Traffic};
use crate::poll::Poller;
use crate::report::Progress;
use crate::stats::{Clock, Quantiles, ServerCpu, histogram, nanoseconds};
use crate::sys;

/// One read takes at most this many bytes: many events of a coalescing server, and it still fits a core's cache.
const READ_BYTES: usize = 128 * 1024;
/// The longest that the loop sleeps without a look at its deadlines.
const TICK: Duration = Duration::from_millis(20);
/// Between scheduling the first event and its due time: covers connecting the publishers.
const LEAD: Duration = Duration::from_millis(100);
/// A client that uses more of its core than this may be what limits the figures.
const BUSY_SHARE: f64 = 0.9;

const TIMER_TOKEN: u64 = u64::MAX;

/// Who listens to what is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// The subscribers.
    Subscribers,
    /// Nobody: what publishing alone costs.
    Nobody,
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
    pub(crate) latency: Option<Quantiles>,
    pub(crate) answers: Option<Quantiles>,
    pub(crate) lateness: Duration,
    pub(crate) server: Option<ServerCpu>,
    /// Share of a core that this thread used in the window.
    pub(crate) client_cores: f64,
    pub(crate) faults: Faults,
    pub(crate) problem: Option<String>,
}

impl Outcome {
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

/// Connected subscribers.
#[derive(Debug)]
pub(crate) struct Client {
    poller: Poller,
    timer: open::Timer,
    clock: Clock,
    buffer: Box<[u8]>,
    target: Target,
    topics: TopicSet,
    subscribers: Vec<Subscriber>,
    inbox: Inbox,
    progress: Progress,
}

impl Client {
    /// Handles what is ready within `timeout`.
    fn turn(&mut self, timeout: Duration, mut publisher: Option<&mut Publisher>) -> Result<(), Error> {
        self.poller.wait(timeout)?;
        for index in 0..self.poller.len() {
            let ready = self.poller.ready(index);
            if let Some(subscriber) = self.subscribers.get_mut(ready.token as usize) {
                let request = |topic| self.topics.subscribe_request(topic);
                let index = ready.token as usize;
                subscriber.on_ready(index, ready, request, &mut self.buffer, self.clock, &mut self.inbox);
            } else if ready.token == TIMER_TOKEN {
                self.timer.disarm()?;
            } else if ready.token >= LANE_TOKEN
                && let Some(publisher) = publisher.as_deref_mut()
            {
                publisher.on_ready(ready.token, ready, &mut self.buffer, self.clock.now_ns())?;
            }
        }
        Ok(())
    }

    /// Listens for `duration`; the heartbeats received.
    pub(crate) fn rest(&mut self, duration: Duration) -> Result<u64, Error> {
        let (before, end) = (self.inbox.heartbeats, self.clock.now_ns() + nanoseconds(duration));
        loop {
            let left = end.saturating_sub(self.clock.now_ns());
            if left == 0 {
                return Ok(self.inbox.heartbeats - before);
            }
            self.turn(TICK.min(Duration::from_nanos(left)), None)?;
            self.progress.show(|| format!("idle, {:.0} s left", left as f64 / 1e9));
        }
    }

    /// Publishes `rate` events a second for the warm-up and the measured time, then waits for the rest to arrive.
    pub(crate) fn publish(&mut self, rate: f64, traffic: &Traffic, audience: Audience) -> Result<Outcome, Error> {
        let plan = Plan {
            rate,
            size: traffic.size,
            duration: traffic.warmup + traffic.seconds,
            lanes: traffic.publishers,
            pipeline: traffic.pipeline,
        };
        let start_ns = self.clock.now_ns() + nanoseconds(LEAD);
        let open_ns = start_ns + nanoseconds(traffic.warmup);
        let close_ns = open_ns + nanoseconds(traffic.seconds);
        let topics = match audience {
            Audience::Subscribers => self.topics.clone(),
            Audience::Nobody => self.topics.unheard(),
        };
        let publish_target = traffic.publish_target.unwrap_or(self.target.target);
        sys::require_loopback(publish_target)?;
        let mut publisher = Publisher::connect(publish_target, topics, plan, start_ns, &self.poller)?;
        let faults_before = self.inbox.faults;
        self.inbox.size = traffic.size;
        self.inbox.measure_from_ns = open_ns;
        self.inbox.latency = histogram();

        let opened = self.run_until(open_ns, &mut publisher)?;
        let closed = self.run_until(close_ns, &mut publisher)?;
        self.drain(&mut publisher, audience, traffic.drain)?;

        let (tally, topics) = publisher.finish();
        if audience == Audience::Subscribers {
            self.topics = topics;
        }
        Ok(self.outcome(plan, opened, closed, tally, faults_before))
    }

    /// Publishes what is due and receives, until `end_ns`; the counters then.
    fn run_until(&mut self, end_ns: u64, publisher: &mut Publisher) -> Result<Edge, Error> {
        loop {
            let now_ns = self.clock.now_ns();
            // Not what is due at the end itself: that belongs to what follows.
            publisher.advance(now_ns.min(end_ns - 1), now_ns)?;
            if now_ns >= end_ns {
                return self.edge(now_ns, publisher.published());
            }
            let wake_ns = publisher.next_due_ns().map_or(end_ns, |due_ns| due_ns.min(end_ns));
            self.timer.arm(wake_ns, self.clock.now_ns())?;
            self.turn(TICK, Some(publisher))?;
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
            deliveries: self.inbox.deliveries,
            bytes: self.inbox.bytes,
            published,
            server: self.target.server_pid.map(sys::cpu).transpose()?,
            client: sys::thread_cpu(),
        })
    }

    /// Publishes what is late for half the time, and receives until nothing is missing any more or the time is over.
    fn drain(&mut self, publisher: &mut Publisher, audience: Audience, limit: Duration) -> Result<(), Error> {
        let start_ns = self.clock.now_ns();
        let (stop_ns, deadline_ns) = (start_ns + nanoseconds(limit / 2), start_ns + nanoseconds(limit));
        loop {
            let now_ns = self.clock.now_ns();
            if now_ns >= stop_ns {
                publisher.stop();
            }
            publisher.advance(now_ns, now_ns)?;
            let complete = audience == Audience::Nobody || self.awaited(publisher.topics()) == 0;
            if (publisher.is_done() && complete) || now_ns >= deadline_ns {
                return Ok(());
            }
            self.turn(TICK, Some(publisher))?;
            self.progress.show(|| "waiting for the last deliveries".to_owned());
        }
    }

    /// Deliveries that subscribers with an open stream still wait for.
    fn awaited(&self, topics: &TopicSet) -> u64 {
        let open = self.subscribers.iter().filter(|subscriber| !subscriber.has_ended());
        open.map(|subscriber| subscriber.behind(topics.published(subscriber.topic()))).sum()
    }

    /// Deliveries that never came after the last one of each subscriber: its sequence shows no hole for them.
    fn missing_at_end(&self) -> u64 {
        let behind = |subscriber: &Subscriber| subscriber.behind(self.topics.published(subscriber.topic()));
        self.subscribers.iter().map(behind).sum()
    }

    fn outcome(&mut self, plan: Plan, opened: Edge, closed: Edge, tally: Tally, before: Faults) -> Outcome {
        let window = Duration::from_nanos(closed.at_ns - opened.at_ns);
        let deliveries = closed.deliveries - opened.deliveries;
        let server = opened.server.zip(closed.server);
        let mut faults = self.inbox.faults.since(before);
        faults.lost += self.missing_at_end();
        faults.refused = tally.refused + (tally.published - tally.acknowledged - tally.refused);
        let failure = self.inbox.first_failure.as_ref();
        Outcome {
            scheduled: plan.events(),
            published: tally.published,
            acknowledged: tally.acknowledged,
            window,
            deliveries,
            bytes: closed.bytes - opened.bytes,
            publishes: closed.published - opened.published,
            latency: Quantiles::of(&self.inbox.latency),
            answers: Quantiles::of(&tally.answers),
            lateness: Duration::from_nanos(tally.lateness_ns_max),
            server: server.map(|(opened, closed)| ServerCpu::per_delivery(closed - opened, deliveries, window)),
            client_cores: (closed.client - opened.client).as_secs_f64() / window.as_secs_f64(),
            faults,
            problem: tally.first_refusal.or_else(|| failure.map(|(index, why)| format!("subscriber {index}: {why}"))),
        }
    }
}
