//! Keys from a JWKS URL: read in the background, kept while they are good, and for a while when the URL fails.
//!
//! One thread does all requests, one after the other. Whoever verifies a token takes the keys of the moment; if the token's key is
//! unknown, it may ask the thread for another reading and wait for it. However many ask, there is one request, and the
//! [schedule](schedule) says how often.

mod fetch;
mod schedule;

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, watch};

use self::{
    fetch::{Fetched, Fetcher},
    schedule::{Outcome, Schedule},
};
use crate::{
    keys::{JwksError, Key},
    limits::JWKS_WAITERS_MAX,
};

/// Where keys come from, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwksOptions {
    /// `https://…`, or `http://…` on this machine.
    pub url: String,
    /// Certificates in PEM that the URL's server must be certified by; `None` for the system's roots.
    pub roots: Option<Vec<u8>>,
    /// For a whole request.
    pub timeout: Duration,
    /// How long a document is kept that does not say so by `Cache-Control`.
    pub refresh: Duration,
    /// The shortest time that a document may say.
    pub refresh_min: Duration,
    /// The longest time that a document may say.
    pub refresh_max: Duration,
    /// The shortest time between a reading and one that an unknown key asks for. It doubles with each that brings nothing new,
    /// up to twelve times as long.
    pub ask_min: Duration,
    /// How long a document is believed beyond that while no other can be read.
    pub stale: Duration,
    /// How long a request waits for a document because its token's key is unknown.
    pub wait: Duration,
}

impl JwksOptions {
    /// A URL with the defaults.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            roots: None,
            timeout: Duration::from_secs(5),
            refresh: Duration::from_secs(15 * 60),
            refresh_min: Duration::from_secs(60),
            refresh_max: Duration::from_secs(24 * 3600),
            ask_min: Duration::from_secs(5),
            stale: Duration::from_secs(24 * 3600),
            wait: Duration::from_secs(3),
        }
    }
}

/// Why a source cannot be, or why a document could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// No URL, another scheme, or one with a password.
    #[error("is no https URL, or has a user's name in it")]
    Url,
    /// `http://` to another machine.
    #[error("must be https: whoever is on the way could put in keys")]
    NotHttps,
    /// No certificates to trust.
    #[error("there are no root certificates to check the server's by")]
    Roots,
    /// The times contradict each other, or one is nothing or beyond all use.
    #[error("times must be from 1 ms to 10 years, and the shortest refresh not longer than the longest")]
    Times,
    /// An answer that is not 200.
    #[error("the server answered {0}")]
    Status(u16),
    /// No answer.
    #[error("the request failed: {0}")]
    Request(String),
    /// An answer that is no good.
    #[error("the document {0}")]
    Document(#[from] JwksError),
    /// The system has no thread left, or the thread has died.
    #[error("there is no thread to read it")]
    Thread,
}

/// What came of asking for another reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// There was one since.
    Done,
    /// Too soon after the one before, too many wait, or it took too long.
    Held,
}

/// How a source is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JwksStatus {
    /// Readings so far, failed ones included.
    pub attempts: u64,
    /// Readings that failed.
    pub failures: u64,
    /// Keys that are known now.
    pub keys: usize,
    /// Why the last reading failed, if it did.
    pub error: Option<SourceError>,
}

#[derive(Debug, Clone, Default)]
struct Snapshot {
    keys: Arc<[Key]>,
    status: JwksStatus,
}

/// A JWKS URL and the keys that were read from it.
#[derive(Debug)]
pub struct JwksSource {
    shared: Arc<Shared>,
    snapshot: watch::Receiver<Snapshot>,
    waiters: Semaphore,
    wait: Duration,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    schedule: Schedule,
    /// An unknown key wants another reading.
    asked: bool,
    /// A request is on its way.
    busy: bool,
    stopped: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing between lock and unlock panics; if it did, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl JwksSource {
    /// Starts to read the document, in a thread of its own. Does not wait for the first reading.
    ///
    /// # Errors
    /// If the URL, the times or the certificates are no good.
    pub fn start(options: JwksOptions) -> Result<Self, SourceError> {
        let sane = Duration::from_millis(1)..=Duration::from_secs(10 * 365 * 24 * 3600);
        let JwksOptions { timeout, refresh, refresh_min, refresh_max, ask_min, stale, wait, .. } = options;
        if ![timeout, refresh, refresh_min, refresh_max, ask_min, stale, wait].iter().all(|time| sane.contains(time))
            || refresh_min > refresh_max
        {
            return Err(SourceError::Times);
        }
        let fetcher = Fetcher::new(&options)?;
        let schedule = Schedule::new(Instant::now());
        let state = Mutex::new(State { schedule, asked: false, busy: false, stopped: false });
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        let (publish, snapshot) = watch::channel(Snapshot::default());
        let reader = Reader { fetcher, options, shared: shared.clone(), publish };
        let thread = thread::Builder::new().name("jwks".to_owned());
        thread.spawn(move || reader.run()).map_err(|_| SourceError::Thread)?;
        Ok(Self { shared, snapshot, waiters: Semaphore::new(JWKS_WAITERS_MAX), wait })
    }

    /// The keys that are known now: none before the first reading, none when the last one that succeeded is too old, and none
    /// if the thread has died, since nobody would notice that they are.
    #[must_use]
    pub fn keys(&self) -> Arc<[Key]> {
        if self.is_dead() { Arc::default() } else { self.snapshot.borrow().keys.clone() }
    }

    /// How it is doing.
    #[must_use]
    pub fn status(&self) -> JwksStatus {
        let status = self.snapshot.borrow().status.clone();
        if self.is_dead() { JwksStatus { keys: 0, error: Some(SourceError::Thread), ..status } } else { status }
    }

    fn is_dead(&self) -> bool {
        self.snapshot.has_changed().is_err()
    }

    pub(crate) fn has_keys(&self) -> bool {
        !self.keys().is_empty()
    }

    pub(crate) fn attempts(&self) -> u64 {
        self.snapshot.borrow().status.attempts
    }

    /// Has the document read again, unless it is too soon, and waits until there was a reading after the first `seen`.
    pub(crate) async fn renew(&self, seen: u64) -> Renewal {
        let Ok(_permit) = self.waiters.try_acquire() else { return Renewal::Held };
        if !self.ask(seen) {
            return Renewal::Held;
        }
        let mut snapshot = self.snapshot.clone();
        let read = snapshot.wait_for(|snapshot| snapshot.status.attempts > seen);
        match tokio::time::timeout(self.wait, read).await {
            Ok(Ok(_)) => Renewal::Done,
            _ => Renewal::Held,
        }
    }

    /// Whether a reading after the first `seen` is there, is on its way or was asked for.
    fn ask(&self, seen: u64) -> bool {
        let mut state = self.shared.lock();
        if self.attempts() > seen || state.busy || state.asked {
            return true;
        }
        if !state.schedule.may_ask(Instant::now()) {
            return false;
        }
        state.asked = true;
        self.shared.changed.notify_all();
        true
    }
}

/// The thread ends with the source, or with the request that it is in.
impl Drop for JwksSource {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
    }
}

/// The thread that reads.
struct Reader {
    fetcher: Fetcher,
    options: JwksOptions,
    shared: Arc<Shared>,
    publish: watch::Sender<Snapshot>,
}

impl Reader {
    fn run(self) {
        while let Some(asked) = self.wait() {
            let result = self.fetcher.fetch();
            self.note(result, asked);
        }
    }

    /// Waits until a reading is due or asked for, and tells which; `None` when there is to be no other.
    fn wait(&self) -> Option<bool> {
        let mut state = self.shared.lock();
        loop {
            if state.stopped {
                return None;
            }
            let now = Instant::now();
            if state.asked || now >= state.schedule.due() {
                state.busy = true;
                return Some(std::mem::take(&mut state.asked));
            }
            let left = state.schedule.due() - now;
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn note(&self, result: Result<Fetched, SourceError>, asked: bool) {
        let mut snapshot = self.publish.borrow().clone();
        snapshot.status.attempts += 1;
        let outcome = match result {
            Ok(Fetched { jwks, max_age }) => {
                let changed = *snapshot.keys != *jwks.keys;
                if changed {
                    tracing::info!(keys = jwks.keys.len(), "read new keys for tokens from the JWKS URL");
                    for (index, reason) in &jwks.skipped {
                        tracing::warn!(index, %reason, "passed over an entry of the JWKS document");
                    }
                    snapshot.keys = jwks.keys.into();
                }
                snapshot.status.error = None;
                Outcome::Read { changed, max_age }
            }
            Err(error) => {
                tracing::warn!(%error, keys = snapshot.keys.len(), "could not read the JWKS URL; keeping the known keys");
                snapshot.status.failures += 1;
                snapshot.status.error = Some(error);
                Outcome::Failed
            }
        };
        let now = Instant::now();
        let mut state = self.shared.lock();
        state.schedule.note(now, outcome, asked, &self.options, fastrand::f64());
        let given_up = state.schedule.is_stale(now) && !snapshot.keys.is_empty();
        if given_up {
            snapshot.keys = Arc::default();
        }
        snapshot.status.keys = snapshot.keys.len();
        state.busy = false;
        // While the state is locked, so that whoever asks sees either a reading on its way or what it brought.
        self.publish.send_replace(snapshot);
        drop(state);
        if given_up {
            tracing::error!("the keys from the JWKS URL are too old to be believed; tokens by them are refused");
        }
    }
}
