//! Accounts of those who log in, where they are not in the configuration.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Payload},
};
use serde_json::{Value, json};
use towncrier_actors::Gathered;
use towncrier_auth::{PasswordHash, Passwords, Rights, Scope, Secret, User};
use towncrier_backplane::Stored;
use towncrier_wire::{Name, Selector};

use super::{between, limit, name};
use crate::{
    access::{Auth, Logins},
    answer,
    directory::Account,
    ingest::{read_body, require_json},
    json::Object,
    login::password_problem,
    problem::Problem,
    query::Query,
    state::State,
};

pub(crate) async fn list(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    let logins = logins(&state)?;
    let query = Query::parse(request.query_string())?;
    query.allow(&["after", "limit"])?;
    let after = query.get("after").map(|text| Name::new(text).map_err(|error| Problem::field("after", error)));
    let limit = limit(&query)?;
    let mut kept = logins.directory.kept.list(after.transpose()?, limit + 1).await?;
    let more = kept.len() > limit;
    kept.truncate(limit);
    let next = kept.last().filter(|_| more).map(|(name, _)| name.to_string());
    let lines = kept.iter().filter_map(|(name, text)| Some(line(&Account::read(name, text)?))).collect();
    Ok(answer::page("accounts", Gathered { value: lines, unanswered: Vec::new() }, next))
}

/// Makes an account, or changes what is given of it.
pub(crate) async fn put(request: HttpRequest, payload: Payload, state: Data<State>) -> Result<HttpResponse, Problem> {
    let logins = logins(&state)?;
    let name = account_name(&request)?;
    require_json(&request)?;
    let body = read_body(&request, payload, &state).await?;
    let object = Object::parse(body.as_str(), "body", &["password", "password_hash", "subscribe", "publish", "admin"])?;
    if logins.directory.configured.get(name.as_str()).is_some() {
        return Err(Problem::new(StatusCode::CONFLICT, "this user is in the configuration"));
    }
    let before = match logins.directory.kept.get(name.clone()).await? {
        Some(text) => Account::read(&name, &text),
        None => None,
    };
    let password = match (object.text("password")?, object.text("password_hash")?) {
        (Some(_), Some(_)) => return Err(Problem::field("password_hash", "is given beside password")),
        (Some(password), None) => {
            let password = Secret::from(password.into_owned());
            Passwords::check_new(&password).map_err(|error| Problem::field("password", error))?;
            Some(logins.passwords.hash(password).await.map_err(password_problem)?)
        }
        (None, Some(hash)) => Some(PasswordHash::parse(&hash).map_err(|error| Problem::field("password_hash", error))?),
        (None, None) => None,
    };
    let is_new = before.is_none();
    let (before_password, before_rights) = before.map(|user| (user.password, user.rights)).unzip();
    let password = password.or(before_password).ok_or_else(|| Problem::field("password", "is missing"))?;
    let before_rights: Rights = before_rights.unwrap_or_default();
    let rights = Rights {
        subscribe: selectors(&object, "subscribe")?.unwrap_or(before_rights.subscribe),
        publish: selectors(&object, "publish")?.unwrap_or(before_rights.publish),
        admin: scopes(&object)?.unwrap_or(before_rights.admin),
    };
    match logins.directory.kept.put(name.clone(), Account::new(&password, &rights).to_text(), false).await? {
        Stored::Yes => {}
        Stored::Taken | Stored::Full => {
            return Err(Problem::new(StatusCode::INSUFFICIENT_STORAGE, "there are too many accounts"));
        }
    }
    let mut answer = answer::json(&line(&User { name, password, rights }));
    if is_new {
        *answer.status_mut() = StatusCode::CREATED;
    }
    Ok(answer)
}

pub(crate) async fn remove(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    let name = account_name(&request)?;
    if !logins(&state)?.directory.kept.remove(name).await? {
        return Err(Problem::not_found("no such account"));
    }
    Ok(answer::json(&json!({ "deleted": 1 })))
}

/// An account without its password.
fn line(user: &User) -> Value {
    let texts = |selectors: &[Selector]| selectors.iter().map(|one| one.as_str().to_owned()).collect::<Vec<_>>();
    json!({
        "name": user.name.as_str(),
        "subscribe": texts(&user.rights.subscribe),
        "publish": texts(&user.rights.publish),
        "admin": user.rights.admin.iter().map(|scope| scope.as_str()).collect::<Vec<_>>(),
    })
}

fn selectors(object: &Object<'_>, field: &str) -> Result<Option<Vec<Selector>>, Problem> {
    let Some(texts) = object.texts(field)? else { return Ok(None) };
    let max = towncrier_auth::limits::RIGHTS_SELECTORS_MAX;
    if texts.len() > max {
        return Err(Problem::field(field, format_args!("must be at most {max} selectors")));
    }
    let one = |(index, text): (usize, &std::borrow::Cow<'_, str>)| {
        Selector::new(text).map_err(|error| Problem::field(format!("{field}[{index}]"), error))
    };
    texts.iter().enumerate().map(one).collect::<Result<_, _>>().map(Some)
}

fn scopes(object: &Object<'_>) -> Result<Option<Vec<Scope>>, Problem> {
    let Some(texts) = object.texts("admin")? else { return Ok(None) };
    let one = |(index, text): (usize, &std::borrow::Cow<'_, str>)| {
        Scope::from_name(text).ok_or_else(|| Problem::field(format!("admin[{index}]"), "must be read or write"))
    };
    texts.iter().enumerate().map(one).collect::<Result<_, _>>().map(Some)
}

fn account_name(request: &HttpRequest) -> Result<Name, Problem> {
    name(between(request.uri().path(), "/admin/v1/accounts/", ""), "name")
}

fn logins(state: &State) -> Result<&Logins, Problem> {
    let found = match &state.options.auth {
        Auth::Tokens(tokens) => tokens.logins.as_ref(),
        Auth::Open => None,
    };
    found.ok_or_else(|| Problem::not_found("nobody can log in here"))
}
