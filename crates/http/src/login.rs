//! Logging in by name and password, and out again.

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    cookie::{self, Cookie},
    http::{StatusCode, header},
    web::{Data, Payload},
};
use serde_json::json;
use towncrier_auth::{
    AddressKey, Identity, Limiter, Login, PasswordError, Passwords, Rate, RateError, Rights, Secret, UnixTime, User,
};
use towncrier_backplane::Stored;
use towncrier_wire::{Name, Selector};

use crate::{
    access::{Auth, Caller, Logins, SameSite, Tokens, require_own_origin, unauthorized},
    answer, client,
    directory::{Account, may_be_registered},
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
    let (name, password) = read_credentials(&request, payload, &state).await?;
    logins.attempts.check(&name, client::address(&request))?;

    let user = logins.directory.find(&name).await?;
    // A stranger's password is compared with one that nobody has, so that it takes as long.
    let stranger = || logins.directory.configured.stranger();
    let hash = user.as_ref().map_or_else(stranger, |user| user.password.clone());
    let right = logins.passwords.verify(password, hash).await.map_err(password_problem)?;
    let metrics = state.hub().metrics();
    let Some(user) = user.filter(|_| right) else {
        metrics.logins_failed.inc();
        tracing::warn!(target: "towncrier::audit", remote = client::address(&request).map(display), "a login failed");
        return Err(unauthorized("unknown user, or another password"));
    };
    metrics.logins.inc();
    tracing::info!(target: "towncrier::audit", user = user.name.as_str(), remote = client::address(&request).map(display), "logged in");
    enter(StatusCode::OK, &user, (tokens, logins), &state)
}

/// `POST /register`.
pub(crate) async fn register(
    request: HttpRequest,
    payload: Payload,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    let (tokens, logins) = logins(&state)?;
    let registration = logins.directory.registration.as_ref();
    let registration = registration.ok_or_else(|| Problem::not_found("nobody can register here"))?;
    let (name, password) = read_credentials(&request, payload, &state).await?;
    logins.attempts.check(&name, client::address(&request))?;
    if !may_be_registered(&name) {
        return Err(Problem::field("username", "must be at most 64 of the characters A-Z a-z 0-9 . _ -"));
    }
    Passwords::check_new(&password).map_err(|error| Problem::field("password", error))?;
    let rights = registration.rights(&name).map_err(|what| Problem::field("username", what))?;
    let taken = || Problem::field("username", "is taken").with_status(StatusCode::CONFLICT);
    if logins.directory.configured.get(name.as_str()).is_some() {
        return Err(taken());
    }
    let password = logins.passwords.hash(password).await.map_err(password_problem)?;
    let account = Account::new(&password, &rights).to_text();
    match logins.directory.kept.put(name.clone(), account, true).await? {
        Stored::Yes => {}
        Stored::Taken => return Err(taken()),
        Stored::Full => return Err(Problem::new(StatusCode::INSUFFICIENT_STORAGE, "there are too many accounts")),
    }
    tracing::info!(target: "towncrier::audit", user = name.as_str(), remote = client::address(&request).map(display), "registered");
    enter(StatusCode::CREATED, &User { name, password, rights }, (tokens, logins), &state)
}

/// Lets a user in: the cookie, and who they are.
fn enter(
    status: StatusCode,
    user: &User,
    (tokens, logins): (&Tokens, &Logins),
    state: &State,
) -> Result<HttpResponse, Problem> {
    let now = UnixTime::now();
    let claims = logins.times.begin(user.name.clone(), user.rights.clone(), now);
    let expires_at = claims.expires_at.unwrap_or(now);
    let minted = logins.minter.mint(&claims);
    let token = minted.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let mut response = answer::json(&me(Some(&user.name), Some(expires_at), &user.rights));
    *response.status_mut() = status;
    set(&mut response, &cookie(&tokens.cookie, token, expires_at.since(now), logins, state));
    Ok(response)
}

pub(crate) fn password_problem(error: PasswordError) -> Problem {
    match error {
        PasswordError::Overloaded => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many passwords are being checked")
        }
        error => Problem::field("password", error),
    }
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
pub(crate) async fn renewal(login: &Login, user: &Name, tokens: &Tokens, state: &State) -> Option<String> {
    let logins = tokens.logins.as_ref()?;
    let now = UnixTime::now();
    if !logins.times.renewable(login, now) {
        return None;
    }
    // While nobody can say what they may do by now, the old one does.
    let rights = logins.directory.find(user).await.ok()??.rights;
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

/// The name and password of a request, which must be of one of the hub's own pages if it is of one at all.
async fn read_credentials(request: &HttpRequest, payload: Payload, state: &State) -> Result<(Name, Secret), Problem> {
    if request.headers().contains_key(header::ORIGIN) {
        require_own_origin(request.headers(), request.uri(), state)?;
    }
    let form = match media_type(request).as_str() {
        "application/json" => false,
        "application/x-www-form-urlencoded" => true,
        _ => return Err(wrong_type("application/json or application/x-www-form-urlencoded")),
    };
    let body = read_body(request, payload, state).await?;
    credentials(body.as_str(), form)
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
