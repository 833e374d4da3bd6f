//! Who is connected.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde_json::json;
use towncrier_actors::messages::{AskSession, Disconnect, ListSessions, Who};
use towncrier_wire::{Name, Selector};

use super::{between, limit, name, stopping, topics::topic};
use crate::{answer, problem::Problem, query::Query, state::State};

pub(crate) async fn list(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    let query = Query::parse(request.query_string())?;
    query.allow(&["topic", "user", "after", "limit"])?;
    let selector = query.get("topic").map(|text| Selector::new(text).map_err(|error| Problem::field("topic", error)));
    answer(&query, selector.transpose()?, &state).await
}

pub(crate) async fn of_topic(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    let query = Query::parse(request.query_string())?;
    query.allow(&["user", "after", "limit"])?;
    answer(&query, Some(Selector::Topic(topic(&request, "/sessions")?)), &state).await
}

async fn answer(query: &Query<'_>, selector: Option<Selector>, state: &State) -> Result<HttpResponse, Problem> {
    let named = |field: &str| {
        query.get(field).map(|text| Name::new(text).map_err(|error| Problem::field(field, error))).transpose()
    };
    let limit = limit(query)?;
    let list = ListSessions { selector, user: named("user")?, after: named("after")?, limit: limit + 1 };
    let mut sessions = state.hub().registry().send(list).await.map_err(stopping)?;
    let more = sessions.len() > limit;
    sessions.truncate(limit);
    let next = sessions.last().filter(|_| more).map(|session| session.id.to_string());
    let node = &state.hub().options().node;
    Ok(answer::page("sessions", sessions.iter().map(|session| answer::session(session, node)).collect(), next))
}

pub(crate) async fn show(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    let id = session_id(&request, "")?;
    let info = state.hub().registry().send(AskSession(id)).await.map_err(stopping)?;
    let info = info.ok_or_else(unknown)?;
    Ok(answer::json(&answer::session(&info, &state.hub().options().node)))
}

pub(crate) async fn disconnect(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    end(Who::Session(session_id(&request, "")?), &state).await
}

pub(crate) async fn disconnect_user(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    end(Who::User(user_id(&request, "/sessions")?), &state).await
}

async fn end(who: Who, state: &State) -> Result<HttpResponse, Problem> {
    let ended = state.hub().registry().send(Disconnect(who)).await.map_err(stopping)?;
    Ok(answer::json(&json!({ "disconnected": ended.ok_or_else(unknown)? })))
}

pub(super) fn session_id(request: &HttpRequest, suffix: &str) -> Result<Name, Problem> {
    name(between(request.uri().path(), "/admin/v1/sessions/", suffix), "session")
}

pub(super) fn user_id(request: &HttpRequest, suffix: &str) -> Result<Name, Problem> {
    name(between(request.uri().path(), "/admin/v1/users/", suffix), "user")
}

pub(super) fn unknown() -> Problem {
    Problem::not_found("no such session")
}
