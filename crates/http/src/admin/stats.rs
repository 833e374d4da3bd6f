//! The hub in numbers.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web::Data};
use serde_json::json;
use towncrier_actors::{SinceStart, messages::AskTotals};

use super::stopping;
use crate::{answer, problem::Problem, query::Query, state::State};

pub(crate) async fn stats(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    Query::parse(request.query_string())?.allow(&[])?;
    let totals = state.hub().bridge().send(AskTotals).await.map_err(stopping)??;
    let nodes = state.hub().nodes().await?;
    let mut since_start = SinceStart::default();
    nodes.iter().for_each(|node| since_start += node.since_start);
    Ok(answer::json(&json!({
        "node": state.hub().options().node,
        "version": state.options.version,
        "uptime_s": state.started.elapsed().as_secs(),
        "nodes": nodes.len(),
        "sessions": nodes.iter().map(|node| node.sessions).sum::<u64>(),
        "users": nodes.iter().map(|node| node.users).sum::<u64>(),
        "topics": totals.topics,
        "history": { "events": totals.events, "bytes": totals.bytes },
        "since_start": since_start,
    })))
}

/// Asks this node, and no other, to end in good order.
pub(crate) async fn drain(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    Query::parse(request.query_string())?.allow(&[])?;
    state.hub().request_drain();
    let mut answer = answer::json(&json!({ "draining": state.hub().options().node }));
    *answer.status_mut() = StatusCode::ACCEPTED;
    Ok(answer)
}

pub(crate) async fn nodes(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    Query::parse(request.query_string())?.allow(&[])?;
    Ok(answer::json(&json!({ "nodes": state.hub().nodes().await? })))
}
