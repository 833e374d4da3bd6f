//! Publishers: each event is sent again, with its idempotency key, until it is acknowledged. A few have no key and are sent
//! once.

use std::{
    io,
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use towncrier_e2e::{Connection, Proxy};

use crate::{
    ids::Id,
    journal::{Clock, Key, Publish},
    traffic::{TOPICS, is_conflated},
};

/// The publisher of the closing events, one for each topic.
pub const FINAL: u16 = u16::MAX;

/// How long connecting, and the answer, may take.
const OPEN: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(3);
/// The waits between two attempts.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MOST: Duration = Duration::from_millis(500);
/// Of so many publishes one has no key, and one is a batch.
const UNKEYED_ONE_IN: u32 = 12;
const BATCH_ONE_IN: u32 = 6;
const BATCH_MAX: usize = 5;
/// Which topics, by their places: those with a policy of their own more often, so that it takes effect.
const WEIGHTS: [usize; 20] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 9, 10, 10, 10, 10, 11, 11, 11, 11];
/// Bytes of padding behind the key in the data. What may be conflated is larger, so that a reader that stalls lags soon.
const PADDING: Range<usize> = 20..2000;
const PADDING_CONFLATED: Range<usize> = 3000..8000;

/// What the rest of the auditor sees and steers of a publisher.
#[derive(Debug)]
pub struct Control {
    /// Its link; it goes to whichever node was chosen last.
    pub proxy: Proxy,
    /// When this is set it ends with the event that it is at.
    pub over: AtomicBool,
    /// When this is set it gives up even that.
    pub hopeless: AtomicBool,
    /// How many events were acknowledged.
    pub acked: AtomicU64,
}

impl Control {
    /// A publisher that does not run yet.
    #[must_use]
    pub fn new(target: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            proxy: Proxy::to(target),
            over: AtomicBool::new(false),
            hopeless: AtomicBool::new(false),
            acked: AtomicU64::new(0),
        })
    }
}

/// What a publisher leaves behind.
#[derive(Debug, Default)]
pub struct Published {
    /// Everything that it sent.
    pub publishes: Vec<Publish>,
    /// Answers that the protocol does not allow.
    pub nonsense: Vec<String>,
}

/// See the module.
pub struct Publisher {
    number: u16,
    control: Arc<Control>,
    nodes: Vec<SocketAddr>,
    random: fastrand::Rng,
    clock: Clock,
    next: u32,
    done: Published,
}

impl Publisher {
    /// A publisher with a number of its own.
    #[must_use]
    pub fn new(
        number: u16,
        control: Arc<Control>,
        nodes: Vec<SocketAddr>,
        random: fastrand::Rng,
        clock: Clock,
    ) -> Self {
        Self { number, control, nodes, random, clock, next: 0, done: Published::default() }
    }

    /// Publishes about so many events a second until it is told to end, in a thread of its own.
    pub fn start(mut self, per_second: f64) -> thread::JoinHandle<Published> {
        thread::spawn(move || {
            while !self.control.over.load(Ordering::SeqCst) {
                let batch = self.random.u32(..BATCH_ONE_IN) == 0;
                let count = if batch { self.random.usize(1..=BATCH_MAX) } else { 1 };
                let keyed = batch || self.random.u32(..UNKEYED_ONE_IN) != 0;
                let topics = (0..count).map(|_| self.random.choice(&WEIGHTS).copied().unwrap_or(0)).collect();
                self.publish(topics, keyed, batch);
                let pause = self.random.f64() * 2.0 * f64::from(u32::try_from(count).expect("few")) / per_second;
                thread::sleep(Duration::from_secs_f64(pause));
            }
            self.done
        })
    }

    /// Publishes one closing event to each topic.
    #[must_use]
    pub fn close(mut self) -> Published {
        for topic in 0..TOPICS.len() {
            self.publish(vec![topic], true, false);
        }
        self.done
    }

    fn publish(&mut self, topics: Vec<usize>, keyed: bool, batch: bool) {
        let first = self.done.publishes.len();
        let mut items = Vec::new();
        for topic in topics {
            let key = Key { publisher: self.number, number: self.next, topic: u16::try_from(topic).expect("few") };
            self.next += 1;
            let padding = if is_conflated(&[TOPICS[topic]]) { PADDING_CONFLATED } else { PADDING };
            let data = format!("{key} {}", "x".repeat(self.random.usize(padding)));
            let mut item = json!({"topic": TOPICS[topic], "data": data});
            if keyed {
                item["idempotency_key"] = format!("{}-{}", key.publisher, key.number).into();
            }
            self.done.publishes.push(Publish { key, sent: self.clock.now(), acked: None, attempts: 0, keyed });
            items.push(item);
        }
        let mut wait = RETRY_FIRST;
        loop {
            let open: Vec<usize> =
                (0..items.len()).filter(|index| self.done.publishes[first + index].acked.is_none()).collect();
            if open.is_empty() || self.control.hopeless.load(Ordering::SeqCst) {
                return;
            }
            open.iter().for_each(|index| self.done.publishes[first + index].attempts += 1);
            let body = match batch {
                true => Value::from(open.iter().map(|&index| items[index].clone()).collect::<Vec<_>>()),
                false => items[0].clone(),
            };
            match self.send(&body, batch) {
                Ok(answers) if answers.len() == open.len() => {
                    for (index, answer) in open.into_iter().zip(answers) {
                        self.take(first + index, &answer);
                    }
                }
                Ok(answers) => {
                    self.done.nonsense.push(format!("{} answers to {}: {answers:?}", answers.len(), open.len()));
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => self.done.nonsense.push(error.to_string()),
                Err(_) => {}
            }
            if !keyed {
                return;
            }
            thread::sleep(wait.mul_f64(0.5 + self.random.f64()));
            wait = (wait * 2).min(RETRY_MOST);
            if self.done.publishes[first..].iter().all(|publish| publish.acked.is_some()) {
                return;
            }
        }
    }

    /// Takes in what was said about one event.
    fn take(&mut self, index: usize, answer: &Value) {
        let publish = &mut self.done.publishes[index];
        if let Some(id) = answer["id"].as_str().and_then(Id::parse) {
            publish.acked = Some((self.clock.now(), id));
            self.control.acked.fetch_add(1, Ordering::Relaxed);
        } else if answer["error"]["status"] != 503 {
            self.done.nonsense.push(format!("{}: {answer}", publish.key));
        }
    }

    /// One attempt, at any node; an answer for each event.
    fn send(&mut self, body: &Value, batch: bool) -> io::Result<Vec<Value>> {
        let node = self.nodes[self.random.usize(..self.nodes.len())];
        self.control.proxy.retarget(node);
        let addr = self.control.proxy.addr();
        let (path, body) = (if batch { "/admin/v1/publish/batch" } else { "/admin/v1/publish" }, body.to_string());
        let mut connection = Connection::try_open(addr, OPEN)?;
        connection.send(format!(
            "POST {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))?;
        let answer = connection.response(ANSWER)?;
        match answer.status() {
            200 if batch => Ok(answer.json().as_array().cloned().unwrap_or_default()),
            200 => Ok(vec![answer.json()]),
            // A hub that is stopping, or whose backplane is away; or one that stood still while the request came.
            status @ (503 | 408) => Err(io::Error::other(status.to_string())),
            status => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{status}: {}", answer.text()))),
        }
    }
}
