//! Logging in by name and password, and out again.

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    cookie::{self, Cookie},
    http::{StatusCode, header},
    web::{Data, Payload},
};
use serde_json::json;
use towncrier_auth::{AddressKey, Identity, Limiter, Login, PasswordError, Rate, RateError, Rights, Secret, UnixTime};
use towncrier_wire::{Name, Selector};

use crate::{
    access::{Auth, Caller, Logins, SameSite, Tokens, require_own_origin, unauthorized},
    answer, client,
    ingest::{media_type, read_body, wrong_type},
    json::Object,
    problem::Problem,
    query::Query,
    state::State,
};

/// Most accounts and addresses whose attempts are remembered.
const REMEMBERED_MAX: usize = 100_000;

/// How often one may try to log in: right and wrong attempts count alike, as nobody knows which it is before.
#[derive(Debug)]
pub struct Attempts {
    by_account: Limiter<Name>,
    by_address: Limiter<AddressKey>,
}

impl Attempts {
    /// So many at once for each account, and four times as many for each address; as many again each minute.
    ///
    /// # Errors
    /// Never with a number of at least one.
    pub fn new(at_once: NonZeroU32) -> Result<Self, RateError> {
        let rate = |burst| Rate { burst, period: Duration::from_secs(60) };
        let by_account = Limiter::new(rate(at_once), REMEMBERED_MAX)?;
        Ok(Self {
            by_account,
            by_address: Limiter::new(rate(at_once.saturating_mul(NonZeroU32::MIN.saturating_add(3))), REMEMBERED_MAX)?,
        })
    }

    fn check(&self, account: &Name, address: Option<IpAddr>) -> Result<(), Problem> {
        let by_address = address.map_or(Ok(()), |address| self.by_address.check(&address.into()));
        by_address
            .and_then(|()| self.by_account.check(account))
            .map_err(|retry| Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many attempts to log in").after(retry.0))
    }
}

/// `POST /login`.
pub(crate) async fn login(request: HttpRequest, payload: Payload, state: Data<State>) -> Result<HttpResponse, Problem> {
    let (tokens, logins) = logins(&state)?;
    if request.headers().contains_key(header::ORIGIN) {
        require_own_origin(request.headers(), request.uri(), &state)?;
    }
    let form = match media_type(&request).as_str() {
        "application/json" => false,
        "application/x-www-form-urlencoded" => true,
        _ => return Err(wrong_type("application/json or application/x-www-form-urlencoded")),
    };
    let body = read_body(&request, payload, &state).await?;
    let (name, password) = credentials(body.as_str(), form)?;
    logins.attempts.check(&name, client::address(&request))?;

    let user = logins.users.get(name.as_str());
    // A stranger's password is compared with one that nobody has, so that it takes as long.
    let hash = user.map_or_else(|| logins.users.stranger(), |user| user.password.clone());
    let right = logins.passwords.verify(password, hash).await.map_err(|error| match error {
        PasswordError::Overloaded => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many are logging in"),
        error => Problem::field("password", error),
    })?;
    let metrics = state.hub().metrics();
    let Some(user) = user.filter(|_| right) else {
        metrics.logins_failed.inc();
        tracing::warn!(target: "towncrier::audit", remote = ?client::address(&request), "a login failed");
        return Err(unauthorized("unknown user, or another password"));
    };
    metrics.logins.inc();
    tracing::info!(target: "towncrier::audit", user = user.name.as_str(), remote = ?client::address(&request), "logged in");
    let now = UnixTime::now();
    let claims = logins.times.begin(user.name.clone(), user.rights.clone(), now);
    let expires_at = claims.expires_at.unwrap_or(now);
    let token = logins
        .minter
        .mint(&claims)
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let mut response = answer::json(&me(Some(&user.name), Some(expires_at), &user.rights));
    set(&mut response, &cookie(&tokens.cookie, token, expires_at.since(now), logins, &state));
    Ok(response)
}

/// `POST /logout`.
pub(crate) async fn logout(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    let (tokens, logins) = logins(&state)?;
    if request.headers().contains_key(header::ORIGIN) {
        require_own_origin(request.headers(), request.uri(), &state)?;
    }
    let mut response = HttpResponse::NoContent().finish();
    set(&mut response, &cookie(&tokens.cookie, String::new(), Duration::ZERO, logins, &state));
    Ok(response)
}

/// `GET /me`.
pub(crate) async fn whoami(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    Query::parse(request.query_string())?.allow(&[])?;
    if matches!(state.options.auth, Auth::Open) {
        return Ok(answer::json(&json!({ "mode": "open" })));
    }
    let Caller::Known(known) = Caller::of(&request) else { return Err(unauthorized("a token is needed")) };
    let Identity { user, expires_at, rights, .. } = &known.identity;
    Ok(answer::json(&me(user.as_ref(), *expires_at, rights)))
}

fn me(user: Option<&Name>, expires_at: Option<UnixTime>, rights: &Rights) -> serde_json::Value {
    let texts = |selectors: &[Selector]| selectors.iter().map(|one| one.as_str().to_owned()).collect::<Vec<_>>();
    json!({
        "mode": "jwt",
        "user": user.map(Name::as_str),
        "expires_at": expires_at.map(UnixTime::as_secs),
        "subscribe": texts(&rights.subscribe),
        "publish": texts(&rights.publish),
        "admin": rights.admin.iter().map(|scope| scope.as_str()).collect::<Vec<_>>(),
    })
}

/// A new cookie in place of one that is more than half over, if its user still is one.
pub(crate) fn renewal(login: &Login, user: &Name, tokens: &Tokens, state: &State) -> Option<String> {
    let logins = tokens.logins.as_ref()?;
    let now = UnixTime::now();
    if !logins.times.renewable(login, now) {
        return None;
    }
    let rights = logins.users.get(user.as_str())?.rights.clone();
    let claims = logins.times.renew(login, user.clone(), rights, now);
    let lifetime = claims.expires_at?.since(now);
    let token = logins.minter.mint(&claims).ok()?;
    Some(cookie(&tokens.cookie, token, lifetime, logins, state))
}

fn logins(state: &State) -> Result<(&Tokens, &Logins), Problem> {
    let found = match &state.options.auth {
        Auth::Tokens(tokens) => tokens.logins.as_ref().map(|logins| (&**tokens, logins)),
        Auth::Open => None,
    };
    found.ok_or_else(|| Problem::not_found("nobody can log in here: there are no users"))
}

fn cookie(name: &str, token: String, lifetime: Duration, logins: &Logins, state: &State) -> String {
    let same_site = match logins.same_site {
        SameSite::Strict => cookie::SameSite::Strict,
        SameSite::Lax => cookie::SameSite::Lax,
        SameSite::None => cookie::SameSite::None,
    };
    let seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
    Cookie::build(name, token)
        .path("/")
        .http_only(true)
        .secure(state.secure || logins.always_secure)
        .same_site(same_site)
        .max_age(cookie::time::Duration::seconds(seconds))
        .finish()
        .to_string()
}

fn set(response: &mut HttpResponse, cookie: &str) {
    if let Ok(value) = header::HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

/// The name and password of a body.
fn credentials(body: &str, form: bool) -> Result<(Name, Secret), Problem> {
    let (username, password) = if form {
        let query = Query::parse(body)?;
        query.allow(&["username", "password"])?;
        let text = |field: &str| query.get(field).map(str::to_owned).ok_or_else(|| Problem::field(field, "is missing"));
        (text("username")?, text("password")?)
    } else {
        let object = Object::parse(body, "body", &["username", "password"])?;
        let text = |field: &str| {
            let text = object.text(field)?.ok_or_else(|| Problem::field(field, "is missing"))?;
            Ok::<_, Problem>(text.into_owned())
        };
        (text("username")?, text("password")?)
    };
    let name = Name::new(&username).map_err(|error| Problem::field("username", error))?;
    Ok((name, Secret::from(password)))
}
