//! What this node logs, as administrators change it while it runs.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{task::AbortHandle, time::sleep};
use towncrier_telemetry::logging::{Log, LogError};

/// The log's filter, and what it goes back to. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LogLevel(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    log: Log,
    configured: String,
    passing: Mutex<Option<Passing>>,
}

/// A filter that holds for a while.
#[derive(Debug)]
struct Passing {
    until: Instant,
    end: AbortHandle,
}

impl LogLevel {
    /// Of a log with the filter that it shall go back to.
    #[must_use]
    pub fn new(log: Log) -> Self {
        Self(Arc::new(Inner { configured: log.filter(), log, passing: Mutex::default() }))
    }

    fn passing(&self) -> MutexGuard<'_, Option<Passing>> {
        self.0.passing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The filter that holds, and for how much longer if it does not stay.
    pub(crate) fn get(&self) -> (String, Option<Duration>) {
        let passing = self.passing();
        (self.0.log.filter(), passing.as_ref().map(|passing| passing.until.saturating_duration_since(Instant::now())))
    }

    /// Sets another one, to stay or for a while.
    pub(crate) fn set(&self, filter: &str, within: Option<Duration>) -> Result<(), LogError> {
        let mut passing = self.passing();
        self.0.log.set_filter(filter)?;
        if let Some(before) = passing.take() {
            before.end.abort();
        }
        if let Some(within) = within {
            let own = self.clone();
            let end = tokio::spawn(async move {
                sleep(within).await;
                own.go_back();
            });
            *passing = Some(Passing { until: Instant::now() + within, end: end.abort_handle() });
        }
        Ok(())
    }

    fn go_back(&self) {
        let mut passing = self.passing();
        // One that was set just now holds.
        if passing.as_ref().is_none_or(|passing| passing.until > Instant::now()) {
            return;
        }
        *passing = None;
        match self.0.log.set_filter(&self.0.configured) {
            Ok(()) => {
                tracing::info!(target: "towncrier::audit", filter = self.0.configured, "the log's filter is the configured one again");
            }
            Err(error) => tracing::error!(%error, "the log's filter cannot be set back"),
        }
    }
}
