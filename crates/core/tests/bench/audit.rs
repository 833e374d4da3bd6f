//! What one connection owes its client, and whether it gives just that.

use std::collections::{HashSet, VecDeque};

use towncrier_wire::{Cursor, EventId, GapReason, Heads, Partitions, Selectors, limits::PARTITIONS_MAX};

use super::{
    sse::Block,
    truth::{Fact, Truth},
};

/// A gap that the hub has sent, and the events that it stands for.
#[derive(Debug)]
pub(crate) struct Excuse {
    pub(crate) reason: GapReason,
    pub(crate) events: HashSet<usize>,
}

/// Judges one connection from the blocks that its client reads.
#[derive(Debug)]
pub(crate) struct Audit {
    pub(crate) selectors: Selectors,
    pub(crate) partitions: Partitions,
    pub(crate) touched: [bool; PARTITIONS_MAX],
    /// Events that it need not give: told by a gap, or before its start.
    pub(crate) waived: HashSet<usize>,
    /// Events that it must not give: older than its start.
    pub(crate) forbidden: HashSet<usize>,
    /// The gaps that are under way.
    pub(crate) excuses: VecDeque<Excuse>,
    /// Up to here, in each partition, the client has everything.
    reached: Heads,
    /// The newest event that it got of each partition.
    newest: Heads,
    opened: bool,
}

impl Audit {
    pub(crate) fn new(selectors: Selectors, partitions: Partitions) -> Self {
        Self {
            touched: selectors.touched(partitions),
            selectors,
            partitions,
            waived: HashSet::new(),
            forbidden: HashSet::new(),
            excuses: VecDeque::new(),
            reached: [EventId::ZERO; PARTITIONS_MAX],
            newest: [EventId::ZERO; PARTITIONS_MAX],
            opened: false,
        }
    }

    /// The client reads a block. `got` is all that it had before, on this connection or on one that this one resumes.
    pub(crate) fn read(&mut self, block: &Block, truth: &Truth, got: &mut HashSet<usize>) {
        let event = block.event.as_deref();
        // Where a session begins; one whose cursor means nothing begins at the gap that says so.
        let mut starts = event == Some("connected");
        assert_eq!(self.opened, event != Some("connected"), "the first block opens the stream, and no other");
        match event {
            Some("connected") => self.opened = true,
            Some("gap") => {
                let excuse = self.excuses.pop_front().expect("a gap was sent");
                let data = block.data.as_deref().unwrap_or_default();
                assert!(data.contains(excuse.reason.as_str()), "{data} for {excuse:?}");
                starts = excuse.reason == GapReason::UnknownCursor;
                let missing = excuse.events.iter().any(|number| !got.contains(number));
                assert!(missing || excuse.reason != GapReason::Dropped, "told as dropped, but had: {excuse:?}");
                self.waived.extend(excuse.events);
            }
            Some(other) => panic!("an unknown event {other}"),
            None => {
                if let Some(data) = &block.data {
                    let fact = data.parse().ok().and_then(|number| truth.fact(number)).expect("a published event");
                    self.receive(fact, block, got);
                }
            }
        }
        if block.id.as_deref() != Some("earliest") {
            self.reach(block, starts, truth, got);
        }
    }

    fn receive(&mut self, fact: &Fact, block: &Block, got: &mut HashSet<usize>) {
        assert!(self.selectors.matches(&fact.topic), "nobody asked for {fact:?}");
        assert!(!self.forbidden.contains(&fact.number), "older than the session's start: {fact:?}");
        assert!(got.insert(fact.number), "twice: {fact:?}");
        assert!(fact.id > self.newest[fact.partition], "out of order: {fact:?}");
        assert!(fact.id > self.reached[fact.partition], "older than the cursor: {fact:?}");
        self.newest[fact.partition] = fact.id;
        let own = self.cursor(block).get(self.partitions.iter().nth(fact.partition).expect("a partition"));
        assert_eq!(own, Some(fact.id), "the cursor of {fact:?}");
    }

    fn cursor(&self, block: &Block) -> Cursor {
        let id = block.id.as_deref().expect("an id");
        Cursor::parse(id, self.partitions).unwrap_or_else(|_| panic!("{id} is no cursor"))
    }

    /// The client's cursor moves: whatever lies before it will not come any more, and must be there.
    fn reach(&mut self, block: &Block, starts: bool, truth: &Truth, got: &HashSet<usize>) {
        if block.id.is_none() {
            return;
        }
        let cursor = self.cursor(block);
        for partition in self.partitions.iter().filter(|partition| self.touched[partition.index()]) {
            let index = partition.index();
            let id = cursor.get(partition).expect("an id for each partition that the selectors touch");
            assert!(id >= self.reached[index], "the cursor went back in {index}: {id} after {}", self.reached[index]);
            let passed = |fact: &&Fact| fact.partition == index && fact.id > self.reached[index] && fact.id <= id;
            let missing = |fact: &&Fact| !got.contains(&fact.number) && !self.waived.contains(&fact.number);
            if !starts && let Some(lost) = truth.of(&self.selectors).filter(passed).find(missing) {
                panic!("lost without a word: {lost:?}, the cursor is at {id}");
            }
            self.reached[index] = id;
        }
    }

    /// Nothing more is to come: everything must be there.
    pub(crate) fn finish(&self, truth: &Truth, got: &HashSet<usize>) {
        assert!(self.opened, "the stream never opened");
        assert!(self.excuses.is_empty(), "gaps that nobody read: {:?}", self.excuses);
        let owed = |fact: &&Fact| fact.id > self.reached[fact.partition] && !self.waived.contains(&fact.number);
        if let Some(lost) = truth.of(&self.selectors).filter(owed).find(|fact| !got.contains(&fact.number)) {
            panic!("never came: {lost:?}, the cursor is at {:?}", self.reached);
        }
    }
}
