//! A subscriber: it opens a stream, remembers its cursor, and waits for what a test expects.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    Connection, End, Event, Head, SOON, encode,
    sse::{Item, Stream},
};

const REMEMBERED: usize = 12;

/// A subscription about to be opened.
#[derive(Clone, Debug)]
#[must_use]
pub struct Subscribe {
    addr: SocketAddr,
    path: String,
    query: Vec<String>,
    headers: Vec<String>,
    small_buffer: bool,
}

impl Subscribe {
    /// Subscribes at a hub or a proxy.
    pub fn to(addr: SocketAddr) -> Self {
        let headers = vec!["Accept: text/event-stream".to_owned()];
        Self { addr, path: "/events".to_owned(), query: Vec::new(), headers, small_buffer: false }
    }

    /// Another path than `/events`.
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// One more selector.
    pub fn topic(self, selector: &str) -> Self {
        self.query("topic", selector)
    }

    /// One more query parameter.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push(format!("{name}={}", encode(value)));
        self
    }

    /// One more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(format!("{name}: {value}"));
        self
    }

    /// Another `Accept` than an `EventSource` sends.
    pub fn accept(mut self, types: &str) -> Self {
        self.headers[0] = format!("Accept: {types}");
        self
    }

    /// Comes back with a cursor, as an `EventSource` does.
    pub fn last_event_id(self, cursor: &str) -> Self {
        self.header("Last-Event-ID", cursor)
    }

    /// With a small receive buffer, so that a reader that stalls is felt early.
    pub fn small_buffer(mut self) -> Self {
        self.small_buffer = true;
        self
    }

    /// Sends the request and reads the head of the answer, whatever it is.
    #[track_caller]
    #[must_use]
    pub fn answer(self) -> (Head, Connection) {
        let mut connection =
            if self.small_buffer { Connection::open_small(self.addr) } else { Connection::open(self.addr) };
        let target = if self.query.is_empty() { self.path } else { format!("{}?{}", self.path, self.query.join("&")) };
        let headers = self.headers.join("\r\n");
        let request = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n\r\n", self.addr);
        connection.send(request).expect("send the request");
        let head = connection.head(SOON).unwrap_or_else(|error| panic!("GET {target}: {error}"));
        (head, connection)
    }

    /// Opens the stream and waits for its first block.
    ///
    /// # Panics
    /// When the answer is no event stream that begins with `connected`.
    #[track_caller]
    #[must_use]
    pub fn open(self) -> Subscriber {
        self.try_open().unwrap_or_else(|answer| panic!("not let in: {answer}"))
    }

    /// Opens the stream, unless the hub has something else to say.
    ///
    /// # Errors
    /// What came in place of a stream that begins with `connected`.
    #[track_caller]
    pub fn try_open(self) -> Result<Subscriber, String> {
        let (head, connection) = self.answer();
        if head.status != 200 {
            return Err(format!("{head:?}"));
        }
        let mut stream = Stream::new(connection);
        let first = stream.next(Instant::now() + SOON);
        let Some(Item::Event { event, retry: Some(retry) }) = first else {
            return Err(format!("no first block but {first:?}"));
        };
        assert!(event.is("connected"), "{event:?}");
        let greeting = event.json();
        Ok(Subscriber {
            head,
            retry,
            session: greeting["session"].as_str().expect("session").to_owned(),
            node: greeting["node"].as_str().expect("node").to_owned(),
            resumed: greeting["resumed"].as_bool().expect("resumed"),
            cursor: event.id.clone().unwrap_or_default(),
            stream,
            seen: VecDeque::new(),
        })
    }
}

/// An open stream.
#[derive(Debug)]
pub struct Subscriber {
    /// The head of the answer.
    pub head: Head,
    /// The last `retry:` seen.
    pub retry: Duration,
    /// The session's id.
    pub session: String,
    /// The node that serves it.
    pub node: String,
    /// Whether a cursor was taken up.
    pub resumed: bool,
    /// The last `id:` seen: what to come back with.
    pub cursor: String,
    stream: Stream,
    seen: VecDeque<Item>,
}

impl Subscriber {
    /// The next event; heartbeats are passed over.
    #[track_caller]
    pub fn event(&mut self) -> Event {
        match self.event_or_end("an event") {
            Ok(event) => event,
            Err(end) => panic!("the stream ended ({end:?}), {}", self.story()),
        }
    }

    /// The next `count` events.
    #[track_caller]
    pub fn take(&mut self, count: usize) -> Vec<Event> {
        (0..count).map(|_| self.event()).collect()
    }

    /// The data of the next `count` events.
    #[track_caller]
    pub fn data(&mut self, count: usize) -> Vec<String> {
        self.take(count).into_iter().map(|event| event.data).collect()
    }

    /// Events up to the end of the stream, and how it ended.
    #[track_caller]
    pub fn rest(&mut self) -> (Vec<Event>, End) {
        let (events, end) = self.rest_of(usize::MAX);
        (events, end.expect("there is no other way out"))
    }

    /// Up to `most` events, and how the stream ended if it did so before.
    #[track_caller]
    pub fn rest_of(&mut self, most: usize) -> (Vec<Event>, Option<End>) {
        let mut events = Vec::new();
        while events.len() < most {
            match self.event_or_end("another event or the end") {
                Ok(event) => events.push(event),
                Err(end) => return (events, Some(end)),
            }
        }
        (events, None)
    }

    /// The next event, which must be a `gap` with this reason; gives its data.
    #[track_caller]
    pub fn gap(&mut self, reason: &str) -> Value {
        let event = self.event();
        assert!(event.is("gap"), "{event:?}");
        assert_eq!(event.json()["reason"], reason, "{event:?}");
        event.json()
    }

    /// The next event, which must be a `close` with this reason, and the clean end behind it.
    #[track_caller]
    pub fn closed(&mut self, reason: &str) -> Event {
        let event = self.event();
        assert!(event.is("close"), "{event:?}");
        assert_eq!(event.json()["reason"], reason, "{event:?}");
        let (rest, end) = self.rest();
        assert_eq!((rest, end), (vec![], End::Clean));
        event
    }

    /// The checkpoint that the next heartbeat brings; nothing else may come before it.
    #[track_caller]
    pub fn heartbeat(&mut self) -> String {
        match self.item("a heartbeat", Instant::now() + SOON) {
            Item::Heartbeat(Some(id)) => id,
            other => panic!("not a heartbeat with an id: {other:?}"),
        }
    }

    /// Stops reading; what is left is the bare connection.
    #[must_use]
    pub fn into_connection(self) -> Connection {
        self.stream.into_connection()
    }

    /// The connection below the stream.
    pub fn connection(&mut self) -> &mut Connection {
        self.stream.connection()
    }

    #[track_caller]
    fn event_or_end(&mut self, awaited: &str) -> Result<Event, End> {
        let deadline = Instant::now() + SOON;
        loop {
            match self.item(awaited, deadline) {
                Item::Event { event, .. } => return Ok(event),
                Item::End(end) => return Err(end),
                Item::Heartbeat(_) | Item::Retry(_) => {}
            }
        }
    }

    #[track_caller]
    fn item(&mut self, awaited: &str, deadline: Instant) -> Item {
        let Some(item) = self.stream.next(deadline) else {
            panic!("waited in vain for {awaited}, {}", self.story());
        };
        if let Item::Event { event: Event { id: Some(id), .. }, .. } | Item::Heartbeat(Some(id)) = &item {
            id.clone_into(&mut self.cursor);
        }
        if let Item::Event { retry: Some(retry), .. } = &item {
            self.retry = *retry;
        }
        self.seen.push_back(item.clone());
        if self.seen.len() > REMEMBERED {
            self.seen.pop_front();
        }
        item
    }

    fn story(&self) -> String {
        format!("last seen by {}: {:#?}", self.session, self.seen)
    }
}
