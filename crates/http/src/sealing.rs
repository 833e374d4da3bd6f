//! Payloads that leave the hub, and lie in its backplane, only as JWE: for those who hold a key that the hub's operator
//! gave them. The hub seals what is published, and never opens it again.

use std::fmt;

use actix_web::http::StatusCode;
use towncrier_auth::Sealer;
use towncrier_wire::{NewEvent, Topic};

use crate::problem::Problem;

/// Which topics are sealed, and with what.
pub struct Sealing {
    /// Holds the keys.
    pub sealer: Sealer,
    /// For topics of no namespace.
    pub fallback: bool,
    /// Namespaces that say so themselves; the longest that fits holds.
    pub namespaces: Vec<(String, bool)>,
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealing").field("fallback", &self.fallback).finish_non_exhaustive()
    }
}

impl Sealing {
    fn covers(&self, topic: &Topic) -> bool {
        let fits = |own: &&(String, bool)| topic.as_str().starts_with(own.0.as_str());
        let longest = self.namespaces.iter().filter(fits).max_by_key(|(prefix, _)| prefix.len());
        longest.map_or(self.fallback, |(_, sealed)| *sealed)
    }

    /// Seals the data of an event, if its topic is one of these; sealed data may have so many bytes.
    ///
    /// # Errors
    /// If it is too long then, or the key is used up.
    pub(crate) fn seal(&self, event: &mut NewEvent, data_bytes: usize) -> Result<(), Problem> {
        if !self.covers(&event.topic) {
            return Ok(());
        }
        let sealed = self.sealer.seal(&event.data).map_err(|error| {
            tracing::error!(%error, "a payload cannot be sealed, so it is not published; put a new key first in encryption.keys");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the payload cannot be sealed")
        })?;
        if sealed.len() > data_bytes {
            let what =
                format_args!("must be at most {data_bytes} bytes when it is sealed, which makes a third more of it");
            return Err(Problem::too_large("data", what));
        }
        event.data = sealed.into();
        Ok(())
    }
}
