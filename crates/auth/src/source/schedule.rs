//! When a document is read again. The clock and the jitter are arguments.

use std::time::{Duration, Instant};

use super::JwksOptions;

/// After the first failure in a row.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// However many there were.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// How many times longer it takes at most until an unknown key may ask again, however often one asked in vain.
const HOLDS_MAX: u32 = 12;

/// When the next attempt is due by itself, and from when on an unknown key may ask for one.
#[derive(Debug)]
pub(super) struct Schedule {
    due: Instant,
    ask_from: Instant,
    hold: Duration,
    retry: Duration,
    good_until: Option<Instant>,
}

/// What an attempt brought.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    /// A document. `changed` tells whether it has other keys than the one before.
    Read { changed: bool, max_age: Option<Duration> },
    /// An error.
    Failed,
}

impl Schedule {
    /// Due at once.
    pub(super) fn new(now: Instant) -> Self {
        Self { due: now, ask_from: now, hold: Duration::ZERO, retry: RETRY_MIN, good_until: None }
    }

    /// When to read the document by itself.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Whether an unknown key may have it read now.
    pub(super) fn may_ask(&self, now: Instant) -> bool {
        now >= self.ask_from
    }

    /// Whether what was read last is too old to be believed.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        self.good_until.is_some_and(|until| now >= until)
    }

    /// Notes an attempt. `asked` says that an unknown key asked for it; `jitter`, from 0 to 1, takes up to a tenth off the time
    /// until the next, so that nodes that started together do not stay together.
    pub(super) fn note(&mut self, now: Instant, outcome: Outcome, asked: bool, options: &JwksOptions, jitter: f64) {
        let shortened = |time: Duration| time.mul_f64(1.0 - 0.1 * jitter.clamp(0.0, 1.0));
        match outcome {
            Outcome::Read { changed, max_age } => {
                let age = max_age.unwrap_or(options.refresh).clamp(options.refresh_min, options.refresh_max);
                self.due = now + shortened(age);
                self.good_until = Some(now + age + options.stale);
                self.retry = RETRY_MIN;
                self.hold = match (changed, asked) {
                    (true, _) => options.ask_min,
                    (false, true) => self.hold * 2,
                    (false, false) => self.hold,
                };
            }
            Outcome::Failed => {
                self.due = now + shortened(self.retry);
                self.retry = (self.retry * 2).min(RETRY_MAX);
            }
        }
        self.hold = self.hold.clamp(options.ask_min, options.ask_min * HOLDS_MAX);
        self.ask_from = now + self.hold;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Outcome = Outcome::Read { changed: false, max_age: None };

    fn options() -> JwksOptions {
        JwksOptions::new("https://id.example/keys")
    }

    #[test]
    fn the_documents_age_is_kept_within_bounds() {
        let (now, options) = (Instant::now(), options());
        for (max_age, expected) in [
            (None, options.refresh),
            (Some(Duration::ZERO), options.refresh_min),
            (Some(Duration::from_secs(120)), Duration::from_secs(120)),
            (Some(Duration::from_secs(u64::from(u32::MAX))), options.refresh_max),
        ] {
            let mut schedule = Schedule::new(now);
            schedule.note(now, Outcome::Read { changed: true, max_age }, false, &options, 0.0);
            assert_eq!(schedule.due(), now + expected, "{max_age:?}");
            schedule.note(now, Outcome::Read { changed: true, max_age }, false, &options, 1.0);
            assert_eq!(schedule.due(), now + expected.mul_f64(0.9), "{max_age:?}");
        }
    }

    #[test]
    fn failures_are_repeated_ever_more_slowly() {
        let (mut now, options) = (Instant::now(), options());
        let mut schedule = Schedule::new(now);
        let mut waits = Vec::new();
        for _ in 0..9 {
            schedule.note(now, Outcome::Failed, false, &options, 0.0);
            waits.push((schedule.due() - now).as_secs());
            now = schedule.due();
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        schedule.note(now, READ, false, &options, 0.0);
        schedule.note(now, Outcome::Failed, false, &options, 0.0);
        assert_eq!((schedule.due() - now).as_secs(), 1, "a success is a new start");
    }

    #[test]
    fn garbage_cannot_make_it_hammer() {
        let (start, options) = (Instant::now(), options());
        let mut schedule = Schedule::new(start);
        let mut attempts = 0;
        for second in 0..3600 {
            let now = start + Duration::from_secs(second);
            if schedule.may_ask(now) {
                attempts += 1;
                schedule.note(now, READ, true, &options, 0.0);
            }
        }
        assert!((60..=65).contains(&attempts), "{attempts} in an hour");
        let now = start + Duration::from_secs(3700);
        schedule.note(now, Outcome::Read { changed: true, max_age: None }, true, &options, 0.0);
        assert!(!schedule.may_ask(now + options.ask_min - Duration::from_millis(1)));
        assert!(schedule.may_ask(now + options.ask_min), "keys that did change are a new start");
    }

    #[test]
    fn what_was_read_is_believed_for_a_bounded_time() {
        let (now, options) = (Instant::now(), options());
        let mut schedule = Schedule::new(now);
        assert!(!schedule.is_stale(now + options.stale * 9), "there is nothing yet");
        schedule.note(now, READ, false, &options, 0.0);
        let until = now + options.refresh + options.stale;
        schedule.note(until, Outcome::Failed, false, &options, 0.0);
        assert!(!schedule.is_stale(until - Duration::from_millis(1)));
        assert!(schedule.is_stale(until));
    }
}
