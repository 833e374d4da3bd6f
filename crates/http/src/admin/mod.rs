//! `/admin/v1`, but for publishing.

pub(crate) mod direct;
pub(crate) mod sessions;
pub(crate) mod stats;
pub(crate) mod topics;

use actix::MailboxError;
use actix_web::http::StatusCode;
use towncrier_wire::Name;

use crate::{
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

/// What lies between `prefix` and `suffix` in a path.
fn between<'a>(path: &'a str, prefix: &str, suffix: &str) -> &'a str {
    path.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix)).unwrap_or_default()
}
