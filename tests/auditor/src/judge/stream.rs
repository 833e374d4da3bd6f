//! One subscriber: what it got, in which order, and whether it was told of all that it did not get.

use std::collections::{HashMap, HashSet};

use super::{
    Kind, Verdict, Violation,
    restarts::Restarts,
    truth::{Event, Truth},
};
use crate::{
    ids::{Cursor, Id, PARTITIONS},
    journal::{Journal, Key, Reason, Seen},
    system::Mode,
    traffic::{TOPICS, fits, is_brief, is_conflated},
};

/// Findings of one subscriber beyond this are counted only as one more.
const FINDINGS_MAX: usize = 50;
/// Examples that are kept of what was told to be lost and held all the same.
const EXAMPLES_MAX: usize = 5;

struct Gap {
    line: usize,
    at: std::time::Duration,
    reason: Reason,
    topics: Vec<u16>,
    /// Whether an event that it covers was missing.
    used: bool,
    /// Whether the stream went on behind it.
    passed: bool,
}

struct Reader<'a> {
    journal: &'a Journal,
    truth: &'a Truth,
    restarts: &'a Restarts,
    verdict: &'a mut Verdict,
    wanted: Vec<bool>,
    /// How far it has come: all before this it has, was told of, or never wanted. Nothing before its first stream.
    through: Option<Cursor>,
    /// The cursor with which the stream that is open was asked for.
    asked: Option<Cursor>,
    /// The id of the last event in each partition.
    last: [Id; PARTITIONS],
    got: HashMap<Key, Id>,
    ids: HashSet<(usize, Id)>,
    /// The line of the last event of each topic.
    topic_line: Vec<usize>,
    /// The gaps of the stream that is open.
    gaps: Vec<Gap>,
    findings: usize,
    lossy: bool,
}

/// Judges one subscriber.
pub(super) fn judge(journal: &Journal, truth: &Truth, restarts: &Restarts, mode: Mode, verdict: &mut Verdict) {
    let wanted = TOPICS.iter().map(|topic| journal.selectors.iter().any(|selector| fits(selector, topic))).collect();
    let mut reader = Reader {
        journal,
        truth,
        restarts,
        verdict,
        wanted,
        through: None,
        asked: None,
        last: [Id::default(); PARTITIONS],
        got: HashMap::new(),
        ids: HashSet::new(),
        topic_line: vec![0; TOPICS.len()],
        gaps: Vec::new(),
        findings: 0,
        lossy: mode.is_lossy(),
    };
    let mut streams = 0_usize;
    // A stream that begins anew tells its place before it tells the gap: only what comes next passes what is missing.
    let mut begun = None;
    for (line, Line { at, seen }) in journal.lines.iter().map(|line| Line { at: line.at, seen: &line.seen }).enumerate()
    {
        if let Seen::Gap { reason, topics, .. } = seen {
            reader.gap(line, at, *reason, topics);
        }
        if let Some(cursor) = begun.take() {
            reader.pass(line, cursor, None);
        }
        match seen {
            Seen::Connected { asked, cursor, resumed, .. } => {
                streams += 1;
                reader.end_stream();
                reader.asked = *asked;
                if !resumed && asked.is_some() {
                    begun = Some(*cursor);
                } else {
                    reader.pass(line, *cursor, None);
                }
            }
            Seen::Event { key, cursor } => reader.event(line, *key, *cursor),
            Seen::Checkpoint(cursor) => reader.pass(line, *cursor, None),
            Seen::Gap { cursor, .. } => {
                if let Some(cursor) = cursor {
                    reader.pass(line, *cursor, None);
                }
            }
            Seen::Close(_) => {}
            Seen::Ended(how) => *reader.verdict.ends.entry(short(how)).or_default() += 1,
            Seen::Nonsense(what) => reader.find(Kind::Complaint, line, &format!("not in the protocol: {what}")),
        }
    }
    reader.verdict.reconnects += streams.saturating_sub(1);
    reader.end();
}

/// A line with its parts borrowed.
struct Line<'a> {
    at: std::time::Duration,
    seen: &'a Seen,
}

/// How a stream ended, without what differs each time.
fn short(how: &str) -> String {
    if let Some((_, status)) = how.split_once("status ") {
        return format!("refused with {status}");
    }
    how.split(':').next().unwrap_or_default().trim_end_matches(|char: char| char.is_ascii_digit()).trim().to_owned()
}

impl Reader<'_> {
    fn find(&mut self, kind: Kind, line: usize, what: &str) {
        self.findings += 1;
        if self.findings <= FINDINGS_MAX {
            let subscriber = self.journal.subscriber;
            let what = format!("subscriber {subscriber} {:?}: {what}", self.journal.selectors);
            self.verdict.add(kind, Some((subscriber, line)), what);
        }
    }

    fn event(&mut self, line: usize, key: Key, cursor: Cursor) {
        self.verdict.deliveries += 1;
        let topic = usize::from(key.topic);
        if topic >= TOPICS.len() || !self.wanted[topic] {
            self.find(Kind::Complaint, line, &format!("{key} fits none of its selectors"));
            return;
        }
        let Some(partition) = self.truth.partition(key.topic) else { return };
        let id = cursor.0[partition];
        match self.got.insert(key, id) {
            Some(before) if before == id || !self.lossy => {
                self.find(Kind::Duplicated, line, &format!("{key} came with {before} and again with {id}"));
            }
            _ => {}
        }
        if id <= self.last[partition] {
            let what = format!("{key} came with {id} after {} in partition {partition}", self.last[partition]);
            self.find(Kind::OutOfOrder, line, &what);
        }
        self.last[partition] = self.last[partition].max(id);
        self.ids.insert((partition, id));
        self.pass(line, cursor, Some(key));
        self.topic_line[topic] = line;
    }

    fn gap(&mut self, line: usize, at: std::time::Duration, reason: Reason, topics: &[u16]) {
        *self.verdict.gaps.entry(reason).or_default() += 1;
        let may = match reason {
            Reason::Expired => self.lossy || !topics.is_empty() && topics.iter().all(|topic| is_brief(*topic)),
            Reason::Dropped => is_conflated(&self.journal.selectors),
            Reason::BackplaneLost if !self.lossy => {
                let excused = self.asked.is_some_and(|asked| self.restarts.explain(at, asked));
                self.verdict.excused_gaps += usize::from(excused);
                excused
            }
            Reason::BackplaneLost | Reason::UnknownCursor => self.lossy,
        };
        if !may {
            let names: Vec<_> = topics.iter().map(|topic| TOPICS[usize::from(*topic)]).collect();
            self.find(Kind::WrongGap, line, &format!("nothing can have caused a gap with {reason:?} {names:?}"));
        }
        self.gaps.push(Gap { line, at, reason, topics: topics.to_vec(), used: false, passed: false });
    }

    /// The stream says that everything up to this cursor is behind it.
    fn pass(&mut self, line: usize, cursor: Cursor, event: Option<Key>) {
        let Some(through) = self.through else {
            self.through = Some(cursor);
            return;
        };
        let back: Vec<_> = cursor.behind(through).collect();
        if !back.is_empty() {
            self.find(Kind::CursorWentBack, line, &format!("from {through:?} to {cursor:?} in partitions {back:?}"));
        }
        let onwards = through.behind(cursor).next().is_some();
        self.gaps.iter_mut().for_each(|gap| gap.passed |= onwards && gap.line < line);
        let mut to = through;
        for partition in 0..PARTITIONS {
            // A partition in which the first stream had no place is one that no selector touches.
            if through.0[partition] == Id::default() {
                continue;
            }
            to.0[partition] = through.0[partition].max(cursor.0[partition]);
            let passed: Vec<_> = self.truth.between(partition, through.0[partition], to.0[partition]).collect();
            for (id, missed) in passed {
                if self.misses(partition, id, missed) && event != Some(missed.key) {
                    self.missing(line, id, missed);
                }
            }
        }
        self.through = Some(to);
    }

    fn misses(&self, partition: usize, id: Id, event: Event) -> bool {
        self.wanted[usize::from(event.key.topic)] && !self.ids.contains(&(partition, id))
    }

    /// An event that the stream passed without bringing it: a gap must have told of it.
    fn missing(&mut self, line: usize, id: Id, event: Event) {
        let newest = self.topic_line[usize::from(event.key.topic)];
        let covers = |gap: &&mut Gap| {
            let named = gap.topics.is_empty() || gap.topics.contains(&event.key.topic);
            let after = match gap.reason {
                // Old events go first: behind the gap comes what is left, and of that nothing is missing.
                Reason::Expired | Reason::Dropped => newest < gap.line,
                Reason::BackplaneLost | Reason::UnknownCursor => true,
            };
            named && after && event.sent < gap.at
        };
        let Some(gap) = self.gaps.iter_mut().rfind(covers) else {
            let held = if event.held { "history has it" } else { "history does not have it" };
            let topic = TOPICS[usize::from(event.key.topic)];
            let gaps = self.gaps.len();
            let what = format!("{} with {id} of {topic} was passed by ({held}, {gaps} gaps in this stream)", event.key);
            self.find(Kind::Lost, line, &what);
            return;
        };
        gap.used = true;
        let reason = gap.reason;
        self.verdict.told += 1;
        if event.held {
            match reason {
                Reason::Dropped => {}
                Reason::BackplaneLost | Reason::UnknownCursor => {
                    self.verdict.told_but_held += 1;
                    if self.verdict.held_examples.len() < EXAMPLES_MAX {
                        let subscriber = self.journal.subscriber;
                        let topic = TOPICS[usize::from(event.key.topic)];
                        let what = format!("subscriber {subscriber}: {} with {id} of {topic}", event.key);
                        let example = Violation { kind: Kind::WrongGap, line: Some((subscriber, line)), what };
                        self.verdict.held_examples.push(example);
                    }
                }
                Reason::Expired => {
                    let what = format!("{} with {id} was said to have expired, and history has it", event.key);
                    self.find(Kind::WrongGap, line, &what);
                }
            }
        }
    }

    fn end_stream(&mut self) {
        for gap in std::mem::take(&mut self.gaps).into_iter().filter(|gap| gap.passed && !gap.used) {
            *self.verdict.needless_gaps.entry(gap.reason).or_default() += 1;
            if gap.reason == Reason::Expired && !self.lossy {
                self.find(Kind::WrongGap, gap.line, "it is told that events have expired, and none is missing");
            }
        }
    }

    fn end(&mut self) {
        self.end_stream();
        let line = self.journal.lines.len();
        let Some(through) = self.through else {
            self.find(Kind::Complaint, line, "it never got in");
            return;
        };
        for partition in (0..PARTITIONS).filter(|&partition| through.0[partition] > Id::default()) {
            let missing = |(id, event): &(Id, Event)| self.misses(partition, *id, *event);
            let rest: Vec<_> = self.truth.after(partition, through.0[partition]).filter(missing).collect();
            for (id, event) in rest {
                let topic = TOPICS[usize::from(event.key.topic)];
                self.find(Kind::Lost, line, &format!("{} with {id} of {topic} has not come in the end", event.key));
            }
        }
    }
}
