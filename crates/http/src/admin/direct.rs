//! Events for sessions and users, which are not stored and have no id.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use towncrier_actors::Who;
use towncrier_wire::sse;

use super::{
    reached,
    sessions::{session_id, user_id},
};
use crate::{
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
    state.rates.direct(request)?;
    let body = read_body(request, payload, state).await?;
    let Content { event_type, data } = Content::parse(body.as_str(), state.options.data_bytes)?;
    let frame = sse::direct(event_type.as_ref(), &data);
    reached("delivered", state.hub().send_direct(who, frame).await?)
}
