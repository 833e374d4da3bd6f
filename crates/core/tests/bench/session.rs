//! The hub's end of one connection: drives a [`Handover`] as a session actor does.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use towncrier_core::{
    Cache, Handover, Store, TopicRead,
    cache::Plan,
    handover::{Opening, Output, Step},
    outbox::{Conflated, Next},
    replay::{From, Page, Request},
    rooms::{CohortId, MemberId, Rooms, frames},
};
use towncrier_wire::{
    Cursor, EventId, Gap, GapReason, Heads, Partitions, Selectors, Start, Topic, control, limits::PARTITIONS_MAX, sse,
};

use super::{
    audit::{Audit, Excuse},
    sse::Socket,
    truth::{Fact, Truth, retains},
};

/// What the hub shares among its sessions.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) partitions: Partitions,
    pub(crate) store: Store,
    pub(crate) cache: Cache,
    pub(crate) truth: Truth,
    pub(crate) now_ms: u64,
    /// Most events of one read of a topic.
    pub(crate) read_limit: usize,
}

/// What a session waits for, or does next.
#[derive(Debug)]
pub(crate) enum State {
    /// For its selectors to be joined.
    Joining,
    /// They are: it begins at these heads.
    Begin(Heads),
    /// It attaches next.
    Attach,
    /// It reads history next.
    Read(Request),
    /// History is at it.
    Reading(Box<Reading>),
    /// It sends what the outbox holds.
    Live,
    /// The hub has ended the stream.
    Closed,
}

/// A request on its way through history.
#[derive(Debug)]
pub(crate) struct Reading {
    request: Request,
    plan: Plan,
    /// An answer of the backplane that history has not taken in yet.
    arriving: Option<(Topic, EventId, TopicRead)>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: usize,
    pub(crate) worker: usize,
    pub(crate) cohort: CohortId,
    pub(crate) member: Option<MemberId>,
    pub(crate) state: State,
    pub(crate) handover: Handover,
    pub(crate) socket: Socket,
    pub(crate) audit: Audit,
    selectors: Selectors,
    start: Start,
    /// Whether the client came with a cursor that was ahead of everything.
    ahead: bool,
    /// Up to where the session knows that something may be lost.
    told_floors: Heads,
    /// The worker's heads when the session came.
    came_at: Heads,
    began_at: Heads,
}

impl Session {
    pub(crate) fn new(
        shared: &Shared,
        client: usize,
        (worker, cohort): (usize, CohortId),
        selectors: Selectors,
        start: Start,
        came_at: Heads,
    ) -> Self {
        let audit = Audit::new(selectors.clone(), shared.partitions);
        let heads = shared.store.heads();
        let beyond = |cursor: &Cursor| {
            let mut touched = shared.partitions.iter().filter(|partition| audit.touched[partition.index()]);
            touched.any(|partition| cursor.get(partition).is_some_and(|id| id > heads[partition.index()]))
        };
        Self {
            client,
            worker,
            cohort,
            member: None,
            state: State::Joining,
            handover: Handover::new(selectors.clone(), start, shared.partitions),
            socket: Socket::default(),
            ahead: matches!(&start, Start::After(cursor) if beyond(cursor)),
            audit,
            selectors,
            start,
            told_floors: [EventId::ZERO; PARTITIONS_MAX],
            came_at,
            began_at: came_at,
        }
    }

    /// Does the next thing that is to be done. Gives whether there was any; `true` with [`State::Joining`] asks for a join.
    pub(crate) fn step(&mut self, shared: &mut Shared, rooms: &mut Rooms<usize>) -> bool {
        match std::mem::replace(&mut self.state, State::Joining) {
            State::Joining => return false,
            State::Closed => {
                self.state = State::Closed;
                return false;
            }
            State::Begin(heads) => {
                self.began_at = heads;
                let next = self.handover.begin(&heads);
                self.take(next, None, shared);
            }
            State::Attach => {
                let (member, heads) = rooms.attach(self.cohort, self.client).expect("the cohort is ready");
                self.member = Some(member);
                let next = self.handover.attached(&heads);
                self.take(next, None, shared);
            }
            State::Read(request) => {
                let plan = plan(&request, shared);
                self.state = State::Reading(Box::new(Reading { request, plan, arriving: None }));
            }
            State::Reading(reading) => self.read(*reading, shared),
            State::Live => {
                self.state = State::Live;
                return self.send(shared, rooms);
            }
        }
        true
    }

    /// The worker found it lagging and took it out of its cohort.
    pub(crate) fn lagged(&mut self) {
        self.member = None;
        if self.handover.is_live() {
            self.state = State::Closed;
        } else {
            self.handover.detached();
        }
    }

    /// The hub ends the stream.
    pub(crate) fn close(&mut self) {
        self.state = State::Closed;
    }

    /// Its heartbeat is due.
    pub(crate) fn heartbeat(&mut self, rooms: &Rooms<usize>) {
        if let (State::Live, Some(member)) = (&self.state, self.member) {
            let cursor = rooms.checkpoint(member);
            self.socket.write(&sse::ping(cursor.as_ref().map(|cursor| cursor as &dyn std::fmt::Display)));
        }
    }

    /// One step of history: a read goes out, an answer comes in, or the page is put together.
    fn read(&mut self, mut reading: Reading, shared: &mut Shared) {
        if let Some((topic, after, read)) = reading.arriving.take() {
            shared.cache.backfill(&topic, after, &read);
            reading.plan.known.insert(topic, read);
        } else if let Some((topic, after)) = reading.plan.missing.pop() {
            let limit = if matches!(reading.request.from, From::Last(_)) { usize::MAX } else { shared.read_limit };
            let read = shared.store.read(&topic, after, limit, shared.now_ms);
            reading.arriving = Some((topic, after, read));
        } else {
            let Reading { request, plan, .. } = reading;
            let page = request.page(&plan.known, &shared.store.floors(), shared.partitions);
            self.waive(&request, &plan.known, shared);
            let next = self.handover.page(page.clone());
            self.take(next, Some(&page), shared);
            return;
        }
        self.state = State::Reading(Box::new(reading));
    }

    /// What a session that starts without a cursor does not get: what was lost before it, and what is beyond `last`.
    fn waive(&mut self, request: &Request, known: &HashMap<Topic, TopicRead>, shared: &mut Shared) {
        let Shared { store, truth, now_ms, .. } = shared;
        let before = truth.of(&self.selectors).filter(|fact| fact.id <= request.upto[fact.partition]);
        match request.from {
            From::After(_) => {}
            From::Earliest => {
                let floors = store.floors();
                let lost = |fact: &&Fact| {
                    let trimmed = known.get(&fact.topic).is_none_or(|read| fact.id <= read.trimmed);
                    trimmed || fact.id <= floors[fact.partition]
                };
                let lost = before.filter(lost).filter(|fact| !retains(store, fact, *now_ms));
                self.audit.waived.extend(lost.map(|fact| fact.number));
            }
            From::Last(count) => {
                let mut topics: HashMap<&Topic, u32> = HashMap::new();
                for fact in before.rev() {
                    let newer = topics.entry(&fact.topic).or_default();
                    if *newer >= count {
                        self.audit.forbidden.insert(fact.number);
                    }
                    if *newer >= count || !retains(store, fact, *now_ms) {
                        self.audit.waived.insert(fact.number);
                    }
                    *newer += 1;
                }
            }
        }
    }

    fn take(&mut self, (output, step): (Output, Step), page: Option<&Page>, shared: &mut Shared) {
        self.emit(output, page, shared);
        self.state = match step {
            Step::Attach => State::Attach,
            Step::Join => State::Joining,
            Step::Read(request) => State::Read(request),
            Step::Live => {
                assert!(self.member.is_some(), "nobody is live without an outbox");
                State::Live
            }
        };
    }

    fn emit(&mut self, output: Output, page: Option<&Page>, shared: &mut Shared) {
        if let Some(opening) = output.opening {
            self.check_opening(&opening, shared);
            let cursor: Option<&dyn std::fmt::Display> = match &opening {
                Opening::At(cursor) => Some(cursor),
                Opening::Earliest => Some(&Start::EARLIEST),
                Opening::Unknown => None,
            };
            self.socket.write(&control::connected(cursor, 1, "s", "n", self.handover.resumed()));
        }
        let Some(mut cursor) = output.cursor else {
            assert!(output.gaps.is_empty() && output.events.is_empty(), "nothing can be sent without a cursor");
            return;
        };
        // What is lost below a floor only after the session was told of the floor needs no second gap.
        let Shared { store, truth, now_ms, .. } = &mut *shared;
        let below = truth.of(&self.selectors).filter(|fact| fact.id <= self.told_floors[fact.partition]);
        self.audit.waived.extend(below.filter(|fact| !retains(store, fact, *now_ms)).map(|fact| fact.number));
        for gap in output.gaps {
            let excuse = self.excuse(&gap, page, shared);
            self.audit.excuses.push_back(excuse);
            self.socket.write(&gap.frame(&cursor));
        }
        self.replay(&mut cursor, &output.events);
    }

    fn replay(&mut self, cursor: &mut Cursor, events: &[std::sync::Arc<towncrier_wire::Event>]) {
        let mut out: Vec<Bytes> = Vec::new();
        frames(cursor, events, &mut out);
        out.iter().for_each(|frame| self.socket.write(frame));
    }

    fn check_opening(&self, opening: &Opening, shared: &Shared) {
        let heads = shared.store.heads();
        for partition in shared.partitions.iter().filter(|partition| self.audit.touched[partition.index()]) {
            let index = partition.index();
            match (opening, self.start) {
                (Opening::Earliest, start) => assert_eq!(start, Start::Earliest),
                (Opening::Unknown, start) => {
                    assert!(start == Start::Unknown || self.ahead, "the cursor {start:?} was good");
                }
                (Opening::At(at), Start::After(cursor)) if self.handover.resumed() => {
                    if let Some(wanted) = cursor.get(partition) {
                        assert_eq!(at.get(partition), Some(wanted), "it starts where the client is");
                        assert!(wanted <= heads[index], "{at:?} is ahead of {heads:?}");
                    } else {
                        assert!(at.get(partition).is_some_and(|id| id >= self.came_at[index] && id <= heads[index]));
                    }
                }
                (Opening::At(at), Start::Last(_)) => {
                    assert!(at.get(partition).is_some_and(|id| id <= heads[index]), "{at:?} is ahead of {heads:?}");
                }
                (Opening::At(_), Start::Unknown) => {
                    panic!("a new cursor before it is told that the old one means nothing")
                }
                (Opening::At(at), _) => {
                    let live = at.get(partition).is_some_and(|id| id >= self.came_at[index] && id <= heads[index]);
                    assert!(live, "{at:?} is not between {:?} and {heads:?}", self.came_at);
                }
            }
        }
    }

    /// The events that a gap stands for. There must be some: a gap that tells of no loss is a lie too.
    fn excuse(&mut self, gap: &Gap, page: Option<&Page>, shared: &mut Shared) -> Excuse {
        let Shared { store, truth, now_ms, .. } = shared;
        let reason = gap.reason;
        let events = match reason {
            GapReason::UnknownCursor => {
                assert!(self.start == Start::Unknown || self.ahead, "the cursor {:?} was good", self.start);
                HashSet::new()
            }
            GapReason::BackplaneLost => {
                let floors = &page.expect("a page").floors;
                floors.iter().for_each(|(partition, floor)| self.told_floors[*partition] = *floor);
                let below = |fact: &&Fact| floors.iter().any(|(p, floor)| fact.partition == *p && fact.id <= *floor);
                let gone = truth.of(&self.selectors).filter(below).filter(|fact| !retains(store, fact, *now_ms));
                gone.map(|fact| fact.number).collect()
            }
            GapReason::Expired => {
                let lost: HashMap<_, _> = page.expect("a page").lost.iter().cloned().collect();
                assert!(!gap.topics.is_empty(), "the topics are known");
                let mut events = HashSet::new();
                for topic in &gap.topics {
                    let before = events.len();
                    let gone = truth.of(&self.selectors).filter(|fact| fact.topic == *topic && fact.id <= lost[topic]);
                    let gone = gone.filter(|fact| self.after_start(fact) && !retains(store, fact, *now_ms));
                    events.extend(gone.map(|fact| fact.number));
                    assert!(events.len() > before, "nothing of {topic} was lost to {:?}", self.start);
                }
                events
            }
            GapReason::Dropped => panic!("no hand-over drops anything"),
        };
        Excuse { reason, events }
    }

    /// Whether an event that is lost is one that the session was to get.
    fn after_start(&self, fact: &Fact) -> bool {
        let partition = self.handover.cursor().partitions().iter().nth(fact.partition).expect("a partition");
        match self.start {
            Start::After(cursor) if self.handover.resumed() => match cursor.get(partition) {
                Some(id) => fact.id > id,
                None => fact.id > self.came_at[fact.partition],
            },
            Start::Earliest => !self.audit.waived.contains(&fact.number),
            _ => fact.id > self.began_at[fact.partition],
        }
    }

    /// Sends what the outbox holds next.
    fn send(&mut self, shared: &Shared, rooms: &mut Rooms<usize>) -> bool {
        let Some(member) = self.member else { return false };
        match rooms.next(member) {
            Next::Nothing => return false,
            Next::Frames { bytes, .. } => {
                self.excuse_withheld(&bytes, shared, &rooms.heads());
                self.socket.write(&bytes);
            }
            Next::Conflated(conflated) => self.send_conflated(&conflated, shared, &rooms.heads()),
        }
        true
    }

    /// The gaps among frames, which tell of what a rate withheld.
    fn excuse_withheld(&mut self, frames: &[u8], shared: &Shared, heads: &Heads) {
        let mut blocks = Socket::default();
        blocks.write(frames);
        while let Some(block) = blocks.read() {
            if block.event.is_none() {
                continue;
            }
            let data = block.data.expect("data");
            let cursor = Cursor::parse(&block.id.expect("an id"), shared.partitions).expect("a cursor");
            let partition = |fact: &Fact| shared.partitions.iter().nth(fact.partition).expect("a partition");
            let told = |fact: &&Fact| {
                let named = !data.contains("topics") || data.contains(&format!("\"{}\"", fact.topic.as_str()));
                named && cursor.get(partition(fact)).is_some_and(|id| fact.id > id) && fact.id <= heads[fact.partition]
            };
            let events: HashSet<_> = shared.truth.of(&self.selectors).filter(told).map(|fact| fact.number).collect();
            assert!(!events.is_empty(), "nothing was withheld: {data}");
            self.audit.excuses.push_back(Excuse { reason: GapReason::Dropped, events });
        }
    }

    fn send_conflated(&mut self, conflated: &Conflated, shared: &Shared, heads: &Heads) {
        let mut cursor = conflated.cursor.expect("a cursor");
        let partition = |fact: &Fact| shared.partitions.iter().nth(fact.partition).expect("a partition");
        let skipped = |fact: &&Fact| {
            cursor.get(partition(fact)).is_some_and(|id| fact.id > id)
                && fact.id <= heads[fact.partition]
                && !conflated.events.iter().any(|event| event.id() == fact.id && *event.topic() == fact.topic)
        };
        let skipped: Vec<_> = shared.truth.of(&self.selectors).filter(skipped).collect();
        if conflated.more_dropped || !conflated.dropped.is_empty() {
            let told = |fact: &&&Fact| conflated.more_dropped || conflated.dropped.contains(&fact.topic);
            let events: HashSet<_> = skipped.iter().filter(told).map(|fact| fact.number).collect();
            for topic in &conflated.dropped {
                assert!(skipped.iter().any(|fact| fact.topic == *topic), "nothing of {topic} was dropped");
            }
            assert!(!events.is_empty(), "nothing was dropped");
            self.audit.excuses.push_back(Excuse { reason: GapReason::Dropped, events });
            let topics = if conflated.more_dropped { Vec::new() } else { conflated.dropped.clone() };
            self.socket.write(&Gap::new(GapReason::Dropped, topics).frame(&cursor));
        }
        self.replay(&mut cursor, &conflated.events);
    }
}

/// What the cache knows and what must be asked for, as the history actor finds out.
fn plan(request: &Request, shared: &mut Shared) -> Plan {
    let Shared { cache, store, now_ms, .. } = shared;
    let mut plan = cache.plan(request);
    for selector in std::mem::take(&mut plan.unknown) {
        for info in store.topics(selector.prefix(), None, usize::MAX, *now_ms) {
            if selector.matches(&info.topic) {
                cache.plan_topic(&info.topic, request, &mut plan);
            }
        }
    }
    plan
}
