//! JSON answers.

use actix_web::{HttpResponse, http::header};
use serde::Serialize;
use serde_json::{Map, Value, json};
use towncrier_actors::{Gathered, SessionInfo};
use towncrier_core::store::TopicInfo;
use towncrier_wire::{Event, Gap, Name, Selector};

/// 200 with JSON that no cache keeps.
pub(crate) fn json(value: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(serde_json::to_string(value).unwrap_or_default())
}

pub(crate) fn event(event: &Event) -> Value {
    let mut object = Map::new();
    object.insert("id".into(), event.id().to_string().into());
    object.insert("topic".into(), event.topic().as_str().into());
    if let Some(event_type) = event.event_type() {
        object.insert("event".into(), event_type.as_str().into());
    }
    object.insert("data".into(), event.received_data().into());
    object.into()
}

pub(crate) fn gap(gap: &Gap) -> Value {
    serde_json::to_value(gap).unwrap_or_default()
}

pub(crate) fn session(info: &SessionInfo) -> Value {
    json!({
        "id": info.id.as_str(),
        "user": info.user.as_ref().map(Name::as_str),
        "selectors": info.selectors.iter().map(Selector::as_str).collect::<Vec<_>>(),
        "remote": info.remote.map(|address| address.to_string()),
        "connected_at": info.connected_at,
        "node": info.node,
    })
}

/// One line of the list of topics.
pub(crate) fn topic_line(topic: &str, sessions: usize, info: Option<&TopicInfo>) -> Value {
    json!({
        "topic": topic,
        "sessions": sessions,
        "events": info.map_or(0, |info| info.events),
        "last_id": info.map(|info| info.last_id.to_string()),
    })
}

/// A list under a name, with where to go on if it was cut, and which nodes it does not speak for.
pub(crate) fn page(name: &str, items: Gathered<Vec<Value>>, next: Option<String>) -> HttpResponse {
    let mut object = Map::new();
    object.insert(name.to_owned(), items.value.into());
    if let Some(next) = next {
        object.insert("next".into(), next.into());
    }
    json(&with_unanswered(object, items.unanswered))
}

/// An answer that says which nodes it does not speak for, if there are any.
pub(crate) fn with_unanswered(mut object: Map<String, Value>, unanswered: Vec<String>) -> Map<String, Value> {
    if !unanswered.is_empty() {
        object.insert("unanswered".into(), unanswered.into());
    }
    object
}
