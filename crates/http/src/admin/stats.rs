//! The hub in numbers.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde_json::json;
use towncrier_actors::messages::{AskTotals, CountSessions};

use super::stopping;
use crate::{answer, problem::Problem, query::Query, state::State};

pub(crate) async fn stats(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    Query::parse(request.query_string())?.allow(&[])?;
    let totals = state.hub().bridge().send(AskTotals).await.map_err(stopping)??;
    let (sessions, users) = state.hub().registry().send(CountSessions).await.map_err(stopping)?;
    let metrics = state.hub().metrics();
    Ok(answer::json(&json!({
        "node": state.hub().options().node,
        "version": state.options.version,
        "uptime_s": state.started.elapsed().as_secs(),
        "sessions": sessions,
        "users": users,
        "topics": totals.topics,
        "history": { "events": totals.events, "bytes": totals.bytes },
        "since_start": {
            "sessions": metrics.sessions_opened.get(),
            "publishes": metrics.publishes.total(),
            "deliveries": metrics.deliveries.get(),
            "gaps": metrics.gaps.total(),
            "drops": metrics.drops.total(),
        },
    })))
}

pub(crate) async fn nodes(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    Query::parse(request.query_string())?.allow(&[])?;
    let (sessions, _) = state.hub().registry().send(CountSessions).await.map_err(stopping)?;
    Ok(answer::json(&json!({ "nodes": [{
        "id": state.hub().options().node,
        "version": state.options.version,
        "uptime_s": state.started.elapsed().as_secs(),
        "sessions": sessions,
    }] })))
}
