//! What every request passes, whatever its route: who may ask at all, and what every answer carries.

use std::time::Instant;

use actix_web::{
    Error, HttpMessage,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
    middleware::Next,
    web::Data,
};
use percent_encoding::percent_decode_str;
use towncrier_telemetry::RefusedReason;
use tracing::Instrument as _;

use crate::{
    access::{self, Auth, Caller, Place},
    body::{Begun, StreamBody},
    client, cors, guard, headers, lean, login,
    problem::Problem,
    routes,
    state::State,
    subscribe,
    trace::Answering,
};

/// The outermost: finds out where a request is from and which trace it is part of, and finishes every answer, whoever gave it.
pub(crate) async fn pass(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(state) = request.app_data::<Data<State>>().cloned() else {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    };
    let answering = Answering::begin(&request, &state.hub().options().tracer);
    let logged = answering.logged.clone();
    let mut answer = finished(request, next, &state).instrument(logged).await?;
    answering.end(&mut answer);
    Ok(answer)
}

async fn finished(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    state: &State,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let began = Instant::now();
    client::note(&request, &state.options.proxies, state.hub().metrics());
    let refused = if state.options.guarded { guard::check(&request, &state.options.origins).err() } else { None };
    let mut answer = match refused {
        Some(problem) => request.error_response(problem).map_into_boxed_body(),
        None => cors::finish(next.call(request).await?),
    };
    routes::count(&answer, began);
    let headers = answer.headers_mut();
    headers::add(headers);
    if state.secure && !state.options.hsts.is_zero() {
        let hsts = HeaderValue::from_str(&format!("max-age={}", state.options.hsts.as_secs()));
        if let Ok(value) = hsts {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, value);
        }
    }
    if answer.request().extensions().contains::<lean::Direct>() {
        return Ok(answer);
    }
    // Here, as a body that passes through layers is asked through all of them for every event.
    Ok(match Begun::take(answer.request()) {
        Some(begun) => answer.map_body(|_, _| BoxBody::new(StreamBody::from(begun))),
        None => answer,
    })
}

/// The innermost: finds out who asks, and whether they may. Behind this is the handler.
pub(crate) async fn identify(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(state) = request.app_data::<Data<State>>().cloned() else {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    };
    let change = change_of(&request);
    let mut answer = match access::let_in(&request, &state).await {
        Ok(()) => next.call(request).await?.map_into_boxed_body(),
        Err(problem) => refuse(request, problem, &state),
    };
    if let Some((method, path)) = change {
        audit(&method, &path, &answer);
    }
    if let Some(cookie) = renewed_cookie(&answer, &state).await {
        answer.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(answer)
}

/// An `EventSource` that cannot be judged now, because the keys are away, comes back; all else is a problem.
fn refuse(request: ServiceRequest, problem: Problem, state: &State) -> ServiceResponse<BoxBody> {
    let mut answer = request.error_response(problem);
    if answer.status() == StatusCode::SERVICE_UNAVAILABLE
        && let Ok(later) = subscribe::refuse(answer.request(), state, RefusedReason::Unjudged.into())
    {
        answer = answer.into_response(later);
    }
    answer.map_into_boxed_body()
}

/// The method and path of a change by an administrator; not its query, which may hold a token.
fn change_of(request: &ServiceRequest) -> Option<(String, String)> {
    let path = percent_decode_str(request.path()).decode_utf8_lossy();
    let is_change =
        path.starts_with("/admin/v1/") && !path.starts_with("/admin/v1/publish") && !request.method().is_safe();
    is_change.then(|| (request.method().to_string(), path.into_owned()))
}

/// Says who has changed what.
fn audit(method: &str, path: &str, answer: &ServiceResponse<BoxBody>) {
    let caller = Caller::of(answer.request());
    let user = caller.user().map(ToString::to_string);
    let (status, remote) = (answer.status().as_u16(), client::address(answer.request()));
    tracing::info!(target: "towncrier::audit", user, remote = remote.map(display), status, "{method} {path}");
}

/// A login's cookie is renewed while it is used.
async fn renewed_cookie(answer: &ServiceResponse<BoxBody>, state: &State) -> Option<HeaderValue> {
    let Auth::Tokens(tokens) = &state.options.auth else { return None };
    let Caller::Known(known) = Caller::of(answer.request()) else { return None };
    if known.place != Place::Cookie || answer.headers().contains_key(header::SET_COOKIE) {
        return None;
    }
    let (login, user) = (known.identity.login.as_ref()?, known.identity.user.as_ref()?);
    HeaderValue::from_str(&login::renewal(login, user, tokens, state).await?).ok()
}
