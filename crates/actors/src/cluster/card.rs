//! What a node says of itself.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use towncrier_telemetry::{Metrics, usage};

/// A node as administrators, and the other nodes, see it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeInfo {
    /// Its name, as the operator gave it or drawn at its start.
    pub id: String,
    /// Its version.
    pub version: String,
    /// For how long it has been running, in seconds.
    pub uptime_s: u64,
    /// Sessions that are open there.
    pub sessions: u64,
    /// Users that have sessions there.
    pub users: u64,
    /// Topics that sessions there listen to.
    pub topics: u64,
    /// How busy it is.
    pub load: Load,
    /// What it has done since it was started.
    pub since_start: SinceStart,
}

/// How busy a node is, over the last second or so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Load {
    /// Processor cores that it keeps busy.
    pub cpu_cores: f64,
    /// Memory that it occupies, in bytes.
    pub memory_bytes: u64,
    /// Events handed to sessions, in a second.
    pub deliveries_per_s: f64,
    /// Events published through it, in a second.
    pub publishes_per_s: f64,
}

/// What a node has done since it was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SinceStart {
    /// Sessions opened.
    pub sessions: u64,
    /// Publishes taken or refused.
    pub publishes: u64,
    /// Events handed to sessions.
    pub deliveries: u64,
    /// `gap` events sent.
    pub gaps: u64,
    /// Events not delivered, for whatever reason.
    pub drops: u64,
}

impl std::ops::AddAssign for SinceStart {
    fn add_assign(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.publishes += other.publishes;
        self.deliveries += other.deliveries;
        self.gaps += other.gaps;
        self.drops += other.drops;
    }
}

/// Writes a node's card from its metrics.
#[derive(Debug)]
pub(super) struct Cards {
    id: String,
    version: String,
    started: Instant,
    /// What was counted when the load was last looked at: when, cpu seconds, deliveries, publishes.
    last: (Instant, f64, u64, u64),
    load: Load,
}

impl Cards {
    pub(super) fn new(id: String, version: String) -> Self {
        let now = Instant::now();
        let cpu = usage().cpu_seconds.unwrap_or_default();
        Self { id, version, started: now, last: (now, cpu, 0, 0), load: Load::default() }
    }

    pub(super) fn name(&self) -> &str {
        &self.id
    }

    /// Looks at the load anew; to be called about once a second.
    pub(super) fn measure(&mut self, metrics: &Metrics) {
        let (then, cpu, deliveries, publishes) = self.last;
        let (now, usage) = (Instant::now(), usage());
        let seconds = now.duration_since(then).as_secs_f64().max(0.001);
        let counted = SinceStart::of(metrics);
        let rate = |now: u64, then: u64| round(now.saturating_sub(then) as f64 / seconds);
        let cpu_now = usage.cpu_seconds.unwrap_or(cpu);
        self.load = Load {
            cpu_cores: round((cpu_now - cpu).max(0.0) / seconds),
            memory_bytes: usage.resident_bytes.unwrap_or_default(),
            deliveries_per_s: rate(counted.deliveries, deliveries),
            publishes_per_s: rate(counted.publishes, publishes),
        };
        self.last = (now, cpu_now, counted.deliveries, counted.publishes);
    }

    pub(super) fn write(&self, metrics: &Metrics) -> NodeInfo {
        let gauge = |value: i64| u64::try_from(value).unwrap_or_default();
        NodeInfo {
            id: self.id.clone(),
            version: self.version.clone(),
            uptime_s: self.started.elapsed().as_secs(),
            sessions: gauge(metrics.registry_sessions.get()),
            users: gauge(metrics.registry_users.get()),
            topics: gauge(metrics.registry_topics.get()),
            load: self.load,
            since_start: SinceStart::of(metrics),
        }
    }
}

impl SinceStart {
    fn of(metrics: &Metrics) -> Self {
        Self {
            sessions: metrics.sessions_opened.get(),
            publishes: metrics.publishes.total(),
            deliveries: metrics.deliveries.get(),
            gaps: metrics.gaps.total(),
            drops: metrics.drops.total(),
        }
    }
}

/// To hundredths: the rest is noise.
fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
