//! The outbox of a cohort: an append-only log of encoded frames in which each member is only a position.
//!
//! Frames are joined into batches so that a member that lacks several gets them in one write; a batch of one frame is
//! that frame itself, shared with every other cohort. A batch knows how many members have yet to take it and goes as
//! soon as none has, so a cohort whose members have all caught up holds no bytes.

use std::{collections::VecDeque, sync::Arc};

use bytes::{Bytes, BytesMut};
use slab::Slab;
use towncrier_wire::{Cursor, Event, EventId, limits::BATCH_BYTES_MAX};

pub use crate::conflate::Conflated;
use crate::conflate::Newest;

/// How far a member may be behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LagBound {
    /// Most bytes of frames.
    pub bytes: usize,
    /// Most events.
    pub events: usize,
}

/// What a member gets next.
#[derive(Debug)]
pub enum Next {
    /// Frames.
    Frames {
        /// Whole frames, ready to be sent.
        bytes: Bytes,
        /// How many.
        events: usize,
    },
    /// The member had fallen behind and its cohort conflates.
    Conflated(Conflated),
    /// Nothing: it has caught up.
    Nothing,
}

/// What a frame is of.
#[derive(Debug, Clone)]
pub enum Entry {
    /// An event.
    Event(Arc<Event>),
    /// A gap, at which a client stands there.
    Gap(Box<Cursor>),
}

/// How old what a batch holds is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oldest {
    /// When its first event was taken in, in µs by the caller's clock.
    pub taken_us: u64,
    /// The id of its first event, if it begins with one.
    pub id: Option<EventId>,
}

#[derive(Debug)]
struct Batch {
    bytes: Bytes,
    count: usize,
    oldest: Oldest,
    /// What the frames are of, if the outbox may have to conflate them.
    entries: Vec<Entry>,
    /// How many members have not taken it.
    unread: usize,
}

#[derive(Debug)]
struct Member<T> {
    payload: T,
    reads: Reads,
    /// Where the client stood when the member stopped reading in order.
    stalled: Option<Box<Cursor>>,
}

#[derive(Debug, Clone, Copy)]
enum Reads {
    /// The number of the batch that it takes next.
    Batch(u64),
    /// It stopped at this event number and gets only the newest of each topic since.
    Newest(u64),
}

/// See the module. `T` is whatever the caller needs to know of a member.
#[derive(Debug)]
pub struct Outbox<T> {
    conflates: bool,
    batches: VecDeque<Batch>,
    /// The number of `batches[0]`.
    first: u64,
    /// Frames that are not in a batch yet.
    open: Vec<(Entry, Bytes)>,
    /// When the first of these was taken in, in µs.
    open_since_us: u64,
    /// Bytes in `batches`.
    bytes: usize,
    /// Events in `batches`.
    events: usize,
    /// The number of the next event.
    next_event: u64,
    members: Slab<Member<T>>,
    newest: Newest,
    conflating: usize,
}

impl<T> Outbox<T> {
    /// An empty outbox; only one that `conflates` keeps what [`Outbox::conflate`] needs.
    #[must_use]
    pub fn new(conflates: bool) -> Self {
        Self {
            conflates,
            batches: VecDeque::new(),
            first: 0,
            open: Vec::new(),
            open_since_us: 0,
            bytes: 0,
            events: 0,
            next_event: 0,
            members: Slab::new(),
            newest: Newest::default(),
            conflating: 0,
        }
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Bytes of frames that some member has yet to take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a member that gets everything that is pushed from now on.
    pub fn attach(&mut self, payload: T) -> usize {
        self.seal();
        let tail = self.tail();
        self.members.insert(Member { payload, reads: Reads::Batch(tail), stalled: None })
    }

    /// Takes a member away.
    pub fn detach(&mut self, key: usize) -> Option<T> {
        let member = self.members.try_remove(key)?;
        self.stop_reading(member.reads);
        if self.members.is_empty() {
            // The slab keeps the places of those that were here; a look at all members is a look at all places.
            self.members = Slab::new();
        }
        Some(member.payload)
    }

    /// Appends an event that was taken in at `taken_us`, with the frame that the members get of it. Without members nothing is
    /// kept.
    pub fn push(&mut self, event: &Arc<Event>, frame: Bytes, taken_us: u64) {
        if self.members.is_empty() {
            return;
        }
        if self.conflating > 0 {
            self.newest.push(self.next_event, event);
        }
        self.append(Entry::Event(event.clone()), frame, taken_us);
    }

    /// Appends the frame of a gap at which the members stand at `cursor`. It counts as an event.
    pub fn push_gap(&mut self, cursor: Cursor, frame: Bytes, taken_us: u64) {
        if self.members.is_empty() {
            return;
        }
        if self.conflating > 0 {
            self.newest.lose(self.next_event);
        }
        self.append(Entry::Gap(Box::new(cursor)), frame, taken_us);
    }

    fn append(&mut self, entry: Entry, frame: Bytes, taken_us: u64) {
        if self.open.is_empty() {
            self.open_since_us = taken_us;
        }
        self.next_event += 1;
        self.open.push((entry, frame));
    }

    /// Makes what was pushed readable.
    pub fn seal(&mut self) {
        let open = std::mem::take(&mut self.open);
        let readers = self.members.len() - self.conflating;
        if readers == 0 {
            return;
        }
        let mut rest = &open[..];
        while let Some((entry, frame)) = rest.first() {
            let id = match entry {
                Entry::Event(event) => Some(event.id()),
                Entry::Gap(_) => None,
            };
            let oldest = Oldest { taken_us: self.open_since_us, id };
            let (mut len, mut count) = (frame.len(), 1);
            while let Some((_, frame)) = rest.get(count).filter(|(_, frame)| len + frame.len() <= BATCH_BYTES_MAX) {
                len += frame.len();
                count += 1;
            }
            let (joined, after) = rest.split_at(count);
            let bytes = if count == 1 {
                frame.clone()
            } else {
                let mut bytes = BytesMut::with_capacity(len);
                joined.iter().for_each(|(_, frame)| bytes.extend_from_slice(frame));
                bytes.freeze()
            };
            let kept = if self.conflates { joined } else { &[] };
            let entries = kept.iter().map(|(entry, _)| entry.clone()).collect();
            self.bytes += len;
            self.events += count;
            self.batches.push_back(Batch { bytes, count, oldest, entries, unread: readers });
            rest = after;
        }
    }

    /// The next frames of a member.
    pub fn next(&mut self, key: usize) -> Next {
        let tail = self.tail();
        let Some(member) = self.members.get_mut(key) else {
            return Next::Nothing;
        };
        match &mut member.reads {
            Reads::Batch(at) if *at == tail => Next::Nothing,
            Reads::Batch(at) => {
                let batch = &mut self.batches[(*at - self.first) as usize];
                *at += 1;
                batch.unread -= 1;
                let next = Next::Frames { bytes: batch.bytes.clone(), events: batch.count };
                self.trim();
                next
            }
            Reads::Newest(since) => {
                let since = *since;
                // What is still open belongs to the newest, and must not come as frames too.
                self.seal();
                let tail = self.tail();
                let member = &mut self.members[key];
                member.reads = Reads::Batch(tail);
                let stalled = member.stalled.take();
                self.conflating -= 1;
                let mut conflated = self.newest.since(since);
                conflated.cursor = stalled.map(|cursor| *cursor);
                if self.conflating == 0 {
                    self.newest = Newest::default();
                }
                Next::Conflated(conflated)
            }
        }
    }

    /// How old what a member takes next is; `None` if it has taken everything, or conflates.
    #[must_use]
    pub fn oldest_of(&self, key: usize) -> Option<Oldest> {
        let Reads::Batch(at) = self.members.get(key)?.reads else { return None };
        self.batches.get((at - self.first) as usize).map(|batch| batch.oldest)
    }

    /// How many members have not taken something that was taken in before `before_us`. Times must have come in their order.
    #[must_use]
    pub fn behind(&self, before_us: u64) -> usize {
        let old = self.batches.partition_point(|batch| batch.oldest.taken_us < before_us);
        // Who lacks a batch lacks all later ones, so the newest of the old ones has the most.
        let reading = old.checked_sub(1).map_or(0, |newest| self.batches[newest].unread);
        reading + self.conflating
    }

    /// Whether a member has taken all that is readable.
    #[must_use]
    pub fn has_caught_up(&self, key: usize) -> bool {
        self.members.get(key).is_some_and(|member| matches!(member.reads, Reads::Batch(at) if at == self.tail()))
    }

    /// Whether what is unread exceeds a bound, so that some member is further behind than it.
    #[must_use]
    pub fn exceeds(&self, bound: LagBound) -> bool {
        self.bytes > bound.bytes || self.events > bound.events
    }

    /// Members that are further behind than the bound. Costs a look at each member, but only if there is one.
    #[must_use]
    pub fn lagging(&self, bound: LagBound) -> Vec<usize> {
        let (mut bytes, mut events) = (self.bytes, self.events);
        let mut limit = self.first;
        for batch in &self.batches {
            if bytes <= bound.bytes && events <= bound.events {
                break;
            }
            bytes -= batch.bytes.len();
            events -= batch.count;
            limit += 1;
        }
        if limit == self.first {
            return Vec::new();
        }
        let behind = |member: &Member<T>| matches!(member.reads, Reads::Batch(at) if at < limit);
        self.members.iter().filter(|(_, member)| behind(member)).map(|(key, _)| key).collect()
    }

    /// Makes a member that is behind get only, of an outbox that conflates, the newest event of each topic, when
    /// it reads again.
    pub fn conflate(&mut self, key: usize, bytes_max: usize, stalled_at: impl FnOnce(&[&Entry]) -> Cursor) {
        self.seal();
        let Some(Member { reads, stalled, .. }) = self.members.get_mut(key) else {
            return;
        };
        let Reads::Batch(at) = *reads else { return };
        let skipped = (at - self.first) as usize;
        let mut number = self.next_event - self.events as u64;
        number += self.batches.range(..skipped).map(|batch| batch.count as u64).sum::<u64>();
        if self.conflating == 0 {
            self.newest = Newest::bounded(bytes_max);
        }
        let unread: Vec<_> = self.batches.range(skipped..).flat_map(|batch| &batch.entries).collect();
        *stalled = Some(Box::new(stalled_at(&unread)));
        // Events that an earlier conflating member brought in already are not counted twice.
        for (number, entry) in (number..).zip(unread) {
            match entry {
                Entry::Event(event) => self.newest.push(number, event),
                Entry::Gap(_) => self.newest.lose(number),
            }
        }
        let left = *reads;
        *reads = Reads::Newest(number);
        self.conflating += 1;
        self.stop_reading_batches(left);
    }

    /// The payload of a member.
    #[must_use]
    pub fn get(&self, key: usize) -> Option<&T> {
        self.members.get(key).map(|member| &member.payload)
    }

    /// Payloads of the members with keys from `from` on, at most `count` of them, and the key to go on with.
    pub fn members(&self, from: usize, count: usize) -> (impl Iterator<Item = &T>, Option<usize>) {
        let to = from.saturating_add(count).min(self.members.capacity());
        let slice = (from..to).filter_map(|key| self.members.get(key)).map(|member| &member.payload);
        (slice, (to < self.members.capacity()).then_some(to))
    }

    fn tail(&self) -> u64 {
        self.first + self.batches.len() as u64
    }

    fn stop_reading(&mut self, reads: Reads) {
        match reads {
            Reads::Batch(_) => self.stop_reading_batches(reads),
            Reads::Newest(_) => {
                self.conflating -= 1;
                if self.conflating == 0 {
                    self.newest = Newest::default();
                }
            }
        }
        if self.members.is_empty() {
            self.open = Vec::new();
        }
    }

    fn stop_reading_batches(&mut self, reads: Reads) {
        let Reads::Batch(at) = reads else { return };
        for batch in self.batches.range_mut((at - self.first) as usize..) {
            batch.unread -= 1;
        }
        self.trim();
    }

    fn trim(&mut self) {
        while let Some(batch) = self.batches.pop_front_if(|batch| batch.unread == 0) {
            self.first += 1;
            self.bytes -= batch.bytes.len();
            self.events -= batch.count;
        }
        if self.batches.is_empty() && self.batches.capacity() > 16 {
            self.batches = VecDeque::new();
        }
    }
}
