//! A whole hub without IO: the real store, cache and rooms, with explicit queues between them, so that every delay is part
//! of the interleaving; and clients that judge what they get.

mod audit;
mod session;
mod sse;
mod truth;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use towncrier_core::{
    Cache, Rooms, SelectorIndex, Store, cache,
    rooms::{CohortKey, Slow},
    store,
};
use towncrier_wire::{Cursor, Event, Heads, Partitions, Selector, Start, Topic};

use session::{Session, Shared, State};
use truth::Truth;

/// What a case starts with.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) partitions: Partitions,
    pub(crate) workers: usize,
    pub(crate) store: store::Options,
    pub(crate) cache: cache::Options,
    pub(crate) read_limit: usize,
    pub(crate) topics: Vec<Topic>,
    pub(crate) clients: Vec<CohortKey>,
}

/// Where a client that forgets its past starts anew.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Anew {
    Live,
    Earliest,
    Last(u32),
    Unknown,
    /// After an event that was published, so many before the newest, by its plain id.
    AfterEvent(usize),
    /// After an id that nobody has given yet.
    Ahead,
}

/// Something that happens. Numbers are taken modulo what there is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    Publish { topic: usize, count: usize },
    Clear { topic: usize },
    Clock { ms: u64 },
    /// The bridge takes so many of the backplane's signals.
    Bridge { signals: usize },
    /// The bridge takes a worker's next request.
    Request { worker: usize },
    /// A worker takes so many of its deliveries.
    Deliver { worker: usize, count: usize },
    LeaveIdle { worker: usize },
    Connect { client: usize, worker: usize, start: Anew },
    Resume { client: usize, worker: usize },
    Disconnect { client: usize },
    /// A session does so many steps.
    Step { client: usize, count: usize },
    Heartbeat { client: usize },
    /// A client reads so many blocks.
    Read { client: usize, count: usize },
}

/// From the backplane to the bridge, in one order.
#[derive(Debug)]
enum Signal {
    Event(Arc<Event>),
    Joined { worker: usize, selectors: Vec<Selector>, heads: Heads },
}

/// From a worker to the bridge.
#[derive(Debug)]
enum Request {
    Join(Vec<Selector>),
    Leave(Vec<Selector>),
}

/// From the bridge to a worker, in one order.
#[derive(Debug)]
enum Delivery {
    Event(Arc<Event>),
    Joined(Vec<Selector>, Heads),
}

#[derive(Debug)]
struct Worker {
    /// A member's payload is its client's number.
    rooms: Rooms<usize>,
    requests: VecDeque<Request>,
    deliveries: VecDeque<Delivery>,
    /// Clients that joined again, and the selectors that are not answered yet.
    again: Vec<(usize, Vec<Selector>)>,
}

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
    workers: Vec<Worker>,
    clients: Vec<Client>,
    signals: VecDeque<Signal>,
    /// What the backplane signals, and for which workers.
    followed: HashMap<Selector, BTreeSet<usize>>,
    index: SelectorIndex<usize>,
}

impl Bench {
    pub(crate) fn new(setup: Setup) -> Self {
        let partitions = setup.partitions;
        let now_ms = 1_000;
        let worker = |_| Worker {
            rooms: Rooms::new(partitions),
            requests: VecDeque::new(),
            deliveries: VecDeque::new(),
            again: Vec::new(),
        };
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
            workers: (0..setup.workers).map(worker).collect(),
            clients: setup.clients.into_iter().map(client).collect(),
            signals: VecDeque::new(),
            followed: HashMap::new(),
            index: SelectorIndex::default(),
        }
    }

    pub(crate) fn apply(&mut self, op: Op) {
        let (workers, clients) = (self.workers.len(), self.clients.len());
        let worker = |number: usize| number % workers;
        let client = |number: usize| number % clients;
        match op {
            Op::Publish { topic, count } => (0..count).for_each(|_| self.publish(topic)),
            Op::Clear { topic } => {
                let topic = self.topics[topic % self.topics.len()].clone();
                self.shared.store.clear(&topic);
                self.shared.cache.clear(&topic);
            }
            Op::Clock { ms } => self.shared.now_ms += ms,
            Op::Bridge { signals } => (0..signals).for_each(|_| self.signal()),
            Op::Request { worker: number } => self.request(worker(number)),
            Op::Deliver { worker: number, count } => self.deliver(worker(number), count),
            Op::LeaveIdle { worker: number } => {
                let worker = &mut self.workers[worker(number)];
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
                    session.heartbeat(&self.workers[session.worker].rooms);
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
                self.resume(client, client % self.workers.len());
            }
        }
        self.settle();
        for number in 0..self.clients.len() {
            let Client { session, got, .. } = &self.clients[number];
            let session = session.as_ref().expect("a session");
            assert!(matches!(session.state, State::Live), "it is stuck at {:?}", session.state);
            session.audit.finish(&self.shared.truth, got);
        }

        let held: usize = self.workers.iter().map(|worker| worker.rooms.bytes()).sum();
        assert_eq!(held, 0, "all have caught up, so no outbox holds anything");
        (0..self.clients.len()).for_each(|client| self.disconnect(client));
        for number in 0..self.workers.len() {
            let idle = self.workers[number].rooms.leave_idle(u64::MAX);
            self.workers[number].requests.push_back(Request::Leave(idle));
        }
        self.settle();
        let left: Vec<_> = self.workers.iter().map(|worker| worker.rooms.totals()).collect();
        assert!(left.iter().all(|totals| *totals == (0, 0)), "nobody listens, but {left:?} (selectors, cohorts) are left");
        assert_eq!(self.shared.cache.totals(), (0, 0), "nothing is followed, so nothing is cached");
    }

    /// Runs until nothing moves any more.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            let mut moved = !self.signals.is_empty();
            (0..self.signals.len()).for_each(|_| self.signal());
            for worker in 0..self.workers.len() {
                moved |= !self.workers[worker].requests.is_empty() || !self.workers[worker].deliveries.is_empty();
                (0..self.workers[worker].requests.len()).for_each(|_| self.request(worker));
                self.deliver(worker, usize::MAX);
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

    fn publish(&mut self, topic: usize) {
        let topic = self.topics[topic % self.topics.len()].clone();
        let Shared { store, truth, now_ms, .. } = &mut self.shared;
        let stored = store.publish(truth.draft(&topic), *now_ms);
        truth.record(&topic, stored.id);
        self.signals.extend(stored.event.filter(|_| self.index.any(&topic)).map(Signal::Event));
    }

    /// The bridge takes the next signal: history gets it before any worker.
    fn signal(&mut self) {
        match self.signals.pop_front() {
            None => {}
            Some(Signal::Event(event)) => {
                self.shared.cache.feed(&event);
                let mut workers = BTreeSet::new();
                self.index.matches(event.topic(), |worker| _ = workers.insert(worker));
                for worker in workers {
                    self.workers[worker].deliveries.push_back(Delivery::Event(event.clone()));
                }
            }
            Some(Signal::Joined { worker, selectors, heads }) => {
                for selector in selectors.iter().filter(|selector| self.followed.contains_key(selector)) {
                    self.shared.cache.follow(selector.clone(), heads);
                }
                self.workers[worker].deliveries.push_back(Delivery::Joined(selectors, heads));
            }
        }
    }

    fn request(&mut self, worker: usize) {
        match self.workers[worker].requests.pop_front() {
            None => {}
            Some(Request::Join(selectors)) => {
                for selector in &selectors {
                    if self.followed.entry(selector.clone()).or_default().insert(worker) {
                        self.index.insert(selector, worker);
                    }
                }
                self.signals.push_back(Signal::Joined { worker, selectors, heads: self.shared.store.heads() });
            }
            Some(Request::Leave(selectors)) => {
                for selector in &selectors {
                    self.index.remove(selector, worker);
                    let workers = self.followed.entry(selector.clone()).or_default();
                    workers.remove(&worker);
                    if workers.is_empty() {
                        self.followed.remove(selector);
                        self.shared.cache.unfollow(selector);
                    }
                }
            }
        }
    }

    /// A worker takes some deliveries and makes them readable, as in one turn of its loop.
    fn deliver(&mut self, number: usize, count: usize) {
        let Self { workers, clients, .. } = self;
        let worker = &mut workers[number];
        let count = count.min(worker.deliveries.len());
        for delivery in worker.deliveries.drain(..count) {
            match delivery {
                Delivery::Event(event) => worker.rooms.deliver(&event),
                Delivery::Joined(selectors, heads) => {
                    let ready: Vec<_> = selectors.iter().flat_map(|s| worker.rooms.joined(s, &heads)).collect();
                    let mut begin: Vec<_> = worker.again.iter_mut().filter_map(|(client, missing)| {
                        missing.retain(|selector| !selectors.contains(selector));
                        missing.is_empty().then_some(*client)
                    }).collect();
                    worker.again.retain(|(_, missing)| !missing.is_empty());
                    begin.extend(clients.iter().enumerate().filter_map(|(client, Client { session, .. })| {
                        let session = session.as_ref().filter(|s| s.worker == number && matches!(s.state, State::Joining));
                        session.filter(|s| ready.contains(&s.cohort)).map(|_| client)
                    }));
                    for client in begin {
                        let session = clients[client].session.as_mut().expect("a session");
                        session.state = State::Begin(worker.rooms.heads());
                    }
                }
            }
        }
        for cohort in worker.rooms.seal() {
            for lagging in worker.rooms.lagging(cohort) {
                if lagging.slow == Slow::Disconnect {
                    let client = worker.rooms.detach(lagging.member).expect("a member");
                    clients[client].session.as_mut().expect("a session").lagged();
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
        let worker = &mut self.workers[to];
        let (cohort, to_join) = worker.rooms.subscribe(key.clone());
        let mut new = Session::new(&self.shared, to, cohort, key.selectors.clone(), start, worker.rooms.heads());
        if worker.rooms.is_ready(cohort) {
            new.state = State::Begin(worker.rooms.heads());
        }
        worker.requests.push_back(Request::Join(to_join));
        *session = Some(new);
    }

    /// The connection breaks: whatever the client has not read is gone.
    fn disconnect(&mut self, number: usize) {
        let Some(session) = self.clients[number].session.take() else { return };
        let worker = &mut self.workers[session.worker];
        worker.again.retain(|(client, _)| *client != number);
        if let Some(member) = session.member {
            worker.rooms.detach(member);
        }
        worker.rooms.unsubscribe(session.cohort, self.shared.now_ms);
    }

    fn step(&mut self, number: usize) -> bool {
        let Self { shared, workers, clients, .. } = self;
        let Some(session) = &mut clients[number].session else { return false };
        let worker = &mut workers[session.worker];
        let moved = session.step(number, shared, &mut worker.rooms);
        if moved && matches!(session.state, State::Joining) {
            let selectors = worker.rooms.selectors(session.cohort);
            worker.again.push((number, selectors.clone()));
            worker.requests.push_back(Request::Join(selectors));
        }
        moved
    }

    fn read(&mut self, number: usize) -> bool {
        let Client { session, got, cursor, .. } = &mut self.clients[number];
        let Some(session) = session else { return false };
        let Some(block) = session.socket.read() else { return false };
        session.audit.read(&block, &self.shared.truth, got);
        if block.id.is_some() {
            *cursor = block.id;
        }
        true
    }
}
