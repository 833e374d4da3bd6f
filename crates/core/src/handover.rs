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

use std::{collections::HashMap, sync::Arc};

use towncrier_wire::{
    Cursor, Event, EventId, Gap, GapReason, Heads, Partitions, Selectors, Start, Topic, limits::PARTITIONS_MAX,
};

use crate::replay::{From, Page, Request};

/// What the session has to do next.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a step is done at once and never kept")]
pub enum Step {
    /// Attach to the cohort's outbox, then call [`Handover::attached`].
    Attach,
    /// Join again and await the answer to just that, see [`Rooms::join_again`](crate::Rooms::join_again); then call
    /// [`Handover::begin`] with the worker's heads.
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
    /// No cursor: it keeps its own, which means nothing, until the gap tells it so. A new one could survive a cut of the
    /// connection that the gap does not.
    Unknown,
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
    /// Losses that the client was told of already, or that lie before its start: the newest id that is lost of each topic.
    told: HashMap<Topic, EventId>,
    /// The same for what is not known below a floor.
    told_floors: Heads,
}

impl Handover {
    /// A session that wants to start there.
    #[must_use]
    pub fn new(selectors: Selectors, start: Start, partitions: Partitions) -> Self {
        let touched = selectors.touched(partitions);
        let phase = Phase::Waiting { joined_again: false };
        let cursor = Cursor::empty(partitions);
        Self {
            selectors,
            partitions,
            touched,
            start,
            phase,
            opened: false,
            cursor,
            told: HashMap::new(),
            told_floors: [EventId::ZERO; PARTITIONS_MAX],
        }
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

    /// How far the client will be when it has got everything that was handed out so far.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.cursor
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
            From::Earliest => output.opening = Some(Opening::Earliest),
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
        if self.cursor == Cursor::empty(self.partitions) {
            self.start_at(&page, &upto);
            if !self.opened {
                output.opening = Some(Opening::At(self.cursor));
                self.opened = true;
            }
        }
        output.gaps = self.gaps(&page, &upto);
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
            if self.start == Start::Unknown {
                output.opening = Some(Opening::Unknown);
                output.gaps.push(Gap::new(GapReason::UnknownCursor, Vec::new()));
            } else {
                output.opening = Some(Opening::At(self.cursor));
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

    /// A session without a cursor starts at what is retained: what was lost before that is no loss of its own.
    fn start_at(&mut self, page: &Page, upto: &Heads) {
        for partition in self.partitions.iter().filter(|partition| self.touched[partition.index()]) {
            self.cursor.set(partition, page.starts[partition.index()]);
        }
        for (index, floor) in &page.floors {
            self.told_floors[*index] = upto[*index].min(*floor);
        }
        let before = |(topic, id): &(Topic, EventId)| (topic.clone(), upto[self.partitions.of(topic).index()].min(*id));
        self.told = page.lost.iter().map(before).collect();
    }

    /// Losses that the client does not know of yet. Where nothing is retained below a floor, the cursor goes up to it.
    fn gaps(&mut self, page: &Page, upto: &Heads) -> Vec<Gap> {
        let mut gaps = Vec::new();
        for partition in self.partitions.iter() {
            let index = partition.index();
            let Some((_, floor)) = page.floors.iter().find(|(of, _)| *of == index) else {
                continue;
            };
            if self.told_floors[index] >= *floor {
                continue;
            }
            self.told_floors[index] = *floor;
            if !page.more {
                let first = page.events.iter().find(|event| self.partitions.of(event.topic()) == partition);
                let start = first.map_or(upto[index], |event| event.id().predecessor()).min(*floor);
                self.cursor.set(partition, self.cursor.get(partition).map_or(start, |id| id.max(start)));
            }
            if gaps.is_empty() {
                gaps.push(Gap::new(GapReason::BackplaneLost, Vec::new()));
            }
        }
        let mut topics = Vec::new();
        for (topic, id) in &page.lost {
            let told = self.told.entry(topic.clone()).or_default();
            if *told < *id {
                *told = *id;
                topics.push(topic.clone());
            }
        }
        if !topics.is_empty() {
            gaps.push(Gap::new(GapReason::Expired, topics));
        }
        gaps
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
