//! What happens when an actor that everything depends on ends.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::watch;
use towncrier_telemetry::{Actor, Label, Metrics};

/// Tells the process that the hub cannot go on.
#[derive(Debug)]
pub(crate) struct Fatal {
    failed: watch::Sender<Option<&'static str>>,
    stopping: AtomicBool,
    metrics: Arc<Metrics>,
}

impl Fatal {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { failed: watch::Sender::new(None), stopping: AtomicBool::new(false), metrics })
    }

    /// From now on actors may end.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Resolves with the name of the first vital actor that ended while it should not.
    pub(crate) async fn failed(&self) -> &'static str {
        let mut failed = self.failed.subscribe();
        match failed.wait_for(Option::is_some).await {
            Ok(name) => name.unwrap_or("unknown"),
            Err(_) => std::future::pending().await,
        }
    }
}

/// Held by an actor without which the hub would look alive and deliver nothing. However the actor ends, by a panic or not,
/// dropping this ends the process: its clients resume on another node, or here after the restart.
#[derive(Debug)]
pub(crate) struct Vital {
    actor: Actor,
    fatal: Arc<Fatal>,
}

impl Vital {
    pub(crate) fn new(actor: Actor, fatal: &Arc<Fatal>) -> Self {
        Self { actor, fatal: fatal.clone() }
    }
}

impl Drop for Vital {
    fn drop(&mut self) {
        if !self.fatal.is_stopping() {
            self.fatal.metrics.actor_failures.of(self.actor).inc();
            tracing::error!(actor = self.actor.value(), "a vital actor ended, the hub stops");
            self.fatal.failed.send_replace(Some(self.actor.value()));
        }
    }
}
