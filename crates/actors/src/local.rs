//! What the actors and streams of one worker thread share. Nothing here leaves its thread, so nothing is locked.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
    task::Waker,
};

use actix::Addr;
use bytes::{Bytes, BytesMut};
use slab::Slab;
use towncrier_core::{
    Rooms as RoomsCore,
    rooms::{CohortId, MemberId},
};
use towncrier_telemetry::Metrics;
use towncrier_wire::{Event, Gap, limits::BATCH_BYTES_MAX};

use crate::{Options, Session, messages::SessionKey};

/// One worker's side of the hub.
pub(crate) struct Local {
    pub(crate) options: Arc<Options>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) rooms: RefCell<RoomsCore<Rc<Shared>>>,
    pub(crate) sessions: RefCell<Slab<Rc<Shared>>>,
    /// Ticks of the worker's wheel since it began.
    pub(crate) tick: Cell<u64>,
    pub(crate) generation: Cell<u32>,
    pub(crate) sent: Sent,
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
}

impl Reported {
    pub(crate) fn report(&self, metrics: &Metrics, topics: usize, cohorts: usize) {
        let (topics, cohorts) = (topics as i64, cohorts as i64);
        metrics.rooms.inc_by(topics - self.topics.replace(topics));
        metrics.cohorts.inc_by(cohorts - self.cohorts.replace(cohorts));
    }
}

impl Local {
    pub(crate) fn session(&self, key: SessionKey) -> Option<Rc<Shared>> {
        self.sessions.borrow().get(key.index).filter(|shared| shared.key == key).cloned()
    }

    /// Makes room for a session.
    pub(crate) fn admit(&self, format: Format) -> Rc<Shared> {
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
            sent_at: Cell::new(self.tick.get()),
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
    pub(crate) address: RefCell<Option<Addr<Session>>>,
    /// Its cohort, once it has subscribed.
    pub(crate) cohort: Cell<Option<CohortId>>,
    /// Its place in the cohort's outbox, while it is attached.
    pub(crate) member: Cell<Option<MemberId>>,
    waker: Cell<Option<Waker>>,
    /// The tick at which its stream last sent something.
    pub(crate) sent_at: Cell<u64>,
    pub(crate) out: RefCell<Out>,
}

/// What a session has to send of its own, beside what lies in its cohort's outbox.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub(crate) format: Format,
    frames: VecDeque<Bytes>,
    /// How many of `frames` are direct events.
    direct: usize,
    /// Whether direct events were refused since the last `gap` that said so.
    pub(crate) direct_dropped: bool,
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
    pub(crate) fn push(&mut self, frame: Bytes) {
        self.frames.push_back(frame);
    }

    pub(crate) fn frames_mut(&mut self) -> &mut VecDeque<Bytes> {
        &mut self.frames
    }

    /// Queues a direct event unless too many wait.
    pub(crate) fn push_direct(&mut self, frame: Bytes, max: usize) -> bool {
        if self.ended || self.direct >= max {
            self.direct_dropped |= !self.ended;
            return false;
        }
        self.direct += 1;
        self.frames.push_back(frame);
        true
    }

    /// The next frames, as many as go well into one write.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let first = self.frames.pop_front()?;
        if self.frames.front().is_none_or(|second| first.len() + second.len() > BATCH_BYTES_MAX) {
            self.after_pop();
            return Some(first);
        }
        let mut joined = BytesMut::with_capacity(BATCH_BYTES_MAX);
        joined.extend_from_slice(&first);
        while let Some(frame) = self.frames.pop_front_if(|frame| joined.len() + frame.len() <= BATCH_BYTES_MAX) {
            joined.extend_from_slice(&frame);
        }
        self.after_pop();
        Some(joined.freeze())
    }

    fn after_pop(&mut self) {
        if self.frames.is_empty() {
            self.direct = 0;
            // A replay's queue is not kept for the session's quiet life after it.
            self.frames = VecDeque::new();
        }
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
