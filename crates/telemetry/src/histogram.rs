//! How values are distributed, without a lock: an observation is two additions to atomics, and who makes many of them on
//! one thread counts them in a [`Tally`] first.

use std::{
    cell::Cell,
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, TypedMetric, exemplar::Exemplar},
};

/// From 50 µs to 6.6 s, each twice the one before: times that a hub takes.
pub(crate) const TIMES: &[f64] = &doubling::<18>(0.000_05);

/// From 1 ms to 33 s, each twice the one before: times by clocks that tell no less than a millisecond.
pub(crate) const AGES: &[f64] = &doubling::<16>(0.001);

/// Coarse times, for what has many series.
pub(crate) const COARSE_TIMES: &[f64] = &[0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0];

/// Numbers of events.
pub(crate) const SIZES: &[f64] = &[0.0, 1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0];

const fn doubling<const N: usize>(first: f64) -> [f64; N] {
    let mut bounds = [first; N];
    let mut index = 1;
    while index < N {
        bounds[index] = bounds[index - 1] * 2.0;
        index += 1;
    }
    bounds
}

/// Parts of a unit in which sums are kept: nanoseconds of a second.
const PARTS: f64 = 1e9;

/// A distribution; cheap to clone, and all clones are the same one.
#[derive(Clone)]
pub struct Histogram {
    inner: Arc<Inner>,
}

struct Inner {
    /// The largest value of each bucket but the last, which has none.
    bounds: &'static [f64],
    counts: Box<[AtomicU64]>,
    /// In [`PARTS`].
    sum: AtomicU64,
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram").field("count", &self.count()).finish_non_exhaustive()
    }
}

impl Histogram {
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { inner: Arc::new(Inner { bounds, counts, sum: AtomicU64::new(0) }) }
    }

    /// Counts a value that is not negative.
    pub fn observe(&self, value: f64) {
        self.inner.counts[bucket(self.inner.bounds, value)].fetch_add(1, Ordering::Relaxed);
        self.inner.sum.fetch_add(parts(value), Ordering::Relaxed);
    }

    /// Counts a time, in seconds.
    pub fn observe_time(&self, time: Duration) {
        self.observe(time.as_secs_f64());
    }

    /// How many values were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.inner.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// The sum of all values that were counted.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.inner.sum.load(Ordering::Relaxed) as f64 / PARTS
    }
}

fn bucket(bounds: &[f64], value: f64) -> usize {
    bounds.partition_point(|bound| *bound < value)
}

fn parts(value: f64) -> u64 {
    (value * PARTS) as u64
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        // One look at each bucket: the count is what the buckets have, whatever is counted meanwhile.
        let bounds = self.inner.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.inner.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let exemplars: Option<&HashMap<usize, Exemplar<NoLabelSet, f64>>> = None;
        encoder.encode_histogram(self.sum(), count, &buckets, exemplars)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// Values that one thread counts for itself, and hands over some times a second.
#[derive(Debug)]
pub struct Tally {
    histogram: Histogram,
    counts: Box<[Cell<u64>]>,
    sum: Cell<u64>,
}

impl Tally {
    /// An empty one for this histogram.
    #[must_use]
    pub fn new(histogram: &Histogram) -> Self {
        let counts = histogram.inner.counts.iter().map(|_| Cell::new(0)).collect();
        Self { histogram: histogram.clone(), counts, sum: Cell::new(0) }
    }

    /// Counts so many times a value that is not negative.
    pub fn observe(&self, value: f64, times: u64) {
        let count = &self.counts[bucket(self.histogram.inner.bounds, value)];
        count.set(count.get() + times);
        self.sum.set(self.sum.get().saturating_add(parts(value).saturating_mul(times)));
    }

    /// Adds all that was counted to the histogram.
    pub fn hand_over(&self) {
        if self.sum.get() == 0 && self.counts.iter().all(|count| count.get() == 0) {
            return;
        }
        for (own, shared) in self.counts.iter().zip(&self.histogram.inner.counts) {
            if own.get() > 0 {
                shared.fetch_add(own.take(), Ordering::Relaxed);
            }
        }
        self.histogram.inner.sum.fetch_add(self.sum.take(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_first_bucket_that_holds_it() {
        for (value, expected) in [(0.0, 0), (1.0, 1), (1.5, 2), (4.0, 2), (65536.0, 9), (1e9, 10)] {
            assert_eq!(bucket(SIZES, value), expected, "{value}");
        }
        for bounds in [TIMES, AGES, COARSE_TIMES, SIZES] {
            assert!(bounds.is_sorted(), "{bounds:?}");
        }
    }

    #[test]
    fn what_a_thread_counted_for_itself_is_the_same_once_handed_over() {
        let (direct, through) = (Histogram::new(SIZES), Histogram::new(SIZES));
        let tally = Tally::new(&through);
        for value in [0.0, 3.0, 3.0, 3.0, 1e6] {
            direct.observe(value);
        }
        tally.observe(0.0, 1);
        tally.observe(3.0, 3);
        tally.observe(1e6, 1);
        assert_eq!(through.count(), 0, "not yet");
        tally.hand_over();
        tally.hand_over();
        let counts = |histogram: &Histogram| -> Vec<u64> {
            histogram.inner.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect()
        };
        assert_eq!(counts(&through), counts(&direct));
        assert_eq!((through.count(), through.sum()), (5, 1_000_009.0));
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let histogram = Histogram::new(TIMES);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| histogram.observe_time(Duration::from_millis(1))));
            }
        });
        assert_eq!(histogram.count(), 40_000);
        assert!((histogram.sum() - 40.0).abs() < 1e-6, "{}", histogram.sum());
    }
}
