//! A subscriber: it follows its topics through a link of its own, comes back with its last cursor to any node when the
//! stream ends or falls silent, and writes down what it sees.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use towncrier_e2e::{Connection, Event, Item, Proxy, Stream, encode};

use crate::{
    ids::Cursor,
    journal::{Clock, Journal, Key, Line, Reason, Seen},
    publisher::FINAL,
    traffic,
};

/// How long connecting, and the head of the answer, may take.
const OPEN: Duration = Duration::from_secs(2);
/// A stream that brings not even a heartbeat for so long is given up. The hub's heartbeat is one second.
const SILENCE: Duration = Duration::from_secs(4);
/// How long it takes until it tries again, at most.
const PAUSE_MS: u64 = 200;
/// How often a reader that stalls looks whether it should go on.
const STALL_LOOK: Duration = Duration::from_millis(20);
/// A journal does not grow beyond this; a run is to be that short.
const LINES_MAX: usize = 4_000_000;

/// What the rest of the auditor sees and steers of a subscriber.
#[derive(Debug)]
pub struct Control {
    /// Its link; it goes to whichever node was chosen last.
    pub proxy: Proxy,
    /// While this is set it reads nothing.
    pub stalled: AtomicBool,
    /// When this is set it ends.
    pub over: AtomicBool,
    /// How many of the closing events it has got.
    pub finals: AtomicUsize,
    /// How many events it has got.
    pub events: AtomicU64,
}

impl Control {
    /// A subscriber that does not run yet.
    #[must_use]
    pub fn new(target: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            proxy: Proxy::small(target),
            stalled: AtomicBool::new(false),
            over: AtomicBool::new(false),
            finals: AtomicUsize::new(0),
            events: AtomicU64::new(0),
        })
    }
}

/// See the module.
pub struct Subscriber {
    control: Arc<Control>,
    nodes: Vec<SocketAddr>,
    random: fastrand::Rng,
    clock: Clock,
    journal: Journal,
    /// The text of the last `id:`, which it comes back with.
    cursor: Option<String>,
}

impl Subscriber {
    /// Starts it in a thread of its own, which ends with its journal.
    pub fn start(
        number: usize,
        control: Arc<Control>,
        nodes: Vec<SocketAddr>,
        random: fastrand::Rng,
        clock: Clock,
    ) -> thread::JoinHandle<Journal> {
        let selectors = traffic::selectors_of(number);
        let selectors = selectors.iter().map(|&selector| selector.to_owned()).collect();
        let journal = Journal { subscriber: number, selectors, lines: Vec::new() };
        let subscriber = Self { control, nodes, random, clock, journal, cursor: None };
        thread::spawn(move || subscriber.run())
    }

    fn run(mut self) -> Journal {
        while !self.control.over.load(Ordering::SeqCst) && self.journal.lines.len() < LINES_MAX {
            let node = self.random.usize(..self.nodes.len());
            self.control.proxy.retarget(self.nodes[node]);
            let end = match self.open() {
                Ok(stream) => self.follow(stream, node),
                Err(error) => format!("not opened at node {node}: {error}"),
            };
            self.write(Seen::Ended(end));
            thread::sleep(Duration::from_millis(self.random.u64(10..PAUSE_MS)));
        }
        self.journal
    }

    fn open(&mut self) -> io::Result<Stream> {
        let mut connection = Connection::try_open_small(self.control.proxy.addr(), OPEN)?;
        let topics: Vec<_> = self.journal.selectors.iter().map(|one| format!("topic={}", encode(one))).collect();
        let position = self.cursor.as_ref().map(|cursor| format!("Last-Event-ID: {cursor}\r\n")).unwrap_or_default();
        let (query, host) = (topics.join("&"), self.control.proxy.addr());
        connection.send(format!(
            "GET /events?{query} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n{position}\r\n"
        ))?;
        let head = connection.head(OPEN)?;
        if head.status != 200 {
            return Err(io::Error::other(format!("status {}", head.status)));
        }
        Ok(Stream::new(connection))
    }

    /// Reads until the stream is over; says how it ended.
    fn follow(&mut self, mut stream: Stream, node: usize) -> String {
        let asked = self.cursor.clone();
        loop {
            while self.control.stalled.load(Ordering::SeqCst) && !self.control.over.load(Ordering::SeqCst) {
                thread::sleep(STALL_LOOK);
            }
            if self.control.over.load(Ordering::SeqCst) {
                return "the run is over".to_owned();
            }
            let event = match stream.try_next(Instant::now() + SILENCE) {
                Ok(Some(Item::Event { event, .. })) => event,
                Ok(Some(Item::Retry(_))) => continue,
                Ok(Some(Item::Heartbeat(id))) => {
                    let seen = self.took(id).map_or_else(|| nonsense("a heartbeat without a cursor"), Seen::Checkpoint);
                    self.write(seen);
                    continue;
                }
                Ok(Some(Item::End(end))) => return format!("{end:?}"),
                Ok(None) => return "silent".to_owned(),
                Err(error) => {
                    if error.kind() == io::ErrorKind::InvalidData {
                        self.write(nonsense(&error.to_string()));
                    }
                    return error.to_string();
                }
            };
            let seen = self.read(event, node, asked.as_deref());
            self.write(seen);
        }
    }

    fn read(&mut self, event: Event, node: usize, asked: Option<&str>) -> Seen {
        let cursor = self.took(event.id.clone());
        match (event.kind.as_deref(), cursor) {
            (Some("connected"), Some(cursor)) => {
                let resumed = event.json()["resumed"] == true;
                Seen::Connected { node, asked: asked.and_then(Cursor::parse), cursor, resumed }
            }
            (Some("gap"), cursor) => {
                let data = event.json();
                let reason = data["reason"].as_str().and_then(Reason::parse);
                let names = data["topics"].as_array().into_iter().flatten();
                let topics: Option<Vec<_>> = names.map(|name| traffic::topic(name.as_str()?)).collect();
                match (reason, topics) {
                    (Some(reason), Some(topics)) => Seen::Gap { reason, topics, cursor },
                    _ => nonsense(&format!("{event:?}")),
                }
            }
            (Some("close"), _) => Seen::Close(event.data),
            (None, Some(cursor)) => match Key::parse(&event.data) {
                Some(key) => {
                    self.control.events.fetch_add(1, Ordering::Relaxed);
                    self.control.finals.fetch_add(usize::from(key.publisher == FINAL), Ordering::SeqCst);
                    Seen::Event { key, cursor }
                }
                None => nonsense(&format!("{event:?}")),
            },
            _ => nonsense(&format!("{event:?}")),
        }
    }

    /// Remembers an `id:`, as an `EventSource` does, and reads it.
    fn took(&mut self, id: Option<String>) -> Option<Cursor> {
        let id = id?;
        let cursor = Cursor::parse(&id);
        self.cursor = Some(id);
        cursor
    }

    fn write(&mut self, seen: Seen) {
        self.journal.lines.push(Line { at: self.clock.now(), seen });
    }
}

fn nonsense(what: &str) -> Seen {
    Seen::Nonsense(what.to_owned())
}
