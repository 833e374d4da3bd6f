//! What the kernel knows about this process, read from `/proc/self` at each scrape.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

/// The `process_…` metrics under the names that Prometheus' own clients give them, so that common dashboards work.
#[derive(Debug)]
pub(crate) struct Process {
    started: f64,
}

impl Process {
    pub(crate) fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: since_epoch.as_secs_f64() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut write = |name: &str, help: &str, metric: &dyn Encode| {
            let metric_encoder = encoder.encode_descriptor(name, help, None, metric.kind())?;
            metric.encode_into(metric_encoder)
        };
        write(
            "process_start_time_seconds",
            "When the process started, in seconds since 1970",
            &ConstGauge::new(self.started),
        )?;
        // A figure that cannot be read is left out: a zero would be a lie.
        if let Some(bytes) = resident_bytes() {
            write("process_resident_memory_bytes", "Resident memory, in bytes", &ConstGauge::new(bytes))?;
        }
        if let Some(fds) = open_fds() {
            write("process_open_fds", "Open file descriptors", &ConstGauge::new(fds))?;
        }
        if let Some(fds) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
            write("process_max_fds", "Most file descriptors that may be open", &ConstGauge::new(fds))?;
        }
        if let Some(seconds) = cpu_seconds() {
            write("process_cpu_seconds", "CPU time used, user and system, in seconds", &ConstCounter::new(seconds))?;
        }
        Ok(())
    }
}

/// The part of [`EncodeMetric`] that is needed here, as an object.
trait Encode {
    fn kind(&self) -> prometheus_client::metrics::MetricType;
    fn encode_into(&self, encoder: prometheus_client::encoding::MetricEncoder<'_>) -> std::fmt::Result;
}

impl<M: EncodeMetric> Encode for M {
    fn kind(&self) -> prometheus_client::metrics::MetricType {
        self.metric_type()
    }

    fn encode_into(&self, encoder: prometheus_client::encoding::MetricEncoder<'_>) -> std::fmt::Result {
        self.encode(encoder)
    }
}

/// What this process uses now, as far as it can be read.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Resident memory, in bytes.
    pub resident_bytes: Option<u64>,
    /// Processor time since its start, user and system, in seconds.
    pub cpu_seconds: Option<f64>,
}

/// Reads it from `/proc/self`.
#[must_use]
pub fn usage() -> Usage {
    Usage { resident_bytes: resident_bytes(), cpu_seconds: cpu_seconds() }
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kib * 1024)
}

fn open_fds() -> Option<u64> {
    let entries = fs::read_dir("/proc/self/fd").ok()?;
    // One of them is the directory itself, being read.
    u64::try_from(entries.count()).ok()?.checked_sub(1)
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    cpu_ticks(&stat).map(|ticks| ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// User and system time of a line of `/proc/PID/stat`, in clock ticks.
fn cpu_ticks(stat: &str) -> Option<u64> {
    // The second field is the command in parentheses, which may itself contain spaces and parentheses.
    let (_, after_command) = stat.rsplit_once(')')?;
    let mut fields = after_command.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_a_command_with_parentheses() {
        let stat = "42 (a) b) S 1 2 3 4 5 6 7 8 9 10 300 45 0 0 20 0 1 0 99";
        assert_eq!(cpu_ticks(stat), Some(345));
        assert_eq!(cpu_ticks("42 (a"), None);
    }

    #[test]
    fn this_process_has_memory_and_descriptors() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100 << 10));
        let files: Vec<_> = (0..50).map(|_| fs::File::open("/proc/self/status")).collect();
        assert!(open_fds() >= Some(files.len() as u64));
        assert!(cpu_seconds().is_some_and(|seconds| seconds >= 0.0));
    }
}
