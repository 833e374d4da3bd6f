//! The load: any number of subscribers and a few publishers in one thread around one epoll set.
//!
//! [`Client::connect`] opens the subscribers and returns once each one's stream has begun, [`Client::publish`] runs one load
//! and drains it, [`Client::rest`] only listens. The subscribers stay connected in between, so that scenarios can measure
//! one state after another; those that cut, resume or stall do so while a load runs.

pub(crate) mod http;
mod inbox;
mod load;
mod open;
mod publisher;
mod sequence;
mod sse;
mod subscriber;
mod topics;
mod track;

use std::net::SocketAddrV4;
use std::time::Duration;

pub use inbox::Faults;
pub(crate) use load::{Listeners, Next, Outcome};
pub(crate) use open::{Cursors, Needs};

use inbox::Inbox;
use publisher::{LANE_TOKEN, Publisher};
use subscriber::{Context, Subscriber};
use topics::TopicSet;

use crate::Error;
use crate::args::Target;
use crate::poll::{Poller, Ready};
use crate::progress::Progress;
use crate::stats::{Clock, Quantiles, nanoseconds};

/// One read takes at most this many bytes: many events of a coalescing server, and it still fits a core's cache.
const READ_BYTES: usize = 128 * 1024;
/// The longest that the loop sleeps without a look at its deadlines.
const TICK: Duration = Duration::from_millis(20);

const TIMER_TOKEN: u64 = u64::MAX;

/// Connected subscribers.
#[derive(Debug)]
pub(crate) struct Client {
    poller: Poller,
    timer: open::Timer,
    clock: Clock,
    buffer: Box<[u8]>,
    target: Target,
    topics: TopicSet,
    /// As many that nobody listens to.
    unheard: TopicSet,
    subscribers: Vec<Subscriber>,
    /// How many of them, the first, read all the time.
    readers: usize,
    /// Of those.
    inbox: Inbox,
    /// Of the others.
    stalled: Inbox,
    /// Connections that were ever begun.
    opening: u64,
    progress: Progress,
}

impl Client {
    /// The node that subscriber `index` connects to.
    fn host_of(&self, index: usize) -> SocketAddrV4 {
        let targets = &self.target.target;
        targets.get(index % targets.len().max(1)).copied().unwrap_or_else(|| self.target.first())
    }

    /// Handles what is ready within `timeout`.
    fn turn(&mut self, timeout: Duration, mut publishing: Option<(&mut Publisher, Listeners)>) -> Result<(), Error> {
        self.poller.wait(timeout)?;
        for index in 0..self.poller.len() {
            let ready = self.poller.ready(index);
            if ready.token < self.subscribers.len() as u64 {
                self.attend(ready);
            } else if ready.token == TIMER_TOKEN {
                self.timer.disarm()?;
            } else if ready.token >= LANE_TOKEN
                && let Some((publisher, listeners)) = &mut publishing
            {
                let topics = if *listeners == Listeners::Nobody { &mut self.unheard } else { &mut self.topics };
                publisher.on_ready(topics, &self.poller, ready, &mut self.buffer, self.clock.now_ns())?;
            }
        }
        Ok(())
    }

    /// Lets a subscriber write and read.
    fn attend(&mut self, ready: Ready) {
        let index = ready.token as usize;
        let host = self.host_of(index);
        let inbox = if index < self.readers { &mut self.inbox } else { &mut self.stalled };
        let mut context = Context { topics: &self.topics, host, buffer: &mut self.buffer, clock: self.clock, inbox };
        self.subscribers[index].on_ready(index, ready, &mut context);
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

    /// Cuts the connection of a subscriber, which comes back where it was, or as somebody new.
    pub(crate) fn cut(&mut self, index: usize, comes_back: bool) {
        self.subscribers[index].cut(comes_back);
    }

    /// Whether the stream of a subscriber runs.
    pub(crate) fn is_open(&self, index: usize) -> bool {
        self.subscribers[index].is_open()
    }

    /// Whether the server ended the stream of a subscriber.
    pub(crate) fn has_ended(&self, index: usize) -> bool {
        self.subscribers[index].has_ended()
    }

    /// Each subscriber has caught up when it has all that has been published so far; how many lack any.
    pub(crate) fn aim(&mut self) -> usize {
        let (subscribers, topics) = (&mut self.subscribers, &self.topics);
        subscribers.iter_mut().map(|subscriber| usize::from(subscriber.aim(topics))).sum()
    }

    /// Begins to time how long that takes.
    pub(crate) fn begin_timing(&mut self, now_ns: u64) {
        self.inbox.away_since_ns = now_ns;
    }

    /// How many have caught up so far, in all rounds.
    pub(crate) fn caught_up(&self) -> u64 {
        self.inbox.catching_up.len()
    }

    /// From [`Client::begin_timing`] until each had caught up.
    pub(crate) fn catching_up(&self) -> Option<Quantiles> {
        Quantiles::of(&self.inbox.catching_up)
    }

    /// From the beginning of each connection until its stream began.
    pub(crate) fn connecting(&self) -> Option<Quantiles> {
        Quantiles::of(&self.inbox.connecting)
    }

    /// Streams that have begun, those that stall among them.
    pub(crate) fn begun(&self) -> u64 {
        (self.inbox.connected + self.stalled.connected) as u64
    }

    /// What went wrong with those that stall.
    pub(crate) fn stalled_faults(&self) -> Faults {
        self.stalled.faults
    }

    /// Lets those that are to stall stop reading, or go on.
    pub(crate) fn stall(&mut self, paused: bool) {
        for index in self.readers..self.subscribers.len() {
            self.subscribers[index].pause(paused);
            if !paused {
                self.attend(Ready { token: index as u64, writable: true, ended: true });
            }
        }
    }

    /// Which of them do.
    pub(crate) fn stalling(&self) -> std::ops::Range<usize> {
        self.readers..self.subscribers.len()
    }

    /// Whether subscribers can go on where they were.
    pub(crate) fn resumes(&self) -> bool {
        self.topics.dialect().resumes
    }

    /// Events that those that stall should have by now and have not.
    pub(crate) fn stalled_behind(&self) -> u64 {
        let open = self.subscribers[self.readers..].iter().filter(|subscriber| !subscriber.has_ended());
        open.map(|subscriber| subscriber.behind(&self.topics)).sum()
    }
}
