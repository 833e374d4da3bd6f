//! Restarts of Redis after which the hub may say that events were lost, though Redis has them all.
//!
//! A hub cannot know that its Redis writes to disk before it acknowledges. So after a restart it asks all nodes that were
//! there of late what they hold, and where one does not come it tells everybody that something may be missing
//! (`docs/redis.md`). Here that is right only if a node could not come: anything else would tell of losses that there are
//! none of.

use std::time::Duration;

use super::Record;
use crate::{
    ids::{Cursor, Id, PARTITIONS},
    journal::Clock,
    node::{COMMAND_TIMEOUT, PROBE_INTERVAL, SHUTDOWN},
    schedule::{Fault, Planned},
};

/// A node is awaited whose last call came no longer than this before the newest of any.
const AWAITED: Duration = Duration::from_secs(5).saturating_add(PROBE_INTERVAL.saturating_mul(3));
/// How long a census waits for nodes.
const OPEN: Duration =
    Duration::from_secs(2).saturating_add(COMMAND_TIMEOUT.saturating_mul(2)).saturating_add(PROBE_INTERVAL);
/// How long a node takes, at most, to connect again after what kept it away is over: its pauses between two attempts are
/// up to 1.5 s, an attempt that hangs ends after `command_timeout`.
const COMES: Duration = Duration::from_millis(1500).saturating_add(COMMAND_TIMEOUT);
/// How far after a census the ids go on, and with them the floor below which cursors are told of it.
const AHEAD: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(super) struct Restarts {
    clock: Clock,
    all: usize,
    /// Those that may be told of: when Redis went, and when the last census that began with it is over at the latest.
    excused: Vec<(Duration, Duration)>,
}

impl Restarts {
    pub(super) fn find(record: &Record) -> Self {
        let restarts = record.faults.iter().filter(|fault| matches!(fault.fault, Fault::KillRedis(_)));
        let may = |restart: &&Planned| record.faults.iter().any(|other| keeps_a_node_away(**restart, *other));
        Self {
            clock: record.clock,
            all: restarts.clone().count(),
            excused: restarts.filter(may).map(|restart| (restart.at, restart.end() + COMES + OPEN)).collect(),
        }
    }

    /// How many there were, and how many of them may be told of.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.all, self.excused.len())
    }

    /// Whether a gap may come now, to a client that came with this cursor: one that was given before the census was over.
    pub(super) fn explain(&self, gap: Duration, asked: Cursor) -> bool {
        self.excused.iter().any(|&(from, over)| {
            let floor = self.clock.id_at(over + AHEAD);
            let is_before = |id: Id| id > Id::default() && id < floor;
            gap > from && (0..PARTITIONS).any(|partition| is_before(asked.0[partition]))
        })
    }
}

/// Whether a node was to be waited for after a restart, and something kept it from coming in time.
fn keeps_a_node_away(restart: Planned, other: Planned) -> bool {
    let (down, up) = (restart.at, restart.end());
    match other.fault {
        // It had called in time to be awaited, or had just begun and could not go on without Redis.
        Fault::KillNode(_) => {
            let died = other.at + AWAITED >= down && other.at <= up + COMES + OPEN;
            let died_as_it_began = other.at <= down && other.end() + COMES >= down && other.end() <= down;
            died || died_as_it_began
        }
        // It says that it goes, but if Redis is away meanwhile.
        Fault::StopNode(_) => {
            let could_not_say_so = other.at + SHUTDOWN >= down && other.at <= up + COMES;
            let died_as_it_began = other.at <= down && other.end() + COMES >= down && other.end() <= down;
            could_not_say_so || died_as_it_began
        }
        // Away for as long as the others wait, but for the time that they, or it, may need to connect.
        Fault::FreezeNode(_) | Fault::FreezeRedisLink(_) => other.at <= up + COMES && other.end() + COMES >= up + OPEN,
        // Time goes on for a census while its server stands still.
        Fault::FreezeRedis(redis) => {
            restart.fault == Fault::KillRedis(redis) && other.at >= up && other.at <= up + COMES + OPEN
        }
        _ => false,
    }
}
