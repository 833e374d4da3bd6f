//! Events for sessions and users, which are not stored and have no id.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use serde_json::json;
use towncrier_actors::messages::{SendDirect, Who};
use towncrier_wire::sse;

use super::{
    sessions::{session_id, unknown, user_id},
    stopping,
};
use crate::{
    answer,
    ingest::{Content, read_body, require_json},
    problem::Problem,
    state::State,
};

pub(crate) async fn to_session(
    request: HttpRequest,
    payload: Payload,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    let id = session_id(&request, "/events")?;
    send(Who::Session(id), &request, payload, &state).await
}

pub(crate) async fn to_user(
    request: HttpRequest,
    payload: Payload,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    let id = user_id(&request, "/events")?;
    send(Who::User(id), &request, payload, &state).await
}

pub(crate) async fn to_all(
    request: HttpRequest,
    payload: Payload,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    send(Who::Everyone, &request, payload, &state).await
}

async fn send(who: Who, request: &HttpRequest, payload: Payload, state: &State) -> Result<HttpResponse, Problem> {
    require_json(request)?;
    let body = read_body(request, payload, state).await?;
    let Content { event_type, data } = Content::parse(body.as_str(), &state.options)?;
    let frame = sse::direct(event_type.as_ref(), &data);
    let delivered = state.hub().registry().send(SendDirect { who, frame }).await.map_err(stopping)?;
    Ok(answer::json(&json!({ "delivered": delivered.ok_or_else(unknown)? })))
}
