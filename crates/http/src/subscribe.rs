//! `GET /events` and `GET /topics/{topic}/events`.

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::Data,
};
use towncrier_actors::SessionSpec;
use towncrier_telemetry::RefusedReason;
use towncrier_wire::{Name, Selectors, SelectorsError, Start, limits::LAST_MAX, sse};

use crate::{
    access::Caller,
    admission::Refused,
    body::Begun,
    client,
    problem::Problem,
    query::{Query, decode_path},
    state::State,
    trace::Traced,
};

/// The longest time after which a client that was refused comes back, in ms.
const REFUSED_RETRY_MS: u64 = 60_000;

/// Query parameters that may carry a cursor: polyfills do not agree on one.
const CURSOR_PARAMETERS: [&str; 4] = ["lastEventId", "last_event_id", "lastEventID", "cursor"];

pub(crate) async fn events(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    subscribe(&request, &state, None)
}

pub(crate) async fn topic_events(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    let path = request.uri().path();
    let topic = path.strip_prefix("/topics/").and_then(|rest| rest.strip_suffix("/events")).unwrap_or_default();
    let topic = decode_path(topic, "topic")?;
    subscribe(&request, &state, Some(&topic))
}

fn subscribe(request: &HttpRequest, state: &State, topic: Option<&str>) -> Result<HttpResponse, Problem> {
    let spec = spec(request, state, topic)?;
    if spec.start == Start::Closed {
        return Ok(HttpResponse::NoContent().finish());
    }
    if state.hub().is_draining() {
        state.hub().metrics().connections_refused.of(RefusedReason::Draining).inc();
        return refuse(request, state, RefusedReason::Draining.into());
    }
    match state.admission.admit(spec.remote) {
        Ok(admitted) => {
            request.extensions_mut().insert(Begun { stream: state.worker.subscribe(spec), admitted });
            Ok(stream_head().finish())
        }
        Err(refused) => refuse(request, state, refused),
    }
}

/// What a request to subscribe or to poll asks for.
pub(crate) fn spec(request: &HttpRequest, state: &State, topic: Option<&str>) -> Result<SessionSpec, Problem> {
    let query = Query::parse(request.query_string())?;
    if topic.is_some() && query.get("topic").is_some() {
        return Err(Problem::field("topic", "must not be in the query beside the one in the path"));
    }
    let selectors = match topic {
        Some(topic) => Selectors::new([topic], 1),
        None => Selectors::new(query.all("topic"), state.options.selectors),
    };
    let many = query.all("topic").nth(1).is_some();
    let selectors = selectors.map_err(|error| match error {
        SelectorsError::Selector { index, error } if many => Problem::field(format!("topic[{index}]"), error),
        error => Problem::field("topic", error),
    })?;
    let heartbeat_events = match query.get("heartbeat") {
        None | Some("comment") => false,
        Some("event") => true,
        Some(_) => return Err(Problem::field("heartbeat", "must be event or comment")),
    };
    let caller = Caller::of(request);
    caller.may_subscribe(&selectors, state)?;
    let claimed = query.get("user").map(|user| Name::new(user).map_err(|error| Problem::field("user", error)));
    let user = match (&caller, claimed.transpose()?) {
        (Caller::Anyone, claimed) => claimed,
        // With tokens, users are who the token says they are.
        (_, Some(_)) => return Err(Problem::field("user", "is what the token says, and not a parameter")),
        (caller, None) => caller.user().cloned(),
    };
    Ok(SessionSpec {
        selectors,
        start: start(request, &query, state)?,
        user,
        remote: client::address(request),
        heartbeat_events,
        lifetime: caller.lifetime(),
        trace: Traced::of(request).map(|traced| traced.own()),
    })
}

fn start(request: &HttpRequest, query: &Query<'_>, state: &State) -> Result<Start, Problem> {
    let partitions = state.hub().partitions();
    if let Some(value) = request.headers().get("last-event-id").filter(|value| !value.is_empty()) {
        // Bytes that are no text are no cursor either; the request is answered all the same.
        return Ok(value.to_str().map_or(Start::Unknown, |text| Start::from_cursor(text, partitions)));
    }
    let cursor = CURSOR_PARAMETERS.iter().find_map(|name| query.get(name).filter(|cursor| !cursor.is_empty()));
    if let Some(cursor) = cursor {
        return Ok(Start::from_cursor(cursor, partitions));
    }
    let last = query.number("last", 1, u64::from(LAST_MAX))?;
    Ok(last.map_or(Start::Live, |count| Start::Last(count as u32)))
}

fn stream_head() -> actix_web::HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-store, no-transform"))
        .insert_header(("X-Accel-Buffering", "no"));
    response
}

/// Any status but 200 would stop an `EventSource` for good, so it is told to come back later; others get an error.
pub(crate) fn refuse(request: &HttpRequest, state: &State, refused: Refused) -> Result<HttpResponse, Problem> {
    let Refused { reason, wait } = refused;
    let accepts = request.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    if accepts.into_iter().any(|accept| accept.contains("text/event-stream")) {
        let retry_ms = match reason {
            // Another node has room now.
            RefusedReason::Draining | RefusedReason::Unjudged => state.hub().options().draw_retry_ms(),
            // Rates are in the long run of seconds, so what is left to wait is less than this.
            _ => fastrand::u64(REFUSED_RETRY_MS / 12..=REFUSED_RETRY_MS),
        };
        return Ok(stream_head().force_close().body(sse::retry(retry_ms)));
    }
    Err(match reason {
        RefusedReason::Address => Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many connections from this address"),
        RefusedReason::Total => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many connections"),
        RefusedReason::AddressRate => {
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many new connections from this address").after(wait)
        }
        RefusedReason::Rate => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many new connections").after(wait),
        RefusedReason::Draining => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the hub is stopping"),
        RefusedReason::Unjudged => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "tokens cannot be checked now"),
    })
}
