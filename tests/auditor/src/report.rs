//! What a run is summed up in.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use crate::{
    journal::{Line, Seen},
    judge::{Kind, Record, Verdict},
    run::Options,
    traffic::TOPICS,
};

/// Findings that are told in full, of each kind.
const TOLD: usize = 5;
/// Lines of a journal that are shown before and behind a finding.
const BEFORE: usize = 25;
const BEHIND: usize = 5;
/// Faults are shown that were over less than this before a finding.
const FAULTS_BEFORE: Duration = Duration::from_secs(15);

/// The counts, as text.
#[must_use]
pub fn summary(options: &Options, record: &Record, verdict: &Verdict) -> String {
    let mut text = String::new();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    record.faults.iter().for_each(|planned| *kinds.entry(planned.fault.kind()).or_default() += 1);
    let list = |counts: Vec<(String, usize)>| {
        let parts: Vec<_> = counts.into_iter().map(|(name, count)| format!("{name} {count}")).collect();
        if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
    };
    let named =
        |map: &BTreeMap<_, usize>| list(map.iter().map(|(name, count)| (format!("{name:?}"), *count)).collect());
    let Options { mode, seed, lasts, nodes, subscribers, publishers, .. } = options;
    let _ = writeln!(
        text,
        "mode {}, seed {seed}, {} s, {nodes} nodes, {subscribers} subscribers, {publishers} publishers",
        mode.name(),
        lasts.as_secs()
    );
    let _ = writeln!(
        text,
        "events       {} ({} acknowledged, {} not; {} attempts more)",
        verdict.events, verdict.acked, verdict.unacked, verdict.retries
    );
    let _ = writeln!(text, "deliveries   {}", verdict.deliveries);
    let _ = writeln!(text, "reconnects   {}", verdict.reconnects);
    let ends = verdict.ends.iter().map(|(name, count)| (name.clone(), *count)).collect();
    let _ = writeln!(text, "ends         {}", list(ends));
    let _ = writeln!(text, "faults       {}: {}", record.faults.len(), list(kinds.into_iter().collect()));
    let _ = writeln!(text, "gaps         {}; {} events told of", named(&verdict.gaps), verdict.told);
    let _ = writeln!(
        text,
        "             without anything missing: {}; told of and held all the same: {}",
        named(&verdict.needless_gaps),
        verdict.told_but_held
    );
    if verdict.restarts.0 > 0 {
        let _ = writeln!(
            text,
            "restarts     {} of Redis, {} of them with a node that could not come in time: {} gaps of these",
            verdict.restarts.0, verdict.restarts.1, verdict.excused_gaps
        );
    }
    if options.mode.is_lossy() {
        let _ = writeln!(
            text,
            "redis lost   {} acknowledged events, nodes differ in {} topics; {} took effect again, lost before acknowledged",
            verdict.lost_by_redis, verdict.histories_that_differ, verdict.repeated
        );
    }
    for (what, kind) in [("lost", Kind::Lost), ("duplicated", Kind::Duplicated), ("out of order", Kind::OutOfOrder)] {
        let _ = writeln!(text, "{what:<12} {}", verdict.count(kind));
    }
    let others = verdict.violations.len()
        - verdict.count(Kind::Lost)
        - verdict.count(Kind::Duplicated)
        - verdict.count(Kind::OutOfOrder);
    let _ = writeln!(text, "other wrongs {others}");
    let _ =
        writeln!(text, "recovery     all had everything {:.1} s after the last fault", record.drained.as_secs_f64());
    for (kind, recovery) in &verdict.recovery {
        let _ = writeln!(
            text,
            "             {kind:<16} {:>4} ×, published again within {:4.1} s, delivered to all within {:4.1} s",
            recovery.faults,
            recovery.publish.as_secs_f64(),
            recovery.delivery.as_secs_f64()
        );
    }
    text
}

/// What is wrong, with what was seen around it.
#[must_use]
pub fn findings(record: &Record, verdict: &Verdict) -> String {
    let mut text = String::new();
    let mut told: BTreeMap<Kind, usize> = BTreeMap::new();
    for violation in &verdict.violations {
        let count = told.entry(violation.kind).or_default();
        *count += 1;
        if *count > TOLD {
            continue;
        }
        let _ = writeln!(text, "\n{violation}");
        if let Some((subscriber, line)) = violation.line {
            surroundings(record, subscriber, line, &mut text);
        }
    }
    for (kind, count) in told.into_iter().filter(|(_, count)| *count > TOLD) {
        let _ = writeln!(text, "\n{kind:?}: {} more", count - TOLD);
    }
    text
}

/// Examples of what was told to be lost though history has it in the end, with what was seen around it.
#[must_use]
pub fn held_examples(record: &Record, verdict: &Verdict) -> String {
    let mut text = String::new();
    for example in &verdict.held_examples {
        let _ = writeln!(text, "\ntold to be lost, and held: {}", example.what);
        if let Some((subscriber, line)) = example.line {
            surroundings(record, subscriber, line, &mut text);
        }
    }
    text
}

fn surroundings(record: &Record, subscriber: usize, line: usize, text: &mut String) {
    let Some(journal) = record.journals.iter().find(|journal| journal.subscriber == subscriber) else { return };
    let first = line.saturating_sub(BEFORE);
    for (number, one) in journal.lines.iter().enumerate().take(line + 1 + BEHIND).skip(first) {
        let mark = if number == line { '>' } else { ' ' };
        let _ = writeln!(text, "  {mark} {:9.3}  {}", one.at.as_secs_f64(), describe(one));
    }
    let until = journal.lines.get(line).or(journal.lines.last()).map_or(Duration::ZERO, |line| line.at);
    let from = journal.lines.get(first).map_or(Duration::ZERO, |line| line.at).saturating_sub(FAULTS_BEFORE);
    let _ = writeln!(text, "    faults at that time:");
    for fault in record.faults.iter().filter(|fault| fault.at <= until && fault.end() >= from) {
        let _ = writeln!(text, "      {fault}");
    }
}

fn describe(line: &Line) -> String {
    let cursor = |cursor: &crate::ids::Cursor| cursor.0.map(|id| id.to_string()).join(" ");
    match &line.seen {
        Seen::Connected { node, asked, cursor: at, resumed } => {
            let asked = asked.as_ref().map_or_else(|| "no cursor".to_owned(), cursor);
            format!("connected to node {node} with {asked}: at {}, resumed: {resumed}", cursor(at))
        }
        Seen::Event { key, cursor: at } => format!("event {key} of {}, {}", TOPICS[usize::from(key.topic)], cursor(at)),
        Seen::Checkpoint(at) => format!("heartbeat, {}", cursor(at)),
        Seen::Gap { reason, topics, cursor: at } => {
            let topics: Vec<_> = topics.iter().map(|topic| TOPICS[usize::from(*topic)]).collect();
            format!("gap {reason:?} {topics:?}, {}", at.as_ref().map(cursor).unwrap_or_default())
        }
        Seen::Close(data) => format!("close {data}"),
        Seen::Ended(how) => format!("ended: {how}"),
        Seen::Nonsense(what) => format!("nonsense: {what}"),
    }
}
