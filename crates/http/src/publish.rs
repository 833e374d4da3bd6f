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
use towncrier_wire::{NewEvent, Topic};

use crate::{
    access::Caller,
    answer,
    ingest::{PublishItem, media_type, read_body, require_json, wrong_type},
    json::check_depth,
    problem::Problem,
    state::State,
    trace::Traced,
};

type Outcome = Result<Published, PublishError>;

pub(crate) async fn publish(
    request: HttpRequest,
    payload: Payload,
    state: Data<State>,
) -> Result<HttpResponse, Problem> {
    let item = async {
        require_json(&request)?;
        let body = read_body(&request, payload, &state).await?;
        let item = PublishItem::parse(body.as_str(), state.options.data_bytes)?;
        require_light(item.events.iter().map(NewEvent::cost).sum(), &state)?;
        Ok(item)
    };
    let caller = Caller::of(&request);
    let PublishItem { events, many } =
        item.await.and_then(|item| prepare(item, &caller, &state)).inspect_err(|_| refused(&state, 1))?;
    let refuse = |_: &Problem| refused(&state, events.len());
    state.rates.publish(&request, &events).inspect_err(refuse)?;
    let topics: Vec<_> = events.iter().map(|event| event.topic.clone()).collect();
    let mut outcomes = store(&request, state.hub(), events).await.into_iter();
    Ok(answer::json(&item_answer(&topics, many, &mut outcomes)?))
}

pub(crate) async fn batch(request: HttpRequest, payload: Payload, state: Data<State>) -> Result<HttpResponse, Problem> {
    let lines = match media_type(&request).as_str() {
        "application/json" => false,
        "application/x-ndjson" => true,
        _ => return Err(wrong_type("application/json or application/x-ndjson")),
    };
    let Batch { events, items } = async {
        let body = read_body(&request, payload, &state).await?;
        Batch::parse(&split(body.as_str(), lines)?, &Caller::of(&request), &state)
    }
    .await
    .inspect_err(|_| refused(&state, 1))?;
    state.rates.publish(&request, &events).inspect_err(|_| refused(&state, events.len()))?;
    let mut outcomes = store(&request, state.hub(), events).await.into_iter();
    let answers = items.into_iter().map(|item| {
        let answer = item.and_then(|(topics, many)| item_answer(&topics, many, &mut outcomes));
        answer.unwrap_or_else(|problem| json!({ "error": problem.to_json() }))
    });
    let answers: Vec<Value> = answers.collect();
    if !lines {
        return Ok(answer::json(&answers));
    }
    let body: String = answers.iter().map(|answer| format!("{answer}\n")).collect();
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    Ok(response.insert_header((header::CONTENT_TYPE, "application/x-ndjson")).body(body))
}

/// A batch, parsed: all events of its good items, and of each item its topics and whether it has a list of them.
struct Batch {
    events: Vec<NewEvent>,
    items: Vec<Result<(Vec<Topic>, bool), Problem>>,
}

impl Batch {
    /// Stops as soon as the batch is over a bound: a few bytes of topics may make many events.
    fn parse(items: &[&str], caller: &Caller, state: &State) -> Result<Self, Problem> {
        let max = state.options.batch_events;
        let mut batch = Self { events: Vec::new(), items: Vec::with_capacity(items.len().min(max)) };
        let mut weight = 0;
        for (index, item) in items.iter().enumerate() {
            let item = PublishItem::parse(item, state.options.data_bytes).and_then(|item| prepare(item, caller, state));
            let item = item.map_err(|problem| problem.within(&format!("[{index}]")));
            let item = item.inspect_err(|_| refused(state, 1)).map(|item| {
                let topics = item.events.iter().map(|event| event.topic.clone()).collect();
                weight += item.events.iter().map(NewEvent::cost).sum::<usize>();
                batch.events.extend(item.events);
                (topics, item.many)
            });
            batch.items.push(item);
            if batch.events.len() > max || batch.items.len() > max {
                return Err(Problem::too_large(
                    "body",
                    format_args!("must be at most {max} items, and make as many events"),
                ));
            }
            require_light(weight, state)?;
        }
        Ok(batch)
    }
}

/// Refuses topics that the caller may not publish to: all of an item, if it is one of several; and seals what is to be.
fn prepare(mut item: PublishItem, caller: &Caller, state: &State) -> Result<PublishItem, Problem> {
    for (index, event) in item.events.iter().enumerate() {
        let field = if item.many { format!("topics[{index}]") } else { "topic".to_owned() };
        caller.may_publish(&event.topic, &field, state)?;
    }
    if let Some(sealing) = &state.options.sealing {
        item.events.iter_mut().try_for_each(|event| sealing.seal(event, state.options.data_bytes))?;
    }
    Ok(item)
}

/// Refuses what would never fit among the publishes under way.
fn require_light(weight: usize, state: &State) -> Result<(), Problem> {
    let max = state.hub().options().publish_bytes_max;
    if weight > max {
        return Err(Problem::too_large("body", format_args!("makes events of more than {max} bytes in all")));
    }
    Ok(())
}

/// The items of a batch, each as it stands in the text.
pub(crate) fn split(body: &str, lines: bool) -> Result<Vec<&str>, Problem> {
    if lines {
        return Ok(body.lines().filter(|line| !line.trim().is_empty()).collect());
    }
    check_depth(body, "body")?;
    let items: Vec<&RawValue> = serde_json::from_str(body)
        .map_err(|error| Problem::field("body", format_args!("is no JSON array: {error}")))?;
    Ok(items.into_iter().map(RawValue::get).collect())
}

/// The answer to one item, which takes as many outcomes as it has topics. An item of which some event failed is told as
/// failed: with its idempotency key it can be repeated as a whole.
fn item_answer(topics: &[Topic], many: bool, outcomes: &mut impl Iterator<Item = Outcome>) -> Result<Value, Problem> {
    let outcomes: Vec<_> = topics.iter().zip(outcomes).collect();
    let answers = outcomes.into_iter().map(|(topic, outcome)| Ok(published(topic.as_str(), &outcome?)));
    let mut answers = answers.collect::<Result<Vec<_>, Problem>>()?;
    match answers.pop() {
        Some(only) if !many => Ok(only),
        last => {
            answers.extend(last);
            Ok(json!({ "events": answers }))
        }
    }
}

fn published(topic: &str, published: &Published) -> Value {
    let mut object = Map::new();
    object.insert("id".into(), published.id.to_string().into());
    object.insert("topic".into(), topic.into());
    if published.duplicate {
        object.insert("duplicate".into(), true.into());
    }
    object.into()
}

async fn store(request: &HttpRequest, hub: &Hub, mut events: Vec<NewEvent>) -> Vec<Outcome> {
    if let Some(trace) = Traced::of(request).and_then(|traced| traced.for_events()) {
        events.iter_mut().for_each(|event| event.trace = Some(trace));
    }
    let began = Instant::now();
    let namespaces = hub.namespaces();
    let weights: Vec<_> =
        events.iter().map(|event| (event.data.len() as u64, namespaces.of(event.topic.as_str()))).collect();
    let outcomes = hub.publish(events).await;
    let metrics = hub.metrics();
    metrics.publish_seconds.observe_time(began.elapsed());
    for (outcome, (bytes, namespace)) in outcomes.iter().zip(weights) {
        let result = match outcome {
            Ok(Published { duplicate: false, .. }) => {
                metrics.published_bytes.inc_by(bytes);
                if let Some(namespace) = namespace {
                    namespace.publishes.inc();
                    namespace.published_bytes.inc_by(bytes);
                }
                PublishResult::Stored
            }
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
