//! `GET /poll`.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web::Data};
use serde_json::{Map, Value};
use towncrier_telemetry::RefusedReason;
use towncrier_wire::Start;

use crate::{
    answer,
    problem::Problem,
    query::Query,
    state::State,
    subscribe::{refuse, spec},
};

/// How long a poll waits if it does not say, and at most, in seconds.
const WAIT_S: u64 = 25;
const WAIT_S_MAX: u64 = 60;

pub(crate) async fn poll(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    let spec = spec(&request, &state, None)?;
    let wait = Query::parse(request.query_string())?.number("wait", 0, WAIT_S_MAX)?.unwrap_or(WAIT_S);
    if spec.start == Start::Closed {
        return Ok(HttpResponse::NoContent().finish());
    }
    if state.hub().is_draining() {
        return refuse(&request, &state, RefusedReason::Draining.into());
    }
    let _admitted = match state.admission.admit(spec.remote) {
        Ok(admitted) => admitted,
        Err(refused) => return refuse(&request, &state, refused),
    };
    state.hub().metrics().poll_requests.inc();
    let answer = state.worker.poll(spec, Duration::from_secs(wait)).await;
    let answer = answer.map_err(|error| Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    let mut object = Map::new();
    object.insert("cursor".into(), answer.cursor.into());
    object
        .insert("events".into(), answer.events.iter().map(|event| answer::event(event)).collect::<Vec<Value>>().into());
    if let Some(gap) = &answer.gap {
        object.insert("gap".into(), answer::gap(gap));
    }
    Ok(answer::json(&object))
}
