//! A hub of one process, and readers of its streams.

use std::{
    fmt::Display,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::System;
use tokio::time::{sleep, timeout};
use towncrier_actors::{Hub, Options, Policies, SessionSpec, SessionStream, Worker};
use towncrier_backplane::{Answer, Backplane, BackplaneError, Counts, Embedded, Ends, Published};
use towncrier_core::{
    TopicRead,
    rooms::{Policy, Slow},
    store::{self, Retention, TopicInfo, Totals},
};
use towncrier_telemetry::{Metrics, spans::Tracer};
use towncrier_wire::{EventId, Heads, NewEvent, Partitions, Selector, Selectors, Start, Topic};

pub(crate) const SOON: Duration = Duration::from_secs(5);

/// Runs a test with a hub whose first worker is this thread.
pub(crate) fn with_hub(options: Options, test: impl AsyncFnOnce(Hub, Arc<Counting>)) {
    System::new().block_on(async {
        let store = store::Options {
            partitions: Partitions::ONE,
            retention: Retention { events: 100_000, age_ms: 3_600_000 },
            namespaces: Vec::new(),
            bytes_max: 1 << 30,
            topics_max: 100_000,
            idempotency_age_ms: 1000,
            idempotency_keys_max: 1000,
        };
        let now = || std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis() as u64;
        let (embedded, signals) = Embedded::new(store, 64 << 20, Arc::new(now));
        let backplane = Arc::new(Counting {
            inner: embedded,
            reads: AtomicUsize::new(0),
            floors: AtomicUsize::new(0),
            reading: Default::default(),
            healed: AtomicUsize::new(0),
        });
        let metrics = Arc::new(Metrics::new("test"));
        let hub = Hub::start(options, Ends::alone(backplane.clone(), signals), metrics);
        test(hub.clone(), backplane).await;
        hub.stop();
    });
}

pub(crate) fn options() -> Options {
    let fallback = Policy { slow: Slow::Disconnect, lag_bytes: 1 << 20, lag_events: 10_000, rate: None };
    Options {
        node: "test".into(),
        version: "0".into(),
        heartbeat: Duration::from_secs(15),
        retry: Duration::from_secs(3),
        max_lifetime: Duration::ZERO,
        ends_per_second: 1000,
        end_window: Duration::from_secs(5),
        direct_events_max: 4,
        policies: Policies { fallback, namespaces: Vec::new() },
        counted_namespaces: Vec::new(),
        worker_bytes_max: 64 << 20,
        cache_bytes_max: 64 << 20,
        cache_topic_events_max: 100_000,
        cache_namespaces: Vec::new(),
        cache_topics_max: 100_000,
        linger: Duration::from_secs(10),
        publish_bytes_max: 64 << 20,
        publish_timeout: Duration::from_secs(5),
        tracer: Tracer::default(),
    }
}

pub(crate) fn spec(selectors: &[&str], start: Start) -> SessionSpec {
    SessionSpec {
        selectors: Selectors::new(selectors.iter().copied(), 100).expect("selectors"),
        start,
        user: None,
        remote: None,
        heartbeat_events: false,
        lifetime: None,
        trace: None,
    }
}

pub(crate) fn after(cursor: &str) -> Start {
    Start::from_cursor(cursor, Partitions::ONE)
}

/// Publishes numbers from a range to a topic, as one batch.
pub(crate) async fn publish(hub: &Hub, topic: &str, numbers: std::ops::Range<u32>) {
    let event = |number: u32| NewEvent {
        topic: Topic::new(topic).expect("topic"),
        event_type: None,
        data: number.to_string().into(),
        idempotency_key: None,
        trace: None,
    };
    for published in hub.publish(numbers.map(event).collect()).await {
        published.expect("published");
    }
}

/// A client of one stream.
pub(crate) struct Reader {
    pub(crate) stream: SessionStream,
    text: String,
    pub(crate) cursor: String,
}

/// A block of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) event: String,
    pub(crate) data: String,
}

impl Reader {
    pub(crate) async fn open(worker: &Worker, spec: SessionSpec) -> Self {
        let mut reader = Self { stream: worker.subscribe(spec), text: String::new(), cursor: String::new() };
        assert_eq!(reader.next().await.expect("a first block").event, "connected");
        reader
    }

    /// The next block with data; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Block> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let mut parsed = Block::default();
                for line in block.lines() {
                    let (name, value) = line.split_once(": ").unwrap_or((line, ""));
                    match name {
                        "id" => self.cursor = value.to_owned(),
                        "event" => parsed.event = value.to_owned(),
                        "data" => parsed.data = value.to_owned(),
                        _ => {}
                    }
                }
                self.text = rest.to_owned();
                if !parsed.data.is_empty() {
                    return Some(parsed);
                }
            }
            let frames = std::future::poll_fn(|cx| self.stream.poll_frames(cx));
            let frames = timeout(SOON, frames).await.expect("the stream goes on or ends")?;
            self.text.push_str(std::str::from_utf8(&frames).expect("whole frames"));
        }
    }

    /// Takes just these numbers, in this order.
    pub(crate) async fn take(&mut self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            let block = self.next().await.expect("another event");
            assert_eq!((block.event.as_str(), block.data), ("", number.to_string()));
        }
    }
}

/// Waits until something holds.
pub(crate) async fn eventually<E: Display>(what: &str, mut look: impl FnMut() -> Result<(), E>) {
    let wait = async {
        while look().is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    if timeout(SOON, wait).await.is_err() {
        panic!("not {what}: {}", look().err().map_or_else(String::new, |seen| seen.to_string()));
    }
}

/// An embedded backplane that counts what is read of it, and takes its time over it.
#[derive(Debug)]
pub(crate) struct Counting {
    inner: Embedded,
    pub(crate) reads: AtomicUsize,
    pub(crate) floors: AtomicUsize,
    /// How many reads are under way, and were at most.
    pub(crate) reading: [AtomicUsize; 2],
    /// How many events it says were put back.
    pub(crate) healed: AtomicUsize,
}

impl Backplane for Counting {
    fn partitions(&self) -> Partitions {
        self.inner.partitions()
    }

    fn publish(&self, events: Vec<NewEvent>) -> Answer<'_, Vec<Result<Published, BackplaneError>>> {
        self.inner.publish(events)
    }

    fn join(&self, selectors: Vec<Selector>) -> Answer<'_, Result<(), BackplaneError>> {
        self.inner.join(selectors)
    }

    fn leave(&self, selectors: Vec<Selector>) -> Answer<'_, Result<(), BackplaneError>> {
        self.inner.leave(selectors)
    }

    fn announce(&self) -> Answer<'_, Result<(), BackplaneError>> {
        self.inner.announce()
    }

    fn read(&self, topic: Topic, after: EventId, limit: usize) -> Answer<'_, Result<TopicRead, BackplaneError>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let reading = 1 + self.reading[0].fetch_add(1, Ordering::SeqCst);
            self.reading[1].fetch_max(reading, Ordering::SeqCst);
            sleep(Duration::from_millis(20)).await;
            self.reading[0].fetch_sub(1, Ordering::SeqCst);
            self.inner.read(topic, after, limit).await
        })
    }

    fn floors(&self) -> Answer<'_, Result<Heads, BackplaneError>> {
        self.floors.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {
            sleep(Duration::from_millis(5)).await;
            self.inner.floors().await
        })
    }

    fn topics(
        &self,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> Answer<'_, Result<Vec<TopicInfo>, BackplaneError>> {
        self.inner.topics(prefix, after, limit)
    }

    fn topic(&self, topic: Topic) -> Answer<'_, Result<Option<TopicInfo>, BackplaneError>> {
        self.inner.topic(topic)
    }

    fn clear(&self, topic: Topic) -> Answer<'_, Result<usize, BackplaneError>> {
        self.inner.clear(topic)
    }

    fn totals(&self) -> Answer<'_, Result<Totals, BackplaneError>> {
        self.inner.totals()
    }

    fn counts(&self) -> Counts {
        Counts { healed_events: self.healed.load(Ordering::SeqCst) as u64, ..self.inner.counts() }
    }
}
