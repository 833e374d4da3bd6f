//! Publishes at a steady rate over a few keep-alive connections, and reads every answer.
//!
//! Event `k` is due at `start + k / rate`, whatever happened to those before it: a slow server makes no gaps in the
//! schedule, and since latency counts from when an event was due, its slowness shows in full. Without a rate, each is due
//! when there is room for it: then an answer is what asks for the next. A topic keeps to one connection, so that its events
//! are published in the order of their numbers.
//!
//! A server may close a connection after any answer, if it says so there; then it has not looked at what came after (RFC 9112,
//! 9.6), so that is published again over a new one.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::http::{Piece, Responses};
use super::topics::TopicSet;
use crate::Error;
use crate::payload::Stamp;
use crate::poll::{Poller, Ready};
use crate::stats;

/// Events that may wait for a connection; while it is full the rest of the schedule waits too.
const BACKLOG_MAX: usize = 65_536;
/// Bytes of an answer that are kept to explain a refusal.
const REASON_MAX: usize = 300;
/// Tokens of publishing connections start here, far above those of subscribers.
pub(crate) const LANE_TOKEN: u64 = 1 << 32;

/// What to publish and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Events per second; infinite for as many as are answered.
    pub(crate) rate: f64,
    pub(crate) size: usize,
    /// From the first event to the end of publishing.
    pub(crate) duration: Duration,
    pub(crate) lanes: u16,
    pub(crate) pipeline: u16,
}

impl Plan {
    /// Whether an answer asks for the next event, and no schedule.
    pub(crate) fn is_closed_loop(&self) -> bool {
        self.rate.is_infinite()
    }

    /// How many events that makes; without a rate, no end of them.
    pub(crate) fn events(&self) -> u64 {
        (self.rate * self.duration.as_secs_f64()).round() as u64
    }
}

/// Publishes one plan.
#[derive(Debug)]
pub(crate) struct Publisher {
    plan: Plan,
    target: SocketAddrV4,
    topics: usize,
    lanes: Vec<Lane>,
    start_ns: u64,
    scheduled: u64,
    total: u64,
    tally: Tally,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) published: u64,
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    pub(crate) first_refusal: Option<String>,
    /// From the request's writing to its answer, in nanoseconds.
    pub(crate) answers: Histogram<u64>,
    /// Connections that the server closed after an answer, as it may, and that were made again.
    pub(crate) reconnects: u64,
    /// The longest that a request was written after it was due, in nanoseconds.
    pub(crate) lateness_ns_max: u64,
}

/// A request that has no answer yet.
#[derive(Debug, Clone, Copy)]
struct Written {
    at_ns: u64,
    stamp: Stamp,
}

/// One connection.
#[derive(Debug)]
struct Lane {
    stream: TcpStream,
    waiting: VecDeque<u64>,
    unanswered: VecDeque<Written>,
    out: Vec<u8>,
    sent: usize,
    responses: Responses,
    status: u16,
    body: Vec<u8>,
}

impl Publisher {
    /// Connects; the first event is due at `start_ns`.
    pub(crate) fn connect(
        target: SocketAddrV4,
        topics: usize,
        plan: Plan,
        start_ns: u64,
        poller: &Poller,
    ) -> Result<Self, Error> {
        let lanes = usize::from(plan.lanes).min(topics);
        let lanes = (0..lanes as u64)
            .map(|index| {
                let lane = Lane::connect(target)?;
                poller.add(&lane.stream, LANE_TOKEN + index)?;
                Ok(lane)
            })
            .collect::<Result<_, Error>>()?;
        let tally = Tally {
            published: 0,
            acknowledged: 0,
            refused: 0,
            first_refusal: None,
            answers: stats::histogram(),
            reconnects: 0,
            lateness_ns_max: 0,
        };
        Ok(Self { plan, target, topics, lanes, start_ns, scheduled: 0, total: plan.events(), tally })
    }

    /// When event `index` is due; without a rate, from the start.
    fn due_ns(&self, index: u64) -> u64 {
        self.start_ns + (index as f64 * 1e9 / self.plan.rate) as u64
    }

    /// When the next event is due; `None` if there is none, or if it must wait for an answer first.
    pub(crate) fn next_due_ns(&self) -> Option<u64> {
        let lane = &self.lanes[self.lane_of(self.scheduled)];
        (self.scheduled < self.total && lane.waiting.len() < BACKLOG_MAX).then(|| self.due_ns(self.scheduled))
    }

    fn lane_of(&self, index: u64) -> usize {
        (index % self.topics as u64) as usize % self.lanes.len()
    }

    /// Writes whatever is due by `until_ns` and may be written.
    pub(crate) fn advance(&mut self, topics: &mut TopicSet, until_ns: u64, now_ns: u64) -> Result<(), Error> {
        while self.next_due_ns().is_some_and(|due_ns| due_ns <= until_ns) {
            let lane = self.lane_of(self.scheduled);
            self.lanes[lane].waiting.push_back(self.scheduled);
            self.scheduled += 1;
            self.write(topics, lane, now_ns)?;
        }
        Ok(())
    }

    /// Gives up what has not been written: the time is over.
    pub(crate) fn stop(&mut self) {
        self.total = self.scheduled;
        for lane in &mut self.lanes {
            lane.waiting.clear();
        }
    }

    /// Whether every written request has its answer and none is waiting.
    pub(crate) fn is_done(&self) -> bool {
        self.scheduled == self.total
            && self.lanes.iter().all(|lane| lane.waiting.is_empty() && lane.unanswered.is_empty())
    }

    pub(crate) fn published(&self) -> u64 {
        self.tally.published
    }

    /// Closes the connections.
    pub(crate) fn finish(self) -> Tally {
        self.tally
    }

    /// Reads answers and writes what they make room for.
    pub(crate) fn on_ready(
        &mut self,
        topics: &mut TopicSet,
        poller: &Poller,
        ready: Ready,
        buffer: &mut [u8],
        now_ns: u64,
    ) -> Result<(), Error> {
        let index = (ready.token - LANE_TOKEN) as usize;
        let refusal = topics.dialect().refusal;
        let lane = &mut self.lanes[index];
        loop {
            match lane.stream.read(buffer) {
                Ok(0) if lane.responses.closes() => return self.again(topics, poller, ready.token),
                Ok(0) => return Err(Error::Publisher("the server closed it".to_owned())),
                Ok(length) => {
                    lane.receive(&buffer[..length], now_ns, refusal, &mut self.tally)?;
                    if length < buffer.len() && !ready.ended {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) if lane.responses.closes() => return self.again(topics, poller, ready.token),
                Err(error) => return Err(Error::Publisher(error.to_string())),
            }
        }
        self.write(topics, index, now_ns)
    }

    /// Replaces a connection that the server said it would close; the new one says when it can be written to.
    fn again(&mut self, topics: &TopicSet, poller: &Poller, token: u64) -> Result<(), Error> {
        let lane = &mut self.lanes[(token - LANE_TOKEN) as usize];
        lane.reconnect(self.target, topics)?;
        self.tally.reconnects += 1;
        poller.add(&lane.stream, token)
    }

    fn write(&mut self, topics: &mut TopicSet, index: usize, now_ns: u64) -> Result<(), Error> {
        while self.lanes[index].unanswered.len() < usize::from(self.plan.pipeline) {
            let Some(event) = self.lanes[index].waiting.pop_front() else {
                break;
            };
            let due_ns = if self.plan.is_closed_loop() { now_ns } else { self.due_ns(event) };
            let topic = topics.of_event(event);
            let stamp = Stamp { sequence: topics.publish(topic), topic: topic as u32, due_ns, size: self.plan.size };
            let lane = &mut self.lanes[index];
            topics.publish_request(&mut lane.out, self.target, stamp);
            lane.unanswered.push_back(Written { at_ns: now_ns, stamp });
            self.tally.published += 1;
            self.tally.lateness_ns_max = self.tally.lateness_ns_max.max(now_ns.saturating_sub(due_ns));
        }
        self.lanes[index].flush()
    }
}

impl Lane {
    /// Connects again, and writes again what the server has not looked at.
    fn reconnect(&mut self, target: SocketAddrV4, topics: &TopicSet) -> Result<(), Error> {
        let Self { waiting, unanswered, .. } = std::mem::replace(self, Self::connect(target)?);
        for written in &unanswered {
            topics.publish_request(&mut self.out, target, written.stamp);
        }
        (self.waiting, self.unanswered) = (waiting, unanswered);
        Ok(())
    }

    fn connect(target: SocketAddrV4) -> Result<Self, Error> {
        let failed = || Error::io(format!("cannot connect to {target}"));
        let stream = TcpStream::connect_timeout(&target.into(), Duration::from_secs(5)).map_err(failed())?;
        stream.set_nodelay(true).map_err(failed())?;
        stream.set_nonblocking(true).map_err(failed())?;
        Ok(Self {
            stream,
            waiting: VecDeque::new(),
            unanswered: VecDeque::new(),
            out: Vec::new(),
            sent: 0,
            responses: Responses::new(),
            status: 0,
            body: Vec::new(),
        })
    }

    fn receive(
        &mut self,
        mut input: &[u8],
        now_ns: u64,
        refusal: Option<&str>,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        loop {
            match self.responses.next(&mut input).map_err(|error| Error::Publisher(error.to_string()))? {
                None => return Ok(()),
                Some(Piece::Head(status)) => {
                    self.status = status;
                    self.body.clear();
                }
                Some(Piece::Body(body)) => {
                    self.body.extend_from_slice(&body[..body.len().min(REASON_MAX - self.body.len())]);
                }
                Some(Piece::End) => self.answered(now_ns, refusal, tally)?,
            }
        }
    }

    fn answered(&mut self, now_ns: u64, refusal: Option<&str>, tally: &mut Tally) -> Result<(), Error> {
        let unasked = || Error::Publisher("an answer to no request".to_owned());
        let written = self.unanswered.pop_front().ok_or_else(unasked)?;
        tally.answers.saturating_record(now_ns.saturating_sub(written.at_ns));
        let body = String::from_utf8_lossy(&self.body);
        let refused = refusal.is_some_and(|refusal| body.contains(refusal));
        if (200..300).contains(&self.status) && !refused {
            tally.acknowledged += 1;
        } else {
            tally.refused += 1;
            tally.first_refusal.get_or_insert_with(|| format!("publish: status {}: {body}", self.status));
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(length) => self.sent += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // Reading finds the end, and connects again.
                Err(_) if self.responses.closes() => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Publisher(error.to_string())),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }
}
