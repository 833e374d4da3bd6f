//! A whole hub without IO: the real store, cache and rooms, with explicit queues between them, so that every delay is part
//! of the interleaving; and clients that judge what they get.

mod audit;
mod hub;
mod ops;
mod session;
mod sse;
mod truth;

use std::collections::HashSet;

use towncrier_core::{
    Cache, Store,
    rooms::{CohortKey, Slow},
};
use towncrier_wire::{Cursor, Start, Topic};

use hub::{Plumbing, Request};
pub(crate) use ops::{Anew, Op, Setup};
use session::{Session, Shared, State};
use truth::Truth;

#[derive(Debug)]
struct Client {
    key: CohortKey,
    /// What it has got since it last started anew.
    got: HashSet<usize>,
    cursor: Option<String>,
    session: Option<Session>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Bench {
    shared: Shared,
    topics: Vec<Topic>,
    plumbing: Plumbing,
    clients: Vec<Client>,
}

impl Bench {
    pub(crate) fn new(setup: Setup) -> Self {
        let partitions = setup.partitions;
        let now_ms = 1_000;
        let client = |key| Client { key, got: HashSet::new(), cursor: None, session: None };
        Self {
            shared: Shared {
                partitions,
                store: Store::new(setup.store, now_ms),
                cache: Cache::new(setup.cache),
                truth: Truth::new(partitions),
                now_ms,
                read_limit: setup.read_limit,
            },
            topics: setup.topics,
            plumbing: Plumbing::new(partitions, setup.workers),
            clients: setup.clients.into_iter().map(client).collect(),
        }
    }

    pub(crate) fn apply(&mut self, op: Op) {
        let (workers, clients) = (self.plumbing.workers.len(), self.clients.len());
        let worker = |number: usize| number % workers;
        let client = |number: usize| number % clients;
        match op {
            Op::Publish { topic, count } => {
                let topic = &self.topics[topic % self.topics.len()];
                (0..count).for_each(|_| self.plumbing.publish(&mut self.shared, topic));
            }
            Op::Clear { topic } => {
                let topic = &self.topics[topic % self.topics.len()];
                self.plumbing.clear(&mut self.shared, topic);
            }
            Op::Announce => self.plumbing.announce(&self.shared),
            Op::Clock { ms } => self.shared.now_ms += ms,
            Op::Bridge { signals } => (0..signals).for_each(|_| self.plumbing.signal(&mut self.shared)),
            Op::Request { worker: number, count } => {
                (0..count).for_each(|_| self.plumbing.request(worker(number), &mut self.shared));
            }
            Op::Deliver { worker: number, count } => self.deliver(worker(number), count),
            Op::Flow { worker: number } => self.flow(worker(number)),
            Op::Tick { worker: number, ms } => self.plumbing.workers[worker(number)].tick(ms),
            Op::Seal { worker: number } => self.seal(worker(number)),
            Op::Behind { worker: number } => self.plumbing.fall_behind(worker(number)),
            Op::LeaveIdle { worker: number } => {
                let worker = &mut self.plumbing.workers[worker(number)];
                let idle = worker.rooms.leave_idle(self.shared.now_ms);
                worker.requests.push_back(Request::Leave(idle));
            }
            Op::Connect { client: number, worker: to, start } => {
                let (number, to) = (client(number), worker(to));
                let start = self.start(start);
                let client = &mut self.clients[number];
                client.got.clear();
                client.cursor = None;
                self.connect(number, to, start);
            }
            Op::Resume { client: number, worker: to } => {
                let (number, to) = (client(number), worker(to));
                self.resume(number, to);
            }
            Op::Disconnect { client: number } => self.disconnect(client(number)),
            Op::Step { client: number, count } => {
                let number = client(number);
                (0..count).for_each(|_| _ = self.step(number));
            }
            Op::Heartbeat { client: number } => {
                if let Some(session) = &mut self.clients[client(number)].session {
                    session.heartbeat(&self.plumbing.workers[session.worker].rooms);
                }
            }
            Op::Read { client: number, count } => {
                let number = client(number);
                (0..count).for_each(|_| _ = self.read(number));
            }
        }
    }

    /// Lets everything that is under way come to an end, and checks that nobody lacks anything and nothing is left over.
    pub(crate) fn finish(mut self) {
        self.settle();
        for client in 0..self.clients.len() {
            if self.clients[client].session.as_ref().is_none_or(|session| matches!(session.state, State::Closed)) {
                self.resume(client, client % self.plumbing.workers.len());
            }
        }
        self.settle();
        for number in 0..self.clients.len() {
            let Client { session, got, .. } = &self.clients[number];
            let session = session.as_ref().expect("a session");
            assert!(matches!(session.state, State::Live), "it is stuck at {:?}", session.state);
            session.audit.finish(&self.shared.truth, got);
        }

        let held: usize = self
            .plumbing
            .workers
            .iter_mut()
            .map(|worker| worker.rooms.fill(u64::MAX))
            .map(|fill| fill.bytes + fill.behind)
            .sum();
        assert_eq!(held, 0, "all have caught up, so no outbox holds anything");
        (0..self.clients.len()).for_each(|client| self.disconnect(client));
        for number in 0..self.plumbing.workers.len() {
            let idle = self.plumbing.workers[number].rooms.leave_idle(u64::MAX);
            self.plumbing.workers[number].requests.push_back(Request::Leave(idle));
        }
        self.settle();
        let left: Vec<_> = self.plumbing.workers.iter().map(|worker| worker.rooms.totals()).collect();
        assert!(
            left.iter().all(|totals| *totals == (0, 0)),
            "nobody listens, but {left:?} (selectors, cohorts) are left"
        );
        assert_eq!(self.shared.cache.totals(), (0, 0), "nothing is followed, so nothing is cached");
    }

    /// Runs until nothing moves any more.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            let mut moved = !self.plumbing.signals.is_empty();
            for worker in 0..self.plumbing.workers.len() {
                moved |= !self.plumbing.workers[worker].requests.is_empty()
                    || !self.plumbing.workers[worker].deliveries.is_empty();
                // Long enough that no rate holds anything back.
                self.plumbing.workers[worker].tick(1_000_000);
                self.flow(worker);
            }
            for client in 0..self.clients.len() {
                while self.step(client) {
                    moved = true;
                    while self.read(client) {}
                }
                while self.read(client) {
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// Everything that is under way between the backplane and a worker arrives.
    fn flow(&mut self, worker: usize) {
        for _ in 0..self.plumbing.workers[worker].requests.len() {
            self.plumbing.request(worker, &mut self.shared);
        }
        (0..self.plumbing.signals.len()).for_each(|_| self.plumbing.signal(&mut self.shared));
        self.deliver(worker, usize::MAX);
        self.seal(worker);
    }

    /// A worker takes some deliveries.
    fn deliver(&mut self, number: usize, count: usize) {
        let worker = &mut self.plumbing.workers[number];
        for _ in 0..count.min(worker.deliveries.len()) {
            let Some(taken) = worker.deliver() else { break };
            let sessions = self.clients.iter_mut().filter_map(|client| client.session.as_mut());
            for session in sessions.filter(|session| session.worker == number) {
                let waits = matches!(session.state, State::Joining);
                if waits && (taken.ready.contains(&session.cohort) || taken.answered.contains(&session.client)) {
                    session.state = State::Begin(worker.rooms.heads());
                }
                if taken.resync {
                    session.member.take().map(|member| worker.rooms.detach(member)).is_some().then(|| session.close());
                }
            }
            if taken.resync {
                worker.rooms.advance(&taken.heads);
            }
        }
    }

    /// A worker makes what it has taken readable, and looks after those that do not read.
    fn seal(&mut self, number: usize) {
        let rooms = &mut self.plumbing.workers[number].rooms;
        for cohort in rooms.seal() {
            for lagging in rooms.lagging(cohort) {
                if lagging.slow == Slow::Disconnect {
                    let client = rooms.detach(lagging.member).expect("a member");
                    self.clients[client].session.as_mut().expect("a session").lagged();
                }
            }
        }
    }

    fn start(&self, anew: Anew) -> Start {
        let partitions = self.shared.partitions;
        match anew {
            Anew::Live => Start::Live,
            Anew::Earliest => Start::Earliest,
            Anew::Last(count) => Start::Last(count),
            Anew::Unknown => Start::Unknown,
            Anew::AfterEvent(back) => {
                let fact = self.shared.truth.facts().iter().rev().nth(back);
                fact.map_or(Start::Live, |fact| Start::After(Cursor::everywhere(partitions, fact.id)))
            }
            Anew::AfterEventAlone(back) => {
                let fact = self.shared.truth.facts().iter().rev().nth(back);
                fact.map_or(Start::Live, |fact| {
                    let mut cursor = Cursor::empty(partitions);
                    cursor.set(partitions.of(&fact.topic), fact.id);
                    Start::After(cursor)
                })
            }
            Anew::Ahead => {
                let newest = self.shared.store.heads().into_iter().max().unwrap_or_default();
                Start::After(Cursor::everywhere(partitions, newest.next(self.shared.now_ms + 1_000)))
            }
        }
    }

    /// A client comes back with the last cursor that it read, as browsers do.
    fn resume(&mut self, number: usize, worker: usize) {
        let partitions = self.shared.partitions;
        let start = self.clients[number].cursor.as_deref().map(|cursor| Start::from_cursor(cursor, partitions));
        if !matches!(start, Some(Start::After(_))) {
            self.clients[number].got.clear();
        }
        self.connect(number, worker, start.unwrap_or(Start::Live));
    }

    fn connect(&mut self, number: usize, to: usize, start: Start) {
        self.disconnect(number);
        let Client { key, session, .. } = &mut self.clients[number];
        let worker = &mut self.plumbing.workers[to];
        let (cohort, to_join) = worker.rooms.subscribe(key.clone());
        let mut new =
            Session::new(&self.shared, number, (to, cohort), key.selectors.clone(), start, worker.rooms.heads());
        if worker.rooms.is_ready(cohort) {
            new.state = State::Begin(worker.rooms.heads());
        }
        worker.requests.push_back(Request::Join(to_join));
        *session = Some(new);
    }

    /// The connection breaks: whatever the client has not read is gone.
    fn disconnect(&mut self, number: usize) {
        let Some(session) = self.clients[number].session.take() else {
            return;
        };
        let worker = &mut self.plumbing.workers[session.worker];
        worker.again.retain(|(client, _)| *client != number);
        if let Some(member) = session.member {
            worker.rooms.detach(member);
        }
        worker.rooms.unsubscribe(session.cohort, self.shared.now_ms);
    }

    fn step(&mut self, number: usize) -> bool {
        let Self { shared, plumbing, clients, .. } = self;
        let Some(session) = &mut clients[number].session else {
            return false;
        };
        let worker = &mut plumbing.workers[session.worker];
        let moved = session.step(shared, &mut worker.rooms);
        if moved && matches!(session.state, State::Joining) {
            let again = worker.rooms.join_again(session.cohort).expect("the cohort is there");
            worker.requests.push_back(Request::Join(vec![again.selector().clone()]));
            worker.again.push((number, again));
        }
        moved
    }

    fn read(&mut self, number: usize) -> bool {
        let Client { session, got, cursor, .. } = &mut self.clients[number];
        let Some(session) = session else { return false };
        let Some(block) = session.socket.read() else {
            return false;
        };
        session.audit.read(&block, &self.shared.truth, got);
        if block.id.is_some() {
            *cursor = block.id;
        }
        true
    }
}
