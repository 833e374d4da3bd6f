//! Events from publishers: from bytes to checked values.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::{
    HttpRequest,
    http::{StatusCode, header},
    web::Payload,
};
use futures_util::StreamExt;
use serde_json::value::RawValue;
use tokio::time::timeout;
use towncrier_wire::{EventType, Name, NewEvent, Topic, limits::PUBLISH_TOPICS_MAX, sse};

use crate::{
    json::{self, Object},
    problem::Problem,
    state::State,
};

/// Most bytes of bodies that are being read at a time, by all workers together.
const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes of bodies that are held.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bodies(Arc<AtomicUsize>);

/// A request's body as text, which counts as long as it is held.
#[derive(Debug)]
pub(crate) struct Body {
    text: String,
    _held: Held,
}

#[derive(Debug)]
struct Held {
    bodies: Bodies,
    bytes: usize,
}

impl Body {
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

impl Held {
    fn add(&mut self, bytes: usize) -> Result<(), Problem> {
        self.bytes += bytes;
        if self.bodies.0.fetch_add(bytes, Ordering::Relaxed) + bytes > BODY_BYTES_MAX {
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too much is being sent to the hub at once"));
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.bodies.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Reads a request's body.
pub(crate) async fn read_body(request: &HttpRequest, mut payload: Payload, state: &State) -> Result<Body, Problem> {
    let max = state.options.body_bytes;
    let too_large = || Problem::too_large("body", format_args!("must be at most {max} bytes"));
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > max) {
        return Err(too_large());
    }
    let mut held = Held { bodies: state.bodies.clone(), bytes: 0 };
    let mut body = Vec::new();
    let read = async {
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| Problem::field("body", error))?;
            if body.len() + chunk.len() > max {
                return Err(too_large());
            }
            held.add(chunk.len())?;
            body.extend_from_slice(&chunk);
        }
        Ok(())
    };
    let limit: Duration = state.options.request_body_timeout;
    let late = |_| Problem::field("body", "was not sent in time").with_status(StatusCode::REQUEST_TIMEOUT);
    timeout(limit, read).await.map_err(late)??;
    let text = String::from_utf8(body).map_err(|_| Problem::field("body", "is not UTF-8"))?;
    Ok(Body { text, _held: held })
}

/// The media type of a request, without its parameters, in lower case.
pub(crate) fn media_type(request: &HttpRequest) -> String {
    let value = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Refuses a request that is not JSON. Browsers ask before they send JSON to another site, so this also keeps foreign
/// pages from publishing with their visitors' network access.
pub(crate) fn require_json(request: &HttpRequest) -> Result<(), Problem> {
    match media_type(request).as_str() {
        "application/json" => Ok(()),
        _ => Err(wrong_type("application/json")),
    }
}

pub(crate) fn wrong_type(expected: &str) -> Problem {
    Problem::field("Content-Type", format_args!("must be {expected}")).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
}

/// A publish, as one request or item asks for it.
#[derive(Debug)]
pub(crate) struct PublishItem {
    /// One event for each topic.
    pub(crate) events: Vec<NewEvent>,
    /// Whether it came as `topics`, and is answered by a list.
    pub(crate) many: bool,
}

impl PublishItem {
    /// Refuses data that weighs more than `data_bytes_max`, see [`sse::data_weight`].
    pub(crate) fn parse(text: &str, data_bytes_max: usize) -> Result<Self, Problem> {
        let object = Object::parse(text, "body", &["topic", "topics", "event", "data", "idempotency_key"])?;
        let topic = |text: &str, field: &str| Topic::new(text).map_err(|error| Problem::field(field, error));
        let (topics, many) = match (object.text("topic")?, object.texts("topics")?) {
            (Some(_), Some(_)) => return Err(Problem::field("topics", "must not be given beside topic")),
            (None, None) => return Err(Problem::field("topic", "is missing")),
            (Some(one), None) => (vec![topic(&one, "topic")?], false),
            (None, Some(texts)) if texts.is_empty() || texts.len() > PUBLISH_TOPICS_MAX => {
                return Err(Problem::field("topics", format_args!("must be 1 to {PUBLISH_TOPICS_MAX} topics")));
            }
            (None, Some(texts)) => {
                let each = texts.iter().enumerate().map(|(index, text)| topic(text, &format!("topics[{index}]")));
                (each.collect::<Result<_, _>>()?, true)
            }
        };
        let key = object.text("idempotency_key")?;
        let key =
            key.map(|key| Name::new(&key).map_err(|error| Problem::field("idempotency_key", error))).transpose()?;
        let Content { event_type, data } = Content::of(&object, data_bytes_max)?;
        let events = topics
            .into_iter()
            .map(|topic| NewEvent {
                topic,
                event_type: event_type.clone(),
                data: data.clone(),
                idempotency_key: key.clone(),
                trace: None,
            })
            .collect();
        Ok(Self { events, many })
    }
}

/// What an event says, wherever it goes.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) event_type: Option<EventType>,
    pub(crate) data: Arc<str>,
}

impl Content {
    /// The content of a direct event.
    pub(crate) fn parse(text: &str, data_bytes_max: usize) -> Result<Self, Problem> {
        Self::of(&Object::parse(text, "body", &["event", "data"])?, data_bytes_max)
    }

    fn of(object: &Object<'_>, data_bytes_max: usize) -> Result<Self, Problem> {
        let event_type = object.text("event")?;
        let event_type =
            event_type.map(|text| EventType::new(&text).map_err(|error| Problem::field("event", error))).transpose()?;
        let data = data(object.raw("data").ok_or_else(|| Problem::field("data", "is missing"))?)?;
        if sse::data_weight(&data) > data_bytes_max {
            return Err(Problem::too_large(
                "data",
                format_args!("must be at most {data_bytes_max} bytes, and 7 less for each line end"),
            ));
        }
        Ok(Self { event_type, data: data.into() })
    }
}

/// A string as it is, anything else as compact JSON.
fn data(value: &RawValue) -> Result<String, Problem> {
    if value.get().starts_with('"') {
        return Ok(json::text(value, "data")?.into_owned());
    }
    Ok(json::compact(value.get()))
}
