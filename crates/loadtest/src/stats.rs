//! The clock, the histograms, and what is made of them.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::report::{Table, number};
use crate::sys::Cpu;

/// Latencies are kept to 1 µs, and longer ones than this count as this, in nanoseconds.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// Nanoseconds since a run began: monotonic, and small enough for the digits of a stamp.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    #[inline]
    pub(crate) fn now_ns(self) -> u64 {
        nanoseconds(self.origin.elapsed())
    }
}

/// Whole nanoseconds; saturates after 584 years.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// An empty histogram of latencies in nanoseconds.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, LATENCY_NS_MAX, 3).expect("the bounds are constant and valid")
}

/// A distribution in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half are at most this.
    pub p50_ms: f64,
    /// 9 of 10 are at most this.
    pub p90_ms: f64,
    /// 99 of 100 are at most this.
    pub p99_ms: f64,
    /// 999 of 1,000 are at most this.
    pub p999_ms: f64,
    /// The longest; 60 s and more count as 60 s.
    pub max_ms: f64,
}

impl Quantiles {
    /// A table of several, without those that are of nothing.
    pub(crate) fn table(rows: &[(&str, Option<Self>)]) -> Table {
        let mut table = Table::default();
        table.row([&"ms", &"p50", &"p90", &"p99", &"p99.9", &"max"]);
        for (name, quantiles) in rows {
            let Some(Self { p50_ms, p90_ms, p99_ms, p999_ms, max_ms }) = quantiles else {
                continue;
            };
            let [p50, p90, p99, p999, max] =
                [p50_ms, p90_ms, p99_ms, p999_ms, max_ms].map(|value| number(Some(*value), 3));
            table.row([name, &p50, &p90, &p99, &p999, &max]);
        }
        table
    }

    /// `None` of nothing.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Option<Self> {
        if histogram.is_empty() {
            return None;
        }
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
        Some(Self { p50_ms: at(0.5), p90_ms: at(0.9), p99_ms: at(0.99), p999_ms: at(0.999), max_ms: at(1.0) })
    }
}

/// CPU time that the server spent in the measured window, in microseconds per delivery.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ServerCpu {
    /// In all.
    pub us_per_delivery: f64,
    /// In its own code.
    pub user_us_per_delivery: f64,
    /// In the kernel.
    pub system_us_per_delivery: f64,
    /// In cores.
    pub cores: f64,
}

impl ServerCpu {
    /// Spreads `cpu` over the deliveries; with none of them the shares are 0.
    pub(crate) fn per_delivery(cpu: Cpu, deliveries: u64, window: Duration) -> Self {
        let share = |time: Duration| {
            if deliveries == 0 { 0.0 } else { time.as_secs_f64() * 1e6 / deliveries as f64 }
        };
        Self {
            us_per_delivery: share(cpu.user + cpu.system),
            user_us_per_delivery: share(cpu.user),
            system_us_per_delivery: share(cpu.system),
            cores: (cpu.user + cpu.system).as_secs_f64() / window.as_secs_f64().max(f64::MIN_POSITIVE),
        }
    }

    /// Appends its rows to a table of two columns.
    pub(crate) fn rows(&self, table: &mut Table) {
        let three = |value| number(Some(value), 3);
        table
            .row([&"server, cores", &number(Some(self.cores), 2)])
            .row([&"server, CPU µs per delivery", &three(self.us_per_delivery)])
            .row([&"  in user space", &three(self.user_us_per_delivery)])
            .row([&"  in the kernel", &three(self.system_us_per_delivery)]);
    }
}

/// The middle one, or the mean of the middle two; `None` of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn cpu_is_spread_over_deliveries() {
        let cpu = Cpu { user: Duration::from_millis(100), system: Duration::from_millis(400) };
        let share = ServerCpu::per_delivery(cpu, 100_000, Duration::from_secs(1));
        assert!((share.us_per_delivery - 5.0).abs() < 1e-9, "{share:?}");
        assert!((share.cores - 0.5).abs() < 1e-9, "{share:?}");
        assert_eq!(ServerCpu::per_delivery(cpu, 0, Duration::from_secs(1)).us_per_delivery.to_bits(), 0f64.to_bits());
    }
}
