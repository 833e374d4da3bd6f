//! Events from publishers: from bytes to checked values.

use std::time::Duration;

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
    Options,
    json::{self, Object},
    problem::Problem,
};

/// Reads a request's body as text.
pub(crate) async fn read_body(
    request: &HttpRequest,
    mut payload: Payload,
    options: &Options,
) -> Result<String, Problem> {
    let too_large = || Problem::too_large("body", format_args!("must be at most {} bytes", options.body_bytes));
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > options.body_bytes) {
        return Err(too_large());
    }
    let mut body = Vec::with_capacity(length.unwrap_or(0));
    let read = async {
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| Problem::field("body", error))?;
            if body.len() + chunk.len() > options.body_bytes {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(())
    };
    let limit: Duration = options.request_body_timeout;
    let late = |_| Problem::field("body", "was not sent in time").with_status(StatusCode::REQUEST_TIMEOUT);
    timeout(limit, read).await.map_err(late)??;
    String::from_utf8(body).map_err(|_| Problem::field("body", "is not UTF-8"))
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
    pub(crate) fn parse(text: &str, options: &Options) -> Result<Self, Problem> {
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
        let Content { event_type, data } = Content::of(&object, options)?;
        let events = topics
            .into_iter()
            .map(|topic| NewEvent {
                topic,
                event_type: event_type.clone(),
                data: data.clone(),
                idempotency_key: key.clone(),
            })
            .collect();
        Ok(Self { events, many })
    }
}

/// What an event says, wherever it goes.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) event_type: Option<EventType>,
    pub(crate) data: Box<str>,
}

impl Content {
    /// The content of a direct event.
    pub(crate) fn parse(text: &str, options: &Options) -> Result<Self, Problem> {
        Self::of(&Object::parse(text, "body", &["event", "data"])?, options)
    }

    fn of(object: &Object<'_>, options: &Options) -> Result<Self, Problem> {
        let event_type = object.text("event")?;
        let event_type =
            event_type.map(|text| EventType::new(&text).map_err(|error| Problem::field("event", error))).transpose()?;
        let data = data(object.raw("data").ok_or_else(|| Problem::field("data", "is missing"))?)?;
        let max = options.data_bytes;
        if sse::data_weight(&data) > max {
            return Err(Problem::too_large(
                "data",
                format_args!("must be at most {max} bytes, and 7 less for each line end"),
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
