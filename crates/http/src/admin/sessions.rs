//! Who is connected.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde_json::json;
use towncrier_actors::{Gathered, ListSessions, ListUsers, UserInfo, Who};
use towncrier_wire::{Name, Selector};

use super::{between, limit, name, no_session, reached, topics::topic};
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
    let list =
        ListSessions { selector, user: named(query, "user")?, after: named(query, "after")?, limit: limit(query)? };
    let Gathered { value: page, unanswered } = state.hub().sessions(list).await?;
    let next = page.items.last().filter(|_| page.more).map(|session| session.id.to_string());
    let lines = page.items.iter().map(answer::session).collect();
    Ok(answer::page("sessions", Gathered { value: lines, unanswered }, next))
}

pub(crate) async fn users(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    let query = Query::parse(request.query_string())?;
    query.allow(&["after", "limit"])?;
    let list = ListUsers { after: named(&query, "after")?, limit: limit(&query)? };
    let Gathered { value: page, unanswered } = state.hub().users(list).await?;
    let next = page.items.last().filter(|_| page.more).map(|user| user.id.to_string());
    let line = |user: &UserInfo| json!({ "id": user.id.as_str(), "sessions": user.sessions });
    let lines = page.items.iter().map(line).collect();
    Ok(answer::page("users", Gathered { value: lines, unanswered }, next))
}

fn named(query: &Query<'_>, field: &str) -> Result<Option<Name>, Problem> {
    query.get(field).map(|text| Name::new(text).map_err(|error| Problem::field(field, error))).transpose()
}

pub(crate) async fn show(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    let found = state.hub().session(session_id(&request, "")?).await?;
    let info = found.value.ok_or_else(|| no_session(&found.unanswered))?;
    Ok(answer::json(&answer::session(&info)))
}

pub(crate) async fn disconnect(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    end(Who::Session(session_id(&request, "")?), &state).await
}

pub(crate) async fn disconnect_user(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    end(Who::User(user_id(&request, "/sessions")?), &state).await
}

async fn end(who: Who, state: &State) -> Result<HttpResponse, Problem> {
    reached("disconnected", state.hub().disconnect(who).await?)
}

pub(super) fn session_id(request: &HttpRequest, suffix: &str) -> Result<Name, Problem> {
    name(between(request.uri().path(), "/admin/v1/sessions/", suffix), "session")
}

pub(super) fn user_id(request: &HttpRequest, suffix: &str) -> Result<Name, Problem> {
    name(between(request.uri().path(), "/admin/v1/users/", suffix), "user")
}
