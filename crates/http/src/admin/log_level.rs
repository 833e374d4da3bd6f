//! The log's filter, of this node alone.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use serde_json::{Map, Value};

use crate::{
    answer,
    ingest::{read_body, require_json},
    json::Object,
    problem::Problem,
    query::Query,
    state::State,
};

/// Longest filter, in bytes.
const FILTER_BYTES_MAX: usize = 1024;

/// Longest time after which it goes back, in seconds.
const FOR_S_MAX: u64 = 24 * 3600;

pub(crate) async fn show(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    Query::parse(request.query_string())?.allow(&[])?;
    Ok(present(&state))
}

pub(crate) async fn put(request: HttpRequest, payload: Payload, state: Data<State>) -> Result<HttpResponse, Problem> {
    Query::parse(request.query_string())?.allow(&[])?;
    require_json(&request)?;
    let body = read_body(&request, payload, &state).await?;
    let object = Object::parse(body.as_str(), "body", &["level", "for_s"])?;
    let filter = object.text("level")?.ok_or_else(|| Problem::field("level", "is missing"))?;
    if filter.len() > FILTER_BYTES_MAX {
        return Err(Problem::field("level", format_args!("must be at most {FILTER_BYTES_MAX} bytes")));
    }
    let seconds = object.get("for_s").map(|value| value.get().parse().unwrap_or_default());
    if seconds.is_some_and(|seconds: u64| seconds == 0 || seconds > FOR_S_MAX) {
        return Err(Problem::field("for_s", format_args!("must be a whole number from 1 to {FOR_S_MAX}")));
    }
    let (before, _) = state.options.log_level.get();
    // Said before it is done: it may be the last that is.
    tracing::info!(target: "towncrier::audit", filter = &*filter, before, for_s = seconds, "the log's filter is changed");
    let set = state.options.log_level.set(&filter, seconds.map(Duration::from_secs));
    set.map_err(|error| Problem::field("level", error))?;
    Ok(present(&state))
}

fn present(state: &State) -> HttpResponse {
    let (filter, left) = state.options.log_level.get();
    let mut object = Map::new();
    object.insert("node".into(), state.hub().options().node.clone().into());
    object.insert("level".into(), filter.into());
    // Up, so that what holds is never said to hold no more.
    object.insert("for_s".into(), left.map_or(Value::Null, |left| (left.as_secs_f64().ceil() as u64).into()));
    answer::json(&object)
}
