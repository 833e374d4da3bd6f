//! What happens when an actor that everything depends on ends.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::watch;
use towncrier_telemetry::{Actor, Label, Metrics, Part};

use crate::pulse::{Pulse, Pulses};

/// Tells the process that the hub cannot go on.
#[derive(Debug)]
pub(crate) struct Fatal {
    failed: watch::Sender<Option<&'static str>>,
    stopping: AtomicBool,
    metrics: Arc<Metrics>,
    pulses: Arc<Pulses>,
}

impl Fatal {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        let pulses = Arc::new(Pulses::default());
        Arc::new(Self { failed: watch::Sender::new(None), stopping: AtomicBool::new(false), metrics, pulses })
    }

    /// Whether the vital actors go on.
    pub(crate) fn pulses(&self) -> &Arc<Pulses> {
        &self.pulses
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
/// dropping this ends the process: its clients resume on another node, or here after the restart. As long as it is held the
/// actor must beat.
#[derive(Debug)]
pub(crate) struct Vital {
    actor: Actor,
    fatal: Arc<Fatal>,
    pulse: Pulse,
}

impl Vital {
    pub(crate) fn new(actor: Actor, fatal: &Arc<Fatal>) -> Self {
        Self { actor, fatal: fatal.clone(), pulse: fatal.pulses.add(part(actor)) }
    }

    /// Shows that the actor goes on.
    pub(crate) fn beat(&self) {
        self.pulse.beat();
    }

    /// Makes a worker known by its number.
    pub(crate) fn number(&self, number: usize) {
        self.pulse.number(number);
    }
}

fn part(actor: Actor) -> Part {
    match actor {
        Actor::Rooms | Actor::Session => Part::Worker,
        Actor::Bridge => Part::Bridge,
        Actor::History => Part::History,
        Actor::Registry => Part::Registry,
        Actor::Cluster => Part::Cluster,
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
