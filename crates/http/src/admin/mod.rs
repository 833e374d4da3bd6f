//! `/admin/v1`, but for publishing.

pub(crate) mod accounts;
pub(crate) mod direct;
pub(crate) mod log_level;
pub(crate) mod sessions;
pub(crate) mod stats;
pub(crate) mod topics;

use actix::MailboxError;
use actix_web::{HttpResponse, http::StatusCode};
use serde_json::Map;
use towncrier_actors::{Gathered, Stopping};
use towncrier_wire::Name;

use crate::{
    answer,
    problem::Problem,
    query::{Query, decode_path},
};

/// Most and usual number of entries of a page.
const LIMIT_MAX: u64 = 1000;
const LIMIT: u64 = 100;

fn limit(query: &Query<'_>) -> Result<usize, Problem> {
    Ok(query.number("limit", 1, LIMIT_MAX)?.unwrap_or(LIMIT) as usize)
}

fn name(raw: &str, field: &str) -> Result<Name, Problem> {
    Name::new(&decode_path(raw, field)?).map_err(|error| Problem::field(field, error))
}

/// An actor did not take a message: the hub is stopping.
fn stopping(_: MailboxError) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the hub is stopping")
}

impl From<Stopping> for Problem {
    fn from(_: Stopping) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the hub is stopping")
    }
}

/// How many sessions were reached, under a name.
fn reached(name: &str, counted: Gathered<Option<usize>>) -> Result<HttpResponse, Problem> {
    let Gathered { value, unanswered } = counted;
    let Some(count) = value else {
        return Err(no_session(&unanswered));
    };
    let mut object = Map::new();
    object.insert(name.into(), count.into());
    Ok(answer::json(&answer::with_unanswered(object, unanswered)))
}

/// A session that no node has; or it cannot be said, because its node does not answer.
fn no_session(unanswered: &[String]) -> Problem {
    if unanswered.is_empty() {
        return Problem::not_found("no such session");
    }
    let nodes = unanswered.join(", ");
    Problem::new(StatusCode::GATEWAY_TIMEOUT, format!("not known: no answer from the session's node ({nodes})"))
}

/// What lies between `prefix` and `suffix` in a path.
fn between<'a>(path: &'a str, prefix: &str, suffix: &str) -> &'a str {
    path.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix)).unwrap_or_default()
}
