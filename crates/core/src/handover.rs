//! The hand-over of one session from replay to live.
//!
//! 1. The session's selectors are joined: from then on its worker is delivered everything that fits them.
//! 2. It reads history from its cursor up to the worker's heads, page by page, at the pace at which it sends.
//! 3. It attaches to its cohort's outbox: everything after the heads of that moment it will get from there.
//! 4. It reads the rest of history up to just those heads, while the outbox holds what is newer behind it.
//! 5. It goes live.
//!
//! So each event comes from one side only: history up to the heads, the outbox after them. A cursor that is newer than the
//! worker's heads, as when another worker was faster, makes the worker join again first: the answer comes after everything
//! that was published before it.

use std::sync::Arc;

use towncrier_wire::{
    Cursor, Event, EventId, Gap, GapReason, Heads, Partitions, Selectors, Start, Topic, limits::PARTITIONS_MAX,
};

use crate::replay::{From, Page, Request};

/// What the session has to do next.
#[derive(Debug)]
pub enum Step {
    /// Attach to the cohort's outbox, then call [`Handover::attached`].
    Attach,
    /// Join the selectors again, then call [`Handover::begin`] with the heads of that answer.
    Join,
    /// Ask history, then call [`Handover::page`].
    Read(Request),
    /// Nothing: send what the outbox holds.
    Live,
}

/// What the client is told first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// Its starting cursor.
    At(Cursor),
    /// That all that is retained comes; the same if it reconnects before the first event.
    Earliest,
}

/// What a step brings to send, in this order.
#[derive(Debug, Default)]
pub struct Output {
    /// The first block, if it is time for it.
    pub opening: Option<Opening>,
    /// What was lost.
    pub gaps: Vec<Gap>,
    /// Replayed events.
    pub events: Vec<Arc<Event>>,
    /// The cursor before `events`, and after the opening and the gaps.
    pub cursor: Option<Cursor>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not begun, or waiting to join again.
    Waiting { joined_again: bool },
    /// Reading up to these heads before it attaches.
    CatchingUp(Heads),
    /// Attached at these heads, reading up to them.
    Closing(Heads),
    /// Done.
    Live,
}

/// See the module.
#[derive(Debug)]
pub struct Handover {
    selectors: Selectors,
    partitions: Partitions,
    touched: [bool; PARTITIONS_MAX],
    start: Start,
    phase: Phase,
    opened: bool,
    cursor: Cursor,
    /// Losses that the client was told of already.
    told: Vec<(Topic, EventId)>,
}

impl Handover {
    /// A session that wants to start there.
    #[must_use]
    pub fn new(selectors: Selectors, start: Start, partitions: Partitions) -> Self {
        let touched = selectors.touched(partitions);
        let phase = Phase::Waiting { joined_again: false };
        let cursor = Cursor::empty(partitions);
        Self { selectors, partitions, touched, start, phase, opened: false, cursor, told: Vec::new() }
    }

    /// Whether the session takes frames from the outbox.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    /// Whether the client's cursor was taken up.
    #[must_use]
    pub fn resumed(&self) -> bool {
        matches!(self.start, Start::After(_))
    }

    /// All selectors are joined, and the worker has seen everything up to `heads`.
    pub fn begin(&mut self, heads: &Heads) -> (Output, Step) {
        let joined_again = matches!(self.phase, Phase::Waiting { joined_again: true });
        if let Start::After(cursor) = &mut self.start {
            let mut ahead = false;
            for partition in self.partitions.iter().filter(|partition| self.touched[partition.index()]) {
                let head = heads[partition.index()];
                match cursor.get(partition) {
                    Some(id) if id > head => ahead = true,
                    Some(_) => {}
                    // Its selectors touched this partition not at all before: nothing was promised there.
                    None => cursor.set(partition, head),
                }
            }
            if ahead && !joined_again {
                self.phase = Phase::Waiting { joined_again: true };
                return (Output::default(), Step::Join);
            }
            if ahead {
                self.start = Start::Unknown;
            }
        }

        let from = match self.start {
            Start::After(cursor) => {
                self.cursor = cursor;
                From::After(cursor)
            }
            Start::Earliest => From::Earliest,
            Start::Last(count) => From::Last(count),
            Start::Live | Start::Unknown | Start::Closed => {
                self.phase = Phase::CatchingUp(*heads);
                return (Output::default(), Step::Attach);
            }
        };
        self.phase = Phase::CatchingUp(*heads);
        let mut output = Output::default();
        match from {
            From::After(_) => output.opening = Some(Opening::At(self.cursor)),
            From::Earliest => {
                output.opening = Some(Opening::Earliest);
                self.cursor = Cursor::everywhere(self.partitions, EventId::ZERO);
            }
            // Where it starts is known with the page.
            From::Last(_) => {}
        }
        self.opened = output.opening.is_some();
        let step = if self.reached(heads) { Step::Attach } else { self.read(from, *heads) };
        (output, step)
    }

    /// Takes in a page that was read.
    pub fn page(&mut self, page: Page) -> (Output, Step) {
        let (Phase::CatchingUp(upto) | Phase::Closing(upto)) = self.phase else {
            return (Output::default(), Step::Live);
        };
        let mut output = Output::default();
        if !self.opened {
            self.cursor = self.before(&page.events, &upto);
            output.opening = Some(Opening::At(self.cursor));
            self.opened = true;
        }
        output.gaps = self.gaps(&page);
        output.cursor = Some(self.cursor);
        for event in &page.events {
            self.cursor.set(self.partitions.of(event.topic()), event.id());
        }
        output.events = page.events;
        if page.more {
            return (output, self.read(From::After(self.cursor), upto));
        }
        self.reach(&upto);
        let step = match self.phase {
            Phase::CatchingUp(_) => Step::Attach,
            _ => {
                self.phase = Phase::Live;
                Step::Live
            }
        };
        (output, step)
    }

    /// The session is now a member of its cohort: everything after `heads` comes from the outbox.
    pub fn attached(&mut self, heads: &Heads) -> (Output, Step) {
        let mut output = Output::default();
        if !self.opened {
            self.reach(heads);
            self.opened = true;
            output.opening = Some(Opening::At(self.cursor));
            if self.start == Start::Unknown {
                output.gaps.push(Gap::new(GapReason::UnknownCursor, Vec::new()));
            }
            output.cursor = Some(self.cursor);
        }
        if self.reached(heads) {
            self.phase = Phase::Live;
            return (output, Step::Live);
        }
        self.phase = Phase::Closing(*heads);
        (output, self.read(From::After(self.cursor), *heads))
    }

    /// The session fell too far behind the outbox while it was still reading history, and is no member any more: it goes
    /// on reading, and attaches again when it has caught up.
    pub fn detached(&mut self) {
        if let Phase::Closing(upto) = self.phase {
            self.phase = Phase::CatchingUp(upto);
        }
    }

    fn read(&self, from: From, upto: Heads) -> Step {
        Step::Read(Request { selectors: self.selectors.clone(), from, upto })
    }

    /// Losses that the client does not know of yet. Where all is lost below a floor, the cursor goes up to it.
    fn gaps(&mut self, page: &Page) -> Vec<Gap> {
        let mut gaps = Vec::new();
        for (partition, floor) in self.partitions.iter().filter_map(|partition| {
            let floor = page.floors.iter().find(|(index, _)| *index == partition.index());
            floor.map(|(_, floor)| (partition, *floor))
        }) {
            self.cursor.set(partition, floor);
            if gaps.is_empty() {
                gaps.push(Gap::new(GapReason::BackplaneLost, Vec::new()));
            }
        }
        let mut topics = Vec::new();
        for (topic, id) in &page.lost {
            match self.told.iter_mut().find(|(told, _)| told == topic) {
                Some((_, told)) if *told >= *id => continue,
                Some((_, told)) => *told = *id,
                None => self.told.push((topic.clone(), *id)),
            }
            topics.push(topic.clone());
        }
        if !topics.is_empty() {
            gaps.push(Gap::new(GapReason::Expired, topics));
        }
        gaps
    }

    /// A cursor after which all of `events` come, and in other partitions nothing up to `heads`.
    fn before(&self, events: &[Arc<Event>], heads: &Heads) -> Cursor {
        let mut cursor = self.cursor;
        for partition in self.partitions.iter().filter(|partition| self.touched[partition.index()]) {
            let first = events.iter().find(|event| self.partitions.of(event.topic()) == partition);
            cursor.set(partition, first.map_or(heads[partition.index()], |event| event.id().predecessor()));
        }
        cursor
    }

    fn reach(&mut self, heads: &Heads) {
        for partition in self.partitions.iter().filter(|partition| self.touched[partition.index()]) {
            let head = heads[partition.index()];
            self.cursor.set(partition, self.cursor.get(partition).map_or(head, |id| id.max(head)));
        }
    }

    fn reached(&self, heads: &Heads) -> bool {
        let behind = |partition: &towncrier_wire::Partition| {
            self.touched[partition.index()]
                && self.cursor.get(*partition).is_none_or(|id| id < heads[partition.index()])
        };
        !self.partitions.iter().any(|partition| behind(&partition))
    }
}
