//! Whether the threads and actors that everything needs go on.
//!
//! Each of them counts on a tick that it has anyway. Who watches looks from time to time whether the counts have gone on,
//! and measures how long one has stood still in looks of its own, not by a clock: if the whole process stood still (a
//! SIGSTOP, a machine that slept), that is one look, and nobody is blamed for it.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use towncrier_telemetry::{Label as _, Metrics, Part};

/// How often an actor beats that has no tick of its own.
pub(crate) const BEAT: Duration = Duration::from_secs(1);

/// The number of a worker that has none yet.
const UNNUMBERED: usize = usize::MAX;

#[derive(Debug)]
struct Heart {
    part: Part,
    /// Of a worker.
    number: AtomicUsize,
    beats: AtomicU64,
}

impl fmt::Display for Heart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.part, self.number.load(Ordering::Relaxed)) {
            (Part::Worker, UNNUMBERED) => f.write_str("a worker"),
            (Part::Worker, number) => write!(f, "worker {number}"),
            (Part::Main, _) => f.write_str("the main thread"),
            (part, _) => write!(f, "the {}", part.value()),
        }
    }
}

/// An actor's own part: it is watched for as long as it holds this.
#[derive(Debug)]
pub(crate) struct Pulse(Arc<Heart>);

impl Pulse {
    /// Shows that the actor goes on.
    pub(crate) fn beat(&self) {
        self.0.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Makes a worker known by its number.
    pub(crate) fn number(&self, number: usize) {
        self.0.number.store(number, Ordering::Relaxed);
    }
}

/// All that are watched, and what is known of them.
#[derive(Debug, Default)]
pub(crate) struct Pulses {
    hearts: Mutex<Vec<Weak<Heart>>>,
    stalled: Mutex<Vec<String>>,
}

impl Pulses {
    pub(crate) fn add(&self, part: Part) -> Pulse {
        let heart = Heart { part, number: AtomicUsize::new(UNNUMBERED), beats: AtomicU64::new(0) };
        let heart = Arc::new(heart);
        lock(&self.hearts).push(Arc::downgrade(&heart));
        Pulse(heart)
    }

    /// Who stands still, as of the last look.
    pub(crate) fn stalled(&self) -> Vec<String> {
        lock(&self.stalled).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks at the actors of a hub; see the module. Takes no lock that an actor holds while it works.
#[derive(Debug)]
pub struct Watch {
    pulses: Arc<Pulses>,
    metrics: Arc<Metrics>,
    stalled_after: Duration,
    seen: Vec<Seen>,
}

#[derive(Debug)]
struct Seen {
    heart: Weak<Heart>,
    part: Part,
    beats: u64,
    quiet: Duration,
    stalled: bool,
}

/// What has changed from one look to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An actor stands still.
    Stalled(String),
    /// It goes on, after about so long.
    GoesOn(String, Duration),
}

/// What a look has shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// What is new.
    pub changes: Vec<Change>,
    /// Who stands still for the longest time, and how long.
    pub worst: Option<(String, Duration)>,
}

impl Watch {
    pub(crate) fn new(pulses: Arc<Pulses>, metrics: Arc<Metrics>, stalled_after: Duration) -> Self {
        Self { pulses, metrics, stalled_after, seen: Vec::new() }
    }

    /// Looks, `period` after the last time: however much later it is in truth, no more than that is held against anybody.
    pub fn look(&mut self, period: Duration) -> Look {
        let mut look = Look::default();
        let mut stalled = Vec::new();
        let (metrics, stalled_after) = (&self.metrics, self.stalled_after);
        self.seen.retain_mut(|seen| {
            let Some(heart) = seen.heart.upgrade() else {
                // It ended, which is another matter: see `Vital`.
                if seen.stalled {
                    metrics.stalled.of(seen.part).dec();
                }
                return false;
            };
            let beats = heart.beats.load(Ordering::Relaxed);
            if beats == seen.beats {
                seen.quiet += period;
            } else {
                if std::mem::take(&mut seen.stalled) {
                    metrics.stalled.of(seen.part).dec();
                    look.changes.push(Change::GoesOn(heart.to_string(), seen.quiet));
                }
                (seen.beats, seen.quiet) = (beats, Duration::ZERO);
            }
            if seen.quiet >= stalled_after {
                let name = heart.to_string();
                if !std::mem::replace(&mut seen.stalled, true) {
                    metrics.stalled.of(seen.part).inc();
                    metrics.stalls.of(seen.part).inc();
                    look.changes.push(Change::Stalled(name.clone()));
                }
                if look.worst.as_ref().is_none_or(|(_, quiet)| *quiet < seen.quiet) {
                    look.worst = Some((name.clone(), seen.quiet));
                }
                stalled.push(name);
            }
            true
        });
        let mut known = lock(&self.pulses.stalled);
        if *known != stalled {
            *known = stalled;
        }
        drop(known);
        self.meet();
        look
    }

    /// Takes up who has come since; they are looked at from the next time on.
    fn meet(&mut self) {
        let new = std::mem::take(&mut *lock(&self.pulses.hearts));
        self.seen.extend(new.into_iter().filter_map(|heart| {
            let known = heart.upgrade()?;
            let beats = known.beats.load(Ordering::Relaxed);
            Some(Seen { part: known.part, heart, beats, quiet: Duration::ZERO, stalled: false })
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(500);

    fn watched() -> (Pulse, Pulse, Arc<Metrics>, Watch) {
        let (pulses, metrics) = (Arc::new(Pulses::default()), Arc::new(Metrics::new("0")));
        let (bridge, worker) = (pulses.add(Part::Bridge), pulses.add(Part::Worker));
        worker.number(1);
        let mut watch = Watch::new(pulses, metrics.clone(), PERIOD * 3);
        assert_eq!(watch.look(PERIOD), Look::default());
        (bridge, worker, metrics, watch)
    }

    #[test]
    fn who_stands_still_is_named_until_it_goes_on() {
        let (bridge, worker, metrics, mut watch) = watched();
        for _ in 0..10 {
            bridge.beat();
            worker.beat();
            assert_eq!(watch.look(PERIOD), Look::default());
        }
        let mut quiet = || {
            bridge.beat();
            watch.look(PERIOD)
        };
        assert_eq!([quiet(), quiet()], [Look::default(), Look::default()]);
        let name = "worker 1".to_owned();
        let worst = |looks| Some((name.clone(), PERIOD * looks));
        assert_eq!(quiet(), Look { changes: vec![Change::Stalled(name.clone())], worst: worst(3) });
        assert_eq!(quiet(), Look { changes: Vec::new(), worst: worst(4) });
        assert_eq!(watch.pulses.stalled(), std::slice::from_ref(&name));
        assert_eq!((metrics.stalled.of(Part::Worker).get(), metrics.stalls.total()), (1, 1));

        worker.beat();
        let look = watch.look(PERIOD);
        assert_eq!(look, Look { changes: vec![Change::GoesOn(name, PERIOD * 4)], worst: None });
        assert_eq!(watch.pulses.stalled(), Vec::<String>::new());
        assert_eq!((metrics.stalled.of(Part::Worker).get(), metrics.stalls.total()), (0, 1));
    }

    #[test]
    fn who_has_ended_does_not_stand_still() {
        let (bridge, worker, metrics, mut watch) = watched();
        let looks: Vec<_> = (0..4).map(|_| watch.look(PERIOD)).collect();
        assert_eq!(looks[2].changes.len(), 2, "{looks:?}");
        drop((bridge, worker));
        assert_eq!(watch.look(PERIOD), Look::default());
        assert_eq!(watch.pulses.stalled(), Vec::<String>::new());
        assert_eq!((metrics.stalled.of(Part::Worker).get(), metrics.stalled.of(Part::Bridge).get()), (0, 0));
    }

    #[test]
    fn who_comes_later_is_watched_as_well() {
        let (bridge, worker, _, mut watch) = watched();
        let late = watch.pulses.add(Part::History);
        let mut changes = Vec::new();
        for _ in 0..4 {
            bridge.beat();
            worker.beat();
            changes.extend(watch.look(PERIOD).changes);
        }
        assert_eq!(changes, [Change::Stalled("the history".to_owned())]);
        drop(late);
    }
}
