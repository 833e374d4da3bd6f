//! What orchestrators and Prometheus ask.

use std::time::Duration;

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
    web::Data,
};
use serde_json::json;
use tokio::time::timeout;
use towncrier_actors::messages::AskTotals;
use towncrier_telemetry::CONTENT_TYPE;

use crate::{answer, problem::Problem, state::State};

/// How long the backplane may take until the hub counts as not ready.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

/// The process works: this worker answers, and nothing that all need stands still. A probe whose connection is another
/// worker's that stands still gets no answer, which means the same.
pub(crate) async fn health(state: Data<State>) -> Result<HttpResponse, Problem> {
    goes_on(&state)?;
    Ok(answer::json(&json!({ "status": "ok" })))
}

fn goes_on(state: &State) -> Result<(), Problem> {
    match &state.hub().stalled()[..] {
        [] => Ok(()),
        [one] => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("{one} stands still"))),
        all => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("{} stand still", all.join(", ")))),
    }
}

/// The hub can serve: all of it goes on, its backplane answers, and it is not stopping.
pub(crate) async fn ready(state: Data<State>) -> Result<HttpResponse, Problem> {
    let not = |why| Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why));
    if state.hub().is_leaving() {
        return not("the hub is stopping");
    }
    goes_on(&state)?;
    match timeout(READY_TIMEOUT, state.hub().bridge().send(AskTotals)).await {
        Ok(Ok(Ok(_))) => Ok(answer::json(&json!({ "status": "ready" }))),
        _ => not("the backplane does not answer"),
    }
}

pub(crate) async fn metrics(state: Data<State>) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, CONTENT_TYPE)).body(state.hub().metrics().encode())
}
