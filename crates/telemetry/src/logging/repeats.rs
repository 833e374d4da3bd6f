//! Lines that come again and again: the first of a period are written, the rest are counted and told in one line.
//!
//! What counts as the same line is where it stands in the program, not what it says: a thousand clients that are refused
//! for a thousand reasons are one flood. So what is kept is bounded by the program's text.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::{
    Event, Level, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime as _, SystemTime},
    },
    registry::LookupSpan,
};

use super::json;

/// Who did what: never held back.
const AUDIT: &str = "towncrier::audit";

/// Most places that are counted; more than the program has. The lines of others are all written.
const PLACES_MAX: usize = 16_384;

/// Longest message that is named again when its repeats are told, in bytes.
const MESSAGE_BYTES_MAX: usize = 256;

/// How many lines of one place are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeats {
    /// Most of them in a period; zero is no limit.
    pub lines: u32,
    /// How long a period is. It begins with a line.
    pub period: Duration,
}

/// Counts the lines of each place.
pub(super) struct Counter {
    options: Repeats,
    as_json: bool,
    clock: fn() -> Instant,
    hasher: RandomState,
    places: Mutex<HashMap<Place, Seen>>,
}

/// Where a line stands in the program.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Place {
    Callsite(Identifier),
    /// Records of the `log` crate share a callsite; this is of their target, file and line.
    Record(u64),
}

#[derive(Debug)]
struct Seen {
    began: Instant,
    written: u32,
    held: u64,
    level: Level,
    target: String,
    /// Of the last that was written.
    message: String,
}

/// What becomes of a line.
enum Verdict {
    Write,
    /// After the repeats of a period that is over.
    WriteAfter(Told),
    Hold,
}

/// Repeats to be told.
struct Told {
    level: Level,
    target: String,
    message: String,
    count: u64,
}

impl Counter {
    pub(super) fn new(options: Repeats, as_json: bool, clock: fn() -> Instant) -> Self {
        Self { options, as_json, clock, hasher: RandomState::new(), places: Mutex::default() }
    }

    fn places(&self) -> MutexGuard<'_, HashMap<Place, Seen>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge(&self, event: &Event<'_>) -> Verdict {
        let now = (self.clock)();
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let level = *metadata.level();
        if self.options.lines == 0 || level == Level::TRACE || metadata.target() == AUDIT {
            return Verdict::Write;
        }
        let place = match &normalized {
            None => Place::Callsite(event.metadata().callsite()),
            Some(of) => Place::Record(self.hasher.hash_one((of.target(), of.file(), of.line()))),
        };
        let mut places = self.places();
        if places.len() >= PLACES_MAX && !places.contains_key(&place) {
            return Verdict::Write;
        }
        let seen = places.entry(place).or_insert_with(|| Seen {
            began: now,
            written: 0,
            held: 0,
            level,
            target: metadata.target().to_owned(),
            message: String::new(),
        });
        let mut told = None;
        if now.duration_since(seen.began) >= self.options.period {
            told = seen.take();
            (seen.began, seen.written) = (now, 0);
        }
        if seen.written == self.options.lines {
            seen.held += 1;
            return Verdict::Hold;
        }
        seen.written += 1;
        // Only the last that is written may have to be named.
        if seen.written == self.options.lines {
            seen.message = message(event);
        }
        told.map_or(Verdict::Write, Verdict::WriteAfter)
    }

    /// The lines that tell the repeats of periods that are over, or of all.
    pub(super) fn tell(&self, all: bool) -> String {
        let now = (self.clock)();
        let over = |seen: &Seen| all || now.duration_since(seen.began) >= self.options.period;
        let told: Vec<_> = self.places().values_mut().filter(|seen| over(seen)).filter_map(Seen::take).collect();
        let mut text = String::new();
        for told in told {
            self.write(&mut Writer::new(&mut text), &told).expect("writing to a string does not fail");
        }
        text
    }

    fn write(&self, writer: &mut Writer<'_>, told: &Told) -> fmt::Result {
        let Told { level, target, message, count } = told;
        let times = if *count == 1 { "once" } else { &format!("{count} times") };
        let message = format!("{message} … repeated {times}");
        if self.as_json {
            return json::line(writer, *level, target, &message);
        }
        SystemTime.format_time(writer)?;
        writeln!(writer, " {level:>5} {target}: {message}")
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counter").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Seen {
    fn take(&mut self) -> Option<Told> {
        let count = std::mem::take(&mut self.held);
        let (level, target, message) = (self.level, self.target.clone(), self.message.clone());
        (count > 0).then_some(Told { level, target, message, count })
    }
}

/// Writes what the counter lets through, in another format.
pub(super) struct Limited<F> {
    pub(super) format: F,
    pub(super) counter: Arc<Counter>,
}

impl<S, N, F> FormatEvent<S, N> for Limited<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'w> FormatFields<'w> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        match self.counter.judge(event) {
            Verdict::Hold => return Ok(()),
            Verdict::WriteAfter(told) => self.counter.write(&mut writer, &told)?,
            Verdict::Write => {}
        }
        self.format.format_event(context, writer, event)
    }
}

/// What an event says, cut off where it is long.
fn message(event: &Event<'_>) -> String {
    struct Message(String);
    impl Visit for Message {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            if field.name() == "message" {
                self.0 = format!("{value:?}");
            }
        }
    }
    let mut message = Message(String::new());
    event.record(&mut message);
    message.0.truncate(message.0.floor_char_boundary(MESSAGE_BYTES_MAX));
    message.0
}
