//! What one worker measures of itself: counted here without a lock, and handed over on its tick.
//!
//! Clocks are read for samples, never for each delivery. The first of each kind after a tick is one, so that a quiet hub
//! has samples too, and one in [`ONE_IN`] after that.

use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use towncrier_core::{outbox::Oldest, rooms::Delivered};
use towncrier_telemetry::{Metrics, Namespaces, Tally};

/// Of so many, one is a sample. No power of two, as the numbers of sessions often are: others would be sampled never.
const ONE_IN: u32 = 61;

/// How many pass until the next sample.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    left: Cell<u32>,
}

impl Sampler {
    pub(crate) fn is_due(&self) -> bool {
        self.left.get() == 0
    }

    /// Takes in that this one is a sample.
    pub(crate) fn took(&self) {
        self.left.set(ONE_IN);
    }

    /// Takes in that one has passed, whether it was a sample or not.
    pub(crate) fn passed(&self) {
        self.left.set(self.left.get().saturating_sub(1));
    }

    fn reset(&self) {
        self.left.set(0);
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Timing {
    began: Instant,
    pub(crate) deliveries: Sampler,
    pub(crate) fanouts: Sampler,
    delivery: Tally,
    age: Tally,
    fanout: Tally,
    delay: Tally,
    namespaces: Arc<Namespaces>,
    /// What was delivered of each of these.
    delivered: Box<[Cell<Delivered>]>,
}

impl Timing {
    pub(crate) fn new(metrics: &Metrics, namespaces: Arc<Namespaces>) -> Self {
        Self {
            began: Instant::now(),
            deliveries: Sampler::default(),
            fanouts: Sampler::default(),
            delivery: Tally::new(&metrics.delivery_seconds),
            age: Tally::new(&metrics.event_age_seconds),
            fanout: Tally::new(&metrics.fanout_seconds),
            delay: Tally::new(&metrics.worker_delay_seconds),
            delivered: namespaces.all().iter().map(|_| Cell::default()).collect(),
            namespaces,
        }
    }

    /// Microseconds since the worker began: the time of its rooms.
    pub(crate) fn us(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.began).as_micros()).unwrap_or(u64::MAX)
    }

    /// Takes in that something of this age is on its way to a client now.
    pub(crate) fn handed_over(&self, oldest: Oldest) {
        let taken = Duration::from_micros(self.us(Instant::now()).saturating_sub(oldest.taken_us));
        self.delivery.observe(taken.as_secs_f64(), 1);
        if let Some(id) = oldest.id {
            // A clock that is behind that of the node where the event was published makes it as old as nothing.
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let age = now.saturating_sub(Duration::from_millis(id.ms()));
            self.age.observe(age.as_secs_f64(), 1);
        }
    }

    /// Takes in that so many events were handed to all their sessions.
    pub(crate) fn fanned_out(&self, took: Duration, events: usize) {
        self.fanout.observe(took.as_secs_f64(), events as u64);
    }

    /// Takes in that a tick came so late.
    pub(crate) fn ticked(&self, late: Duration) {
        self.delay.observe(late.as_secs_f64(), 1);
    }

    /// Takes in that an event was put into outboxes.
    pub(crate) fn delivered(&self, topic: &str, delivered: Delivered) {
        if self.delivered.is_empty() || delivered.members == 0 {
            return;
        }
        if let Some(index) = self.namespaces.find(topic) {
            let Delivered { members, bytes } = self.delivered[index].get();
            let sum = Delivered { members: members + delivered.members, bytes: bytes + delivered.bytes };
            self.delivered[index].set(sum);
        }
    }

    /// Hands everything over to the metrics.
    pub(crate) fn report(&self) {
        [&self.delivery, &self.age, &self.fanout, &self.delay].into_iter().for_each(Tally::hand_over);
        for (own, namespace) in self.delivered.iter().zip(self.namespaces.all()) {
            let Delivered { members, bytes } = own.take();
            if members > 0 {
                namespace.deliveries.inc_by(members);
                namespace.delivered_bytes.inc_by(bytes);
            }
        }
        self.deliveries.reset();
        self.fanouts.reset();
    }
}
