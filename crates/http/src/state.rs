//! What the handlers of one worker thread share.

use std::{sync::Arc, time::Instant};

use towncrier_actors::{Hub, Worker};

use crate::{Options, Role, admission::Admission, ingest::Bodies, rates::Rates};

/// Lives on its thread; see [`Worker`].
pub(crate) struct State {
    pub(crate) worker: Worker,
    pub(crate) admission: Arc<Admission>,
    pub(crate) rates: Arc<Rates>,
    pub(crate) options: Arc<Options>,
    pub(crate) bodies: Bodies,
    pub(crate) started: Instant,
    /// What this listener is for.
    pub(crate) role: Role,
    /// Whether it speaks TLS.
    pub(crate) secure: bool,
}

impl State {
    pub(crate) fn hub(&self) -> &Hub {
        self.worker.hub()
    }
}
