//! The verdict on a run, from nothing but what was written down. `docs/testing.md` says what is held to be right and why.

mod restarts;
mod stream;
mod truth;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    time::Duration,
};

use crate::{
    ids::Id,
    journal::{Clock, Journal, Key, Publish, Reason, Seen},
    schedule::Planned,
    system::Mode,
    traffic::{BRIEF_EVENTS, TOPICS, is_brief},
};
use restarts::Restarts;
use truth::Truth;

/// Everything that a run leaves behind.
#[derive(Debug)]
pub struct Record {
    /// How Redis was run.
    pub mode: Mode,
    /// What all times are told by.
    pub clock: Clock,
    /// What each subscriber saw.
    pub journals: Vec<Journal>,
    /// Everything that was published.
    pub publishes: Vec<Publish>,
    /// What history has of each topic, as each node tells it.
    pub histories: Vec<Vec<Vec<(Id, Key)>>>,
    /// What befell the hub, at the times at which it did.
    pub faults: Vec<Planned>,
    /// What was found wrong while the run went on.
    pub complaints: Vec<String>,
    /// How long it took, after everything was healed, until each subscriber had the closing events.
    pub drained: Duration,
}

/// A way in which the hub was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An event that a subscriber never got and was not told of.
    Lost,
    /// An event that a subscriber got twice.
    Duplicated,
    /// An event with an id at or before that of an earlier one.
    OutOfOrder,
    /// An id that two events have, or an event with two ids.
    Identity,
    /// An id that is not above those that were acknowledged before the event was sent.
    IdWentBack,
    /// A cursor that went back.
    CursorWentBack,
    /// A gap that nothing explains.
    WrongGap,
    /// History does not agree with what was acknowledged or delivered.
    History,
    /// What should not happen at all: an answer that the protocol does not know, a process that ended, a panic.
    Complaint,
}

/// One finding.
#[derive(Clone, Debug)]
pub struct Violation {
    /// What kind.
    pub kind: Kind,
    /// Which subscriber it befell, and at which line of its journal.
    pub line: Option<(usize, usize)>,
    /// What exactly.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.what)
    }
}

/// What came out.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What is wrong; nothing if the run has passed.
    pub violations: Vec<Violation>,
    /// Events that exist.
    pub events: usize,
    /// Publishes that were acknowledged, and those that never were.
    pub acked: usize,
    /// See `acked`.
    pub unacked: usize,
    /// Times that a publish was sent again.
    pub retries: u64,
    /// Events that subscribers got.
    pub deliveries: usize,
    /// Streams beyond the first of each subscriber.
    pub reconnects: usize,
    /// How streams ended.
    pub ends: BTreeMap<String, usize>,
    /// Gaps by reason.
    pub gaps: BTreeMap<Reason, usize>,
    /// Events that a subscriber did not get and was told of.
    pub told: usize,
    /// Gaps behind which nothing was missing.
    pub needless_gaps: BTreeMap<Reason, usize>,
    /// Events that a subscriber did not get and was told to be lost, though history has them in the end.
    pub told_but_held: usize,
    /// The first few of them.
    pub held_examples: Vec<Violation>,
    /// Restarts of a Redis that keeps everything, and those of them that a node could not come back to in time.
    pub restarts: (usize, usize),
    /// Gaps that tell of a loss which the latter only made possible.
    pub excused_gaps: usize,
    /// Acknowledged events that Redis lost.
    pub lost_by_redis: usize,
    /// Topics of which some node still holds what Redis lost, and another does not.
    pub histories_that_differ: usize,
    /// Publishes that took effect again after Redis had lost them before they were acknowledged.
    pub repeated: usize,
    /// After the end of a fault of each kind, the longest time until a new event was acknowledged and until every
    /// subscriber had a new one.
    pub recovery: BTreeMap<String, Recovery>,
}

/// See [`Verdict::recovery`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Recovery {
    /// How many faults of the kind there were.
    pub faults: usize,
    /// Until the first event that was sent after it was acknowledged.
    pub publish: Duration,
    /// Until the last subscriber had an event that was sent after it.
    pub delivery: Duration,
}

impl Verdict {
    /// How many findings there are of a kind.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        self.violations.iter().filter(|violation| violation.kind == kind).count()
    }

    fn add(&mut self, kind: Kind, line: Option<(usize, usize)>, what: String) {
        self.violations.push(Violation { kind, line, what });
    }
}

/// Judges a run.
#[must_use]
pub fn judge(record: &Record) -> Verdict {
    let mut verdict = Verdict::default();
    for complaint in &record.complaints {
        verdict.add(Kind::Complaint, None, complaint.clone());
    }
    let truth = Truth::find(record, &mut verdict);
    verdict.events = truth.count();
    verdict.acked = record.publishes.iter().filter(|publish| publish.acked.is_some()).count();
    verdict.unacked = record.publishes.len() - verdict.acked;
    verdict.retries = record.publishes.iter().map(|publish| u64::from(publish.attempts.saturating_sub(1))).sum();
    ids_rise(record, &truth, &mut verdict);
    histories_agree(record, &truth, &mut verdict);
    let restarts = Restarts::find(record);
    verdict.restarts = restarts.counts();
    for journal in &record.journals {
        stream::judge(journal, &truth, &restarts, record.mode, &mut verdict);
    }
    recovery(record, &mut verdict);
    verdict
}

/// An event gets its id after it was sent for the first time. So it is above every id of its partition that was
/// acknowledged before.
fn ids_rise(record: &Record, truth: &Truth, verdict: &mut Verdict) {
    let acked = |publish: &Publish| {
        let (at, id) = publish.acked?;
        Some((at, truth.partition(publish.key.topic)?, id, publish.key))
    };
    let mut by_ack: Vec<_> = record.publishes.iter().filter_map(acked).collect();
    by_ack.sort_unstable_by_key(|(at, ..)| *at);
    let mut by_sent: Vec<_> = record.publishes.iter().filter(|publish| publish.acked.is_some()).collect();
    by_sent.sort_unstable_by_key(|publish| publish.sent);
    let mut newest: HashMap<usize, (Id, Key)> = HashMap::new();
    let mut earlier = by_ack.into_iter().peekable();
    for publish in by_sent {
        while let Some((_, partition, id, key)) = earlier.next_if(|(at, ..)| *at < publish.sent) {
            let newest = newest.entry(partition).or_insert((id, key));
            *newest = (*newest).max((id, key));
        }
        let (Some((_, id)), Some(partition)) = (publish.acked, truth.partition(publish.key.topic)) else { continue };
        if let Some((above, before)) = newest.get(&partition).filter(|(above, _)| *above >= id) {
            let what = format!("{} got {id} though {before} had been acknowledged with {above}", publish.key);
            verdict.add(Kind::IdWentBack, None, what);
        }
    }
}

fn histories_agree(record: &Record, truth: &Truth, verdict: &mut Verdict) {
    let Some((first, others)) = record.histories.split_first() else { return };
    for (node, other) in others.iter().enumerate() {
        // Of a topic with a short history a node may still hold more than it has to.
        let newest = |events: &[(Id, Key)], topic: usize| match is_brief(u16::try_from(topic).expect("few")) {
            true => events[events.len().saturating_sub(BRIEF_EVENTS)..].to_vec(),
            false => events.to_vec(),
        };
        let differ = |(topic, (one, other)): &(usize, (&Vec<_>, &Vec<_>))| newest(one, *topic) != newest(other, *topic);
        for (topic, (one, other)) in first.iter().zip(other).enumerate().filter(differ) {
            if record.mode.is_lossy() {
                verdict.histories_that_differ += 1;
                continue;
            }
            let counts = (one.len(), other.len(), node + 1);
            let what =
                format!("of {} node 0 has {} events, node {} has {}", TOPICS[topic], counts.0, counts.2, counts.1);
            verdict.add(Kind::History, None, what);
        }
    }
    for (topic, events) in first.iter().enumerate() {
        if let Some(pair) = events.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
            verdict.add(Kind::History, None, format!("{} has {} before {}", TOPICS[topic], pair[0].0, pair[1].0));
        }
    }
    for publish in &record.publishes {
        let Some((_, id)) = publish.acked else { continue };
        let topic = &first[usize::from(publish.key.topic)];
        let held = topic.binary_search_by_key(&id, |(id, _)| *id).is_ok_and(|at| topic[at].1 == publish.key);
        // A short history has let go of all but its newest.
        let trimmed = is_brief(publish.key.topic) && topic.first().is_some_and(|(oldest, _)| id < *oldest);
        if held || trimmed {
            continue;
        }
        if record.mode.is_lossy() {
            verdict.lost_by_redis += 1;
        } else {
            let what = format!("{} was acknowledged with {id} and is not in history", publish.key);
            verdict.add(Kind::History, None, what);
        }
    }
    if !record.mode.is_lossy() {
        for (key, id) in truth.only_seen() {
            verdict.add(Kind::History, None, format!("{key} was delivered with {id} and is not in history"));
        }
    }
}

fn recovery(record: &Record, verdict: &mut Verdict) {
    let sent: HashMap<Key, Duration> = record.publishes.iter().map(|publish| (publish.key, publish.sent)).collect();
    for fault in &record.faults {
        let end = fault.end();
        let acked = record.publishes.iter().filter(|publish| publish.sent > end).filter_map(|publish| publish.acked);
        let Some(publish) = acked.map(|(at, _)| at - end).min() else { continue };
        let is_new = |key: &Key| sent.get(key).is_some_and(|sent| *sent > end);
        let first = |journal: &Journal| {
            let from = journal.lines.partition_point(|line| line.at <= end);
            let new =
                journal.lines[from..].iter().find(|line| matches!(&line.seen, Seen::Event { key, .. } if is_new(key)));
            new.map(|line| line.at - end)
        };
        let delivery = record.journals.iter().filter_map(first).max().unwrap_or_default();
        let recovery = verdict.recovery.entry(fault.fault.kind()).or_default();
        recovery.faults += 1;
        recovery.publish = recovery.publish.max(publish);
        recovery.delivery = recovery.delivery.max(delivery);
    }
}
