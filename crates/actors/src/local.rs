//! What the actors and streams of one worker thread share. Nothing here leaves its thread, so nothing is locked.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
    task::Waker,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use slab::Slab;
use towncrier_core::{
    Rooms as RoomsCore,
    rooms::{CohortId, Fill, MemberId},
};
use towncrier_telemetry::Metrics;
use towncrier_wire::{Event, Gap, GapReason, limits::BATCH_BYTES_MAX};

use crate::{Hub, Options, Post, Rooms, Session, messages::SessionKey, timing::Timing};

/// One worker's side of the hub.
pub(crate) struct Local {
    pub(crate) hub: Hub,
    /// The owner of `rooms`. An address of its own for each session would cost several allocations.
    pub(crate) address: OnceCell<Post<Rooms>>,
    pub(crate) options: Arc<Options>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) rooms: RefCell<RoomsCore<Rc<Shared>>>,
    pub(crate) sessions: RefCell<Slab<Rc<Shared>>>,
    /// Ticks of the worker's wheel since it began.
    pub(crate) tick: Cell<u64>,
    pub(crate) generation: Cell<u32>,
    /// How much longer clients that are sent away wait, at most, beyond the usual.
    pub(crate) retry_spread: Cell<Duration>,
    pub(crate) sent: Sent,
    pub(crate) timing: Timing,
    pub(crate) reported: Reported,
}

/// What streams have sent, counted here and handed to the metrics once a tick.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) events: Cell<u64>,
    pub(crate) bytes: Cell<u64>,
}

impl Sent {
    pub(crate) fn add(&self, events: usize, bytes: usize) {
        self.events.set(self.events.get() + events as u64);
        self.bytes.set(self.bytes.get() + bytes as u64);
    }
}

/// What this worker last added to gauges that count over all workers.
#[derive(Debug, Default)]
pub(crate) struct Reported {
    topics: Cell<i64>,
    cohorts: Cell<i64>,
    outbox_bytes: Cell<i64>,
    lagging: Cell<i64>,
}

impl Reported {
    pub(crate) fn report(&self, metrics: &Metrics, (topics, cohorts): (usize, usize), fill: Fill) {
        for (gauge, reported, now) in [
            (&metrics.rooms, &self.topics, topics),
            (&metrics.cohorts, &self.cohorts, cohorts),
            (&metrics.outbox_bytes, &self.outbox_bytes, fill.bytes),
            (&metrics.sessions_lagging, &self.lagging, fill.behind),
        ] {
            let now = i64::try_from(now).unwrap_or(i64::MAX);
            gauge.inc_by(now - reported.replace(now));
        }
    }
}

impl Local {
    pub(crate) fn rooms_address(&self) -> &Post<Rooms> {
        self.address.get().unwrap_or_else(|| unreachable!("set before the worker has sessions"))
    }

    pub(crate) fn session(&self, key: SessionKey) -> Option<Rc<Shared>> {
        self.sessions.borrow().get(key.index).filter(|shared| shared.key == key).cloned()
    }

    /// Makes room for a session.
    pub(crate) fn admit(&self, format: Format, expires_in: Option<Duration>) -> Rc<Shared> {
        let generation = self.generation.get().wrapping_add(1);
        self.generation.set(generation);
        let mut sessions = self.sessions.borrow_mut();
        let entry = sessions.vacant_entry();
        let key = SessionKey { index: entry.key(), generation };
        let shared = Rc::new(Shared {
            key,
            cohort: Cell::new(None),
            member: Cell::new(None),
            address: RefCell::new(None),
            waker: Cell::new(None),
            is_poll: format == Format::Events,
            sent_at: Cell::new(self.tick.get()),
            ends_at: Cell::new(u64::MAX),
            expires_at: expires_in.map_or(u64::MAX, |time| self.tick.get().saturating_add(Rooms::ticks(time))),
            out: RefCell::new(Out { format, polled: (format == Format::Events).then(Box::default), ..Out::default() }),
        });
        entry.insert(shared.clone());
        shared
    }
}

/// How a session's output leaves the hub.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// As SSE frames.
    #[default]
    Sse,
    /// As SSE frames, with heartbeats that scripts see.
    SseWithHeartbeatEvents,
    /// As events, for an answer to a poll.
    Events,
}

/// What a session's actor, its stream and its worker's rooms share.
pub(crate) struct Shared {
    pub(crate) key: SessionKey,
    pub(crate) address: RefCell<Option<Post<Session>>>,
    /// Its cohort, once it has subscribed.
    pub(crate) cohort: Cell<Option<CohortId>>,
    /// Its place in the cohort's outbox, while it is attached.
    pub(crate) member: Cell<Option<MemberId>>,
    waker: Cell<Option<Waker>>,
    /// It answers one request and is nobody's session.
    pub(crate) is_poll: bool,
    /// The tick at which its stream last sent something.
    pub(crate) sent_at: Cell<u64>,
    /// The tick at which its stream is to end.
    pub(crate) ends_at: Cell<u64>,
    /// The tick at which its token expires.
    pub(crate) expires_at: u64,
    pub(crate) out: RefCell<Out>,
}

/// What a session has to send of its own, beside what lies in its cohort's outbox.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub(crate) format: Format,
    frames: VecDeque<Frame>,
    /// Direct events that came before the first block, which must be first.
    early: Vec<Bytes>,
    opened: bool,
    /// How many of `frames` and `early` are direct events, and their bytes.
    direct: DirectBound,
    /// Whether direct events were refused since the last `gap` that said so.
    direct_dropped: bool,
    /// Set while the session is live: frames may be taken from the outbox.
    pub(crate) live: bool,
    pub(crate) heartbeat: bool,
    /// The session wants to know when `frames` has been sent.
    pub(crate) tell_drained: bool,
    /// After `frames` the stream ends.
    pub(crate) ended: bool,
    /// For a poll: what it has got so far.
    pub(crate) polled: Option<Box<Polled>>,
}

/// How many direct events, and how many bytes of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DirectBound {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug)]
struct Frame {
    bytes: Bytes,
    is_direct: bool,
}

/// What a poll has got.
#[derive(Debug, Default)]
pub(crate) struct Polled {
    pub(crate) gap: Option<Gap>,
    pub(crate) events: Vec<Arc<Event>>,
    pub(crate) cursor: Option<String>,
    /// Whether the session has nothing more to read for now.
    pub(crate) complete: bool,
}

impl Out {
    /// How many frames wait.
    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.frames.push_back(Frame { bytes, is_direct: false });
    }

    /// Queues the first block, and behind it what came too early.
    pub(crate) fn open(&mut self, first: Bytes) {
        self.push(first);
        self.opened = true;
        for bytes in std::mem::take(&mut self.early) {
            self.frames.push_back(Frame { bytes, is_direct: true });
        }
    }

    /// Queues a direct event, unless too much waits already. A refusal is told before the next one that is taken.
    pub(crate) fn push_direct(&mut self, bytes: Bytes, max: DirectBound) -> bool {
        if self.ended {
            return false;
        }
        if self.direct.events >= max.events || self.direct.bytes + bytes.len() > max.bytes {
            self.direct_dropped = true;
            return false;
        }
        self.direct.events += 1;
        self.direct.bytes += bytes.len();
        if self.opened {
            if std::mem::take(&mut self.direct_dropped) {
                self.push(dropped());
            }
            self.frames.push_back(Frame { bytes, is_direct: true });
        } else {
            self.early.push(bytes);
        }
        true
    }

    /// The next frames, as many as go well into one write.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        if self.frames.is_empty() && self.opened && std::mem::take(&mut self.direct_dropped) {
            self.push(dropped());
        }
        let first = self.pop_frame(usize::MAX)?;
        let Some(second) = self.pop_frame(BATCH_BYTES_MAX.saturating_sub(first.len())) else { return Some(first) };
        let mut joined = BytesMut::with_capacity(BATCH_BYTES_MAX);
        joined.extend_from_slice(&first);
        joined.extend_from_slice(&second);
        while let Some(bytes) = self.pop_frame(BATCH_BYTES_MAX - joined.len()) {
            joined.extend_from_slice(&bytes);
        }
        Some(joined.freeze())
    }

    fn pop_frame(&mut self, bytes_max: usize) -> Option<Bytes> {
        let Frame { bytes, is_direct } = self.frames.pop_front_if(|frame| frame.bytes.len() <= bytes_max)?;
        if is_direct {
            self.direct.events -= 1;
            self.direct.bytes -= bytes.len();
        }
        if self.frames.is_empty() {
            // A replay's queue is not kept for the session's quiet life after it.
            self.frames = VecDeque::new();
        }
        Some(bytes)
    }
}

/// Tells of direct events that were refused; as they have no id, the cursor stays where it is.
fn dropped() -> Bytes {
    Gap::new(GapReason::Dropped, Vec::new()).frame_without_id()
}

/// Frames of a replay.
impl Extend<Bytes> for Out {
    fn extend<I: IntoIterator<Item = Bytes>>(&mut self, frames: I) {
        self.frames.extend(frames.into_iter().map(|bytes| Frame { bytes, is_direct: false }));
    }
}

impl Shared {
    /// Makes the stream be polled again.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    pub(crate) fn set_waker(&self, waker: Option<Waker>) {
        self.waker.set(waker);
    }
}
