//! `POST /admin/v1/publish` and `/publish/batch`.

use std::time::Instant;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Payload},
};
use serde_json::{Map, Value, json, value::RawValue};
use towncrier_actors::{Hub, PublishError};
use towncrier_backplane::Published;
use towncrier_telemetry::PublishResult;
use towncrier_wire::NewEvent;

use crate::{
    answer,
    ingest::{PublishItem, media_type, read_body, require_json, wrong_type},
    json::check_depth,
    problem::Problem,
    state::State,
};

type Outcome = Result<Published, PublishError>;

pub(crate) async fn publish(
    request: HttpRequest,
    payload: Payload,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    let item = async {
        require_json(&request)?;
        let body = read_body(&request, payload, &state.options).await?;
        PublishItem::parse(&body, &state.options)
    };
    let item = item.await.inspect_err(|_| refused(&state, 1))?;
    let PublishItem { events, many } = item;
    let topics: Vec<_> = events.iter().map(|event| event.topic.clone()).collect();
    let outcomes = store(state.hub(), events).await;
    let answers = topics.iter().zip(outcomes).map(|(topic, outcome)| published(topic.as_str(), &outcome?));
    let answers = answers.collect::<Result<Vec<_>, Problem>>()?;
    Ok(answer::json(&item_answer(answers, many)))
}

pub(crate) async fn batch(request: HttpRequest, payload: Payload, state: Data<State>) -> Result<HttpResponse, Problem> {
    let lines = match media_type(&request).as_str() {
        "application/json" => false,
        "application/x-ndjson" => true,
        _ => return Err(wrong_type("application/json or application/x-ndjson")),
    };
    let body = read_body(&request, payload, &state.options).await.inspect_err(|_| refused(&state, 1))?;
    let items = split(&body, lines).inspect_err(|_| refused(&state, 1))?;
    let max = state.options.batch_events;
    if items.len() > max {
        refused(&state, items.len());
        return Err(Problem::too_large("body", format_args!("must be at most {max} items")));
    }

    let items: Vec<_> = items
        .into_iter()
        .enumerate()
        .map(|(index, item)| {
            PublishItem::parse(item, &state.options).map_err(|problem| problem.within(&format!("[{index}]")))
        })
        .collect();
    let mut events = Vec::new();
    for item in items.iter().flatten() {
        events.extend(item.events.iter().cloned());
    }
    if events.len() > max {
        refused(&state, events.len());
        return Err(Problem::too_large("body", format_args!("must make at most {max} events")));
    }
    let mut outcomes = store(state.hub(), events).await.into_iter();
    let answers: Vec<Value> = items.into_iter().map(|item| batch_answer(item, &mut outcomes, &state)).collect();
    if !lines {
        return Ok(answer::json(&answers));
    }
    let body: String = answers.iter().map(|answer| format!("{answer}\n")).collect();
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    Ok(response.insert_header((header::CONTENT_TYPE, "application/x-ndjson")).body(body))
}

/// The items of a batch, each as it stands in the text.
fn split(body: &str, lines: bool) -> Result<Vec<&str>, Problem> {
    if lines {
        return Ok(body.lines().filter(|line| !line.trim().is_empty()).collect());
    }
    check_depth(body, "body")?;
    let items: Vec<&RawValue> = serde_json::from_str(body)
        .map_err(|error| Problem::field("body", format_args!("is no JSON array: {error}")))?;
    Ok(items.into_iter().map(RawValue::get).collect())
}

/// The answer to one item, which takes as many outcomes as the item made events. An item of which some event failed is
/// told as failed: with its idempotency key it can be repeated as a whole.
fn batch_answer(
    item: Result<PublishItem, Problem>,
    outcomes: &mut impl Iterator<Item = Outcome>,
    state: &State,
) -> Value {
    let answer = item.inspect_err(|_| refused(state, 1)).and_then(|item| {
        let outcomes: Vec<_> = item.events.iter().zip(outcomes).collect();
        let answers = outcomes.into_iter().map(|(event, outcome)| published(event.topic.as_str(), &outcome?));
        Ok(item_answer(answers.collect::<Result<_, Problem>>()?, item.many))
    });
    answer.unwrap_or_else(|problem| json!({ "error": problem.to_json() }))
}

fn item_answer(mut answers: Vec<Value>, many: bool) -> Value {
    match answers.pop() {
        Some(only) if !many => only,
        last => {
            answers.extend(last);
            json!({ "events": answers })
        }
    }
}

fn published(topic: &str, published: &Published) -> Result<Value, Problem> {
    let mut object = Map::new();
    object.insert("id".into(), published.id.to_string().into());
    object.insert("topic".into(), topic.into());
    if published.duplicate {
        object.insert("duplicate".into(), true.into());
    }
    Ok(object.into())
}

async fn store(hub: &Hub, events: Vec<NewEvent>) -> Vec<Outcome> {
    let began = Instant::now();
    let outcomes = hub.publish(events).await;
    let metrics = hub.metrics();
    metrics.publish_seconds.observe(began.elapsed().as_secs_f64());
    for outcome in &outcomes {
        let result = match outcome {
            Ok(Published { duplicate: false, .. }) => PublishResult::Stored,
            Ok(Published { duplicate: true, .. }) => PublishResult::Duplicate,
            Err(PublishError::Overloaded) => PublishResult::Refused,
            Err(PublishError::Backplane(_)) => PublishResult::Failed,
        };
        metrics.publishes.of(result).inc();
    }
    outcomes
}

fn refused(state: &State, count: usize) {
    state.hub().metrics().publishes.of(PublishResult::Refused).inc_by(count as u64);
}
