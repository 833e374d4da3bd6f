//! What is read: history, topics, heads.

use std::sync::{Arc, atomic::Ordering};

use futures_util::future::try_join_all;
use towncrier_backplane::BackplaneError;
use towncrier_core::{
    TopicRead,
    store::{TopicInfo, Totals},
};
use towncrier_wire::{Event, EventId, Heads, Topic, limits::PARTITIONS_MAX};

use crate::{
    answers,
    commands::{Commands, number, text},
    message::event_type_of,
    options::millis,
    scripts,
};

/// Most events, and most bytes of data, of one answer.
const PAGE_EVENTS: usize = 1000;
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Most topics that one sweep touches, so that nobody waits for it long.
const SWEEP_TOPICS: usize = 200;

/// Topics of a partition that have events from a time on.
pub(crate) struct Changes {
    pub(crate) head: EventId,
    pub(crate) floor: EventId,
    /// The ms of the last one named.
    pub(crate) upto_ms: u64,
    pub(crate) topics: Vec<(Topic, EventId)>,
}

impl Commands {
    /// Reads a topic after an id: as many pages as are needed for `limit` events, or for what there is.
    pub(crate) async fn read(&self, topic: &Topic, after: EventId, limit: usize) -> Result<TopicRead, BackplaneError> {
        let mut whole = self.page(topic, after, limit.min(PAGE_EVENTS), PAGE_BYTES).await?;
        while let Some(last) = whole.events.last().map(|event| event.id()).filter(|_| whole.more) {
            if whole.events.len() >= limit {
                break;
            }
            let next = self.page(topic, last, (limit - whole.events.len()).min(PAGE_EVENTS), PAGE_BYTES).await?;
            let head = whole.head;
            if next.trimmed > last {
                // What was read was let go of meanwhile, and more: only this is still true.
                whole = next;
            } else {
                whole.more = next.more;
                whole.events.extend(next.events);
            }
            whole.head = head;
        }
        Ok(whole)
    }

    /// One answer's worth of a topic after an id.
    pub(crate) async fn page(
        &self,
        topic: &Topic,
        after: EventId,
        limit: usize,
        bytes_max: usize,
    ) -> Result<TopicRead, BackplaneError> {
        let partition = self.partition(topic);
        let names = &self.keys[partition];
        let keys = vec![names.meta.clone(), names.topics.clone(), names.due.clone(), names.stream(topic)];
        let more = vec![text(topic.as_str()), text(after.to_string()), number(limit), number(bytes_max)];
        let answer = self.run(&scripts::READ, partition, keys, more).await?;

        let [head, trimmed, more, found] = answers::exactly(answer)?;
        let head = answers::id(&head)?;
        self.saw(partition, head);
        let found = answers::list(found)?;
        let mut events = Vec::with_capacity(found.len() / 4);
        for fields in found.chunks_exact(4) {
            match event(topic, fields) {
                Some(event) => events.push(event),
                None => tracing::warn!(%topic, "an entry of the topic's stream is not the hub's and is skipped"),
            }
        }
        Ok(TopicRead { trimmed: answers::id(&trimmed)?, events, more: answers::count(&more)? > 0, head })
    }

    /// The head and the floor of each partition; if there is a nonce, with a beat on this node's own channels.
    pub(crate) async fn heads(&self, nonce: Option<u64>) -> Result<(Heads, Heads), BackplaneError> {
        let asks = (0..self.keys.len()).map(|partition| self.head(partition, nonce));
        let answers = try_join_all(asks).await?;
        let mut both = ([EventId::ZERO; PARTITIONS_MAX], [EventId::ZERO; PARTITIONS_MAX]);
        for (partition, (head, floor)) in answers.into_iter().enumerate() {
            both.0[partition] = head;
            both.1[partition] = floor;
        }
        Ok(both)
    }

    /// The same for one partition.
    pub(crate) async fn head(
        &self,
        partition: usize,
        nonce: Option<u64>,
    ) -> Result<(EventId, EventId), BackplaneError> {
        let names = &self.keys[partition];
        let channel = if nonce.is_some() { names.beats.as_str() } else { "" };
        let beat = format!("h {partition} {}", nonce.unwrap_or_default());
        let more = vec![text(self.node.to_string()), text(channel), text(self.tell()), text(beat)];
        let keys = vec![names.meta.clone(), names.nodes.clone()];
        let answer = self.run(&scripts::HEADS, partition, keys, more).await?;
        let [head, floor, joins] = answers::exactly(answer)?;
        self.joins[partition].store(answers::count(&joins)? as u64, Ordering::Relaxed);
        let (head, floor) = (answers::id(&head)?, answers::id(&floor)?);
        self.saw(partition, head);
        Ok((head, floor))
    }

    /// Topics of a partition with events from a time on, oldest first, at most `limit`.
    pub(crate) async fn changes(
        &self,
        partition: usize,
        from_ms: u64,
        limit: usize,
    ) -> Result<Changes, BackplaneError> {
        let names = &self.keys[partition];
        let keys = vec![names.meta.clone(), names.topics.clone(), names.recent.clone()];
        let answer =
            self.run(&scripts::CHANGES, partition, keys, vec![text(from_ms.to_string()), number(limit)]).await?;
        let [head, floor, upto, found] = answers::exactly(answer)?;
        let mut topics = Vec::new();
        for pair in answers::list(found)?.chunks_exact(2) {
            if let (Ok(name), Ok(last)) = (answers::str(&pair[0]), answers::id(&pair[1]))
                && let Ok(topic) = Topic::new(name)
            {
                topics.push((topic, last));
            }
        }
        let head = answers::id(&head)?;
        self.saw(partition, head);
        Ok(Changes { head, floor: answers::id(&floor)?, upto_ms: answers::count(&upto)? as u64, topics })
    }

    /// Topics in a range of names of all partitions, in order.
    pub(crate) async fn topics(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<TopicInfo>, BackplaneError> {
        let asks = (0..self.keys.len()).map(|partition| self.topics_of(partition, from, to, limit));
        let mut all: Vec<_> = try_join_all(asks).await?.into_iter().flatten().collect();
        all.sort_unstable_by(|one, other| one.topic.cmp(&other.topic));
        all.truncate(limit);
        Ok(all)
    }

    /// The same for one partition.
    pub(crate) async fn topics_of(
        &self,
        partition: usize,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<TopicInfo>, BackplaneError> {
        let names = &self.keys[partition];
        let keys = [&names.meta, &names.topics, &names.names, &names.due].map(Clone::clone).to_vec();
        let bytes = |bytes: &[u8]| fred::types::Value::Bytes(bytes::Bytes::copy_from_slice(bytes));
        let more = vec![bytes(from), bytes(to), number(limit), text(names.streams.as_str())];
        let answer = self.run(&scripts::TOPICS, partition, keys, more).await?;
        let mut found = Vec::new();
        for fields in answers::list(answer)?.chunks_exact(5) {
            let Ok(topic) = Topic::new(answers::str(&fields[0])?) else { continue };
            let first = answers::str(&fields[4])?;
            found.push(TopicInfo {
                topic,
                last_id: answers::id(&fields[1])?,
                events: answers::count(&fields[2])?,
                bytes: answers::count(&fields[3])?,
                first_id: if first.is_empty() { None } else { first.parse().ok() },
            });
        }
        Ok(found)
    }

    /// Takes all events of a topic away, and gives their number.
    pub(crate) async fn clear(&self, topic: &Topic) -> Result<usize, BackplaneError> {
        let partition = self.partition(topic);
        let names = &self.keys[partition];
        let keys = vec![names.meta.clone(), names.topics.clone(), names.due.clone(), names.stream(topic)];
        answers::count(&self.run(&scripts::CLEAR, partition, keys, vec![text(topic.as_str())]).await?)
    }

    /// What all partitions hold.
    pub(crate) async fn totals(&self) -> Result<Totals, BackplaneError> {
        let ask = |partition: usize| {
            let names = &self.keys[partition];
            self.run(&scripts::TOTALS, partition, vec![names.meta.clone(), names.topics.clone()], Vec::new())
        };
        let mut totals = Totals::default();
        for answer in try_join_all((0..self.keys.len()).map(ask)).await? {
            let [events, bytes, topics] = answers::exactly(answer)?;
            totals.events += answers::count(&events)?;
            totals.bytes += answers::count(&bytes)?;
            totals.topics += answers::count(&topics)?;
        }
        Ok(totals)
    }

    /// Lets go of what is too old in a partition: a part of it at a time. Gives whether there may be more.
    pub(crate) async fn sweep(&self, partition: usize) -> Result<bool, BackplaneError> {
        let names = &self.keys[partition];
        let keys = [&names.meta, &names.topics, &names.names, &names.recent, &names.due, &names.nodes];
        let topics_max = self.options.topics_max / self.keys.len();
        let more = vec![
            text(names.streams.as_str()),
            number(SWEEP_TOPICS),
            text(self.options.topic_age_ms().to_string()),
            number(topics_max.max(1)),
            text(self.node.to_string()),
        ];
        let keys = keys.map(Clone::clone).to_vec();
        Ok(answers::count(&self.run(&scripts::SWEEP, partition, keys, more).await?)? > 0)
    }

    /// How long the node's side may take between two sweeps, in ms.
    pub(crate) fn probe_ms(&self) -> u64 {
        millis(self.options.probe_interval).max(10)
    }
}

fn event(topic: &Topic, fields: &[fred::types::Value]) -> Option<Arc<Event>> {
    let [id, event_type, prev, data] = fields else { return None };
    let event_type = event_type_of(answers::str(event_type).ok()?)?;
    let (id, prev) = (answers::id(id).ok()?, answers::id(prev).ok()?);
    Some(Arc::new(Event::new(topic.clone(), id, prev, event_type, answers::str(data).ok()?)))
}
