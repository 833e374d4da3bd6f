//! Topics and their history.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde_json::Map;
use towncrier_actors::{
    Gathered, ListListened,
    messages::{AskTopic, ListTopics, Read},
};
use towncrier_core::replay::{From, Page, Request};
use towncrier_wire::{Cursor, EventId, Gap, GapReason, Selectors, Topic, limits::PARTITIONS_MAX};

use super::{between, limit, stopping};
use crate::{
    answer,
    problem::Problem,
    query::{Query, decode_path},
    state::State,
};

/// From how many bytes on a page of history takes no more events.
const HISTORY_BYTES: usize = 1024 * 1024;

pub(crate) async fn list(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    let query = Query::parse(request.query_string())?;
    query.allow(&["prefix", "after", "limit"])?;
    let limit = limit(&query)?;
    let prefix = query.get("prefix").unwrap_or_default().to_owned();
    let after = query.get("after").map(str::to_owned);

    // One more of each, to know whether there is another page.
    let stored = ListTopics { prefix: prefix.clone(), after: after.clone(), limit: limit + 1 };
    let stored = state.hub().bridge().send(stored).await.map_err(stopping)??;
    let listened = ListListened { prefix, after, limit: limit + 1 };
    let Gathered { value: listened, mut unanswered } = state.hub().listened(listened).await?;
    let mut topics: Vec<Topic> = stored.iter().map(|info| info.topic.clone()).chain(listened).collect();
    topics.sort_unstable();
    topics.dedup();
    let more = topics.len() > limit;
    topics.truncate(limit);

    let counts = state.hub().count_listeners(topics.clone()).await?;
    unanswered.extend(counts.unanswered);
    unanswered.sort_unstable();
    unanswered.dedup();
    let lines = topics.iter().zip(counts.value).map(|(topic, sessions)| {
        let info = stored.binary_search_by(|info| info.topic.cmp(topic)).ok().map(|index| &stored[index]);
        answer::topic_line(topic.as_str(), sessions, info)
    });
    let next = topics.last().filter(|_| more).map(|topic| topic.as_str().to_owned());
    Ok(answer::page("topics", Gathered { value: lines.collect(), unanswered }, next))
}

pub(crate) async fn show(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    let topic = topic(&request, "")?;
    let info = state.hub().bridge().send(AskTopic(topic.clone())).await.map_err(stopping)??;
    let Gathered { value: counts, unanswered } = state.hub().count_listeners(vec![topic.clone()]).await?;
    let sessions = counts.first().copied().unwrap_or(0);
    if info.is_none() && sessions == 0 {
        return Err(unknown());
    }
    let info = info.as_ref();
    let mut object = Map::new();
    object.insert("topic".into(), topic.as_str().into());
    object.insert("sessions".into(), sessions.into());
    object.insert("events".into(), info.map_or(0, |info| info.events).into());
    object.insert("bytes".into(), info.map_or(0, |info| info.bytes).into());
    object.insert("first_id".into(), info.and_then(|info| info.first_id).map(|id| id.to_string()).into());
    object.insert("last_id".into(), info.map(|info| info.last_id.to_string()).into());
    Ok(answer::json(&answer::with_unanswered(object, unanswered)))
}

pub(crate) async fn history(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    let topic = topic(&request, "/history")?;
    let query = Query::parse(request.query_string())?;
    query.allow(&["after", "limit"])?;
    let limit = limit(&query)?;
    let after = query.get("after").map(|text| text.parse::<EventId>().map_err(|error| Problem::field("after", error)));
    let after = after.transpose()?;
    if state.hub().bridge().send(AskTopic(topic.clone())).await.map_err(stopping)??.is_none() {
        return Err(unknown());
    }

    let mut page = read(&state, &topic, after).await?;
    let mut gap = gap_of(&page, &topic);
    let mut events = std::mem::take(&mut page.events);
    let mut bytes: usize = events.iter().map(|event| event.frame().len()).sum();
    while events.len() <= limit && bytes < HISTORY_BYTES && page.more {
        let last = events.last().map(|event| event.id());
        page = read(&state, &topic, last.or(after)).await?;
        gap = gap.or_else(|| gap_of(&page, &topic));
        bytes += page.events.iter().map(|event| event.frame().len()).sum::<usize>();
        events.append(&mut page.events);
    }
    let more = events.len() > limit || page.more;
    events.truncate(limit);

    let mut object = Map::new();
    if let Some(next) = events.last().filter(|_| more) {
        object.insert("next".into(), next.id().to_string().into());
    }
    object.insert("events".into(), events.iter().map(|event| answer::event(event)).collect::<Vec<_>>().into());
    if let Some(gap) = gap {
        object.insert("gap".into(), answer::gap(&gap));
    }
    Ok(answer::json(&object))
}

async fn read(state: &State, topic: &Topic, after: Option<EventId>) -> Result<Page, Problem> {
    let selectors = Selectors::new([topic.as_str()], 1).map_err(|error| Problem::field("topic", error))?;
    let partitions = state.hub().partitions();
    let from = after.map_or(From::Earliest, |after| From::After(Cursor::everywhere(partitions, after)));
    let request = Request { selectors, from, upto: [EventId::MAX; PARTITIONS_MAX] };
    Ok(state.hub().history().send(Read(request)).await.map_err(stopping)??.page)
}

fn gap_of(page: &Page, topic: &Topic) -> Option<Gap> {
    if !page.floors.is_empty() {
        return Some(Gap::new(GapReason::BackplaneLost, Vec::new()));
    }
    (!page.lost.is_empty()).then(|| Gap::new(GapReason::Expired, vec![topic.clone()]))
}

pub(crate) async fn clear(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, Problem> {
    let topic = topic(&request, "/history")?;
    if state.hub().bridge().send(AskTopic(topic.clone())).await.map_err(stopping)??.is_none() {
        return Err(unknown());
    }
    let Gathered { value: deleted, unanswered } = state.hub().clear(topic).await?;
    let object = Map::from_iter([("deleted".to_owned(), deleted.into())]);
    Ok(answer::json(&answer::with_unanswered(object, unanswered)))
}

/// The topic of a path, which may itself have slashes, encoded or not.
pub(crate) fn topic(request: &HttpRequest, suffix: &str) -> Result<Topic, Problem> {
    let raw = between(request.uri().path(), "/admin/v1/topics/", suffix);
    Topic::new(&decode_path(raw, "topic")?).map_err(|error| Problem::field("topic", error))
}

fn unknown() -> Problem {
    Problem::not_found("nobody knows this topic")
}
