//! The queue of spans, and the thread that empties it.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{Options, Record, SpansError, collector::Collector, otlp};
use crate::Count;

/// Most spans of a request.
const BATCH: usize = 512;

/// How long a span waits for others, at most.
const GATHER: Duration = Duration::from_secs(1);

/// How often a request is tried, and the wait after the first failure; it doubles.
const TRIES: u32 = 4;
const RETRY_FIRST: Duration = Duration::from_millis(250);

pub(super) struct Exporter(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    max: usize,
    timeout: Duration,
    exported: Count,
    dropped: Count,
}

#[derive(Default)]
struct Queue {
    records: VecDeque<Record>,
    /// Until when the thread may go on, once it is to end.
    until: Option<Instant>,
    ended: bool,
}

impl Exporter {
    pub(super) fn start(options: &Options, exported: Count, dropped: Count) -> Result<Self, SpansError> {
        let collector = Collector::new(options)?;
        let resource = otlp::Resource::new(options);
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
            max: options.queue.max(1),
            timeout: options.timeout,
            exported,
            dropped,
        });
        let own = shared.clone();
        thread::Builder::new().name("spans".into()).spawn(move || own.run(&collector, &resource))?;
        Ok(Self(shared))
    }

    /// Takes a span, if there is room.
    pub(super) fn push(&self, record: Record) {
        let mut queue = self.0.queue();
        if queue.until.is_some() || queue.records.len() >= self.0.max {
            self.0.dropped.inc();
            return;
        }
        queue.records.push_back(record);
        // Until there are so many the thread waits for its time, and is left alone.
        if queue.records.len() == BATCH.min(self.0.max) {
            self.0.changed.notify_all();
        }
    }

    pub(super) fn finish(&self, within: Duration) {
        let until = Instant::now() + within;
        let mut queue = self.0.queue();
        queue.until.get_or_insert(until);
        self.0.changed.notify_all();
        let (mut queue, _) = self.0.wait(queue, within, |queue| !queue.ended);
        if !queue.ended {
            // Those of the request that is under way are counted when it has failed, if somebody still looks.
            let left = std::mem::take(&mut queue.records).len();
            self.0.dropped.inc_by(left as u64);
            tracing::warn!(left, "the collector did not take the last spans in time");
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.until.get_or_insert_with(Instant::now);
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(
        &self,
        queue: MutexGuard<'a, Queue>,
        within: Duration,
        waits: impl FnMut(&mut Queue) -> bool,
    ) -> (MutexGuard<'a, Queue>, bool) {
        let waited = self.changed.wait_timeout_while(queue, within, waits);
        let (queue, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
        (queue, timed_out.timed_out())
    }

    fn run(&self, collector: &Collector, resource: &otlp::Resource) {
        let mut failing = false;
        while let Some(batch) = self.gather() {
            if !batch.is_empty() {
                self.export(&batch, collector, resource, &mut failing);
            }
        }
        let mut queue = self.queue();
        self.dropped.inc_by(std::mem::take(&mut queue.records).len() as u64);
        queue.ended = true;
        self.changed.notify_all();
    }

    /// What has come within a while; `None` at the end.
    fn gather(&self) -> Option<Vec<Record>> {
        let enough = BATCH.min(self.max);
        let waits = |queue: &mut Queue| queue.until.is_none() && queue.records.len() < enough;
        let (mut queue, _) = self.wait(self.queue(), GATHER, waits);
        let over = queue.until.is_some_and(|until| queue.records.is_empty() || Instant::now() >= until);
        let count = queue.records.len().min(BATCH);
        (!over).then(|| queue.records.drain(..count).collect())
    }

    /// Sends a batch, and again if it may pass then.
    fn export(&self, batch: &[Record], collector: &Collector, resource: &otlp::Resource, failing: &mut bool) {
        let request = otlp::request(resource, batch);
        let count = batch.len() as u64;
        let mut wait = RETRY_FIRST;
        for last in (0..TRIES).map(|tried| tried + 1 == TRIES) {
            let left = self.queue().until.map(|until| until.saturating_duration_since(Instant::now()));
            let within = left.map_or(self.timeout, |left| left.min(self.timeout));
            let refused = match collector.send(&request, within.max(Duration::from_millis(1))) {
                Ok(rejected) => {
                    let rejected = rejected.min(count);
                    self.dropped.inc_by(rejected);
                    self.exported.inc_by(count - rejected);
                    if rejected > 0 {
                        tracing::warn!(rejected, "the collector rejects spans");
                    }
                    if std::mem::take(failing) {
                        tracing::info!("the collector takes spans again");
                    }
                    return;
                }
                Err(refused) => refused,
            };
            if !std::mem::replace(failing, true) {
                tracing::warn!(why = refused.why, "the collector takes no spans");
            }
            if last || !refused.may_pass || !self.pause(wait.mul_f64(0.5 + fastrand::f64())) {
                break;
            }
            wait *= 2;
        }
        self.dropped.inc_by(count);
    }

    /// Waits, unless there is no time left. Whoever ends the hub does not wait for the collector's sake.
    fn pause(&self, wait: Duration) -> bool {
        let (queue, waited) = self.wait(self.queue(), wait, |queue| queue.until.is_none());
        waited || queue.until.is_some_and(|until| Instant::now() + RETRY_FIRST < until)
    }
}
