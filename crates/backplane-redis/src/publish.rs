//! Publishing: one script call for each event, all of a batch in one go.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use fred::{
    error::Error,
    interfaces::ClientLike,
    types::{ClusterHash, CustomCommand, Value},
};
use tokio::time::{Instant, sleep, timeout};
use towncrier_backplane::{BackplaneError, Published};
use towncrier_wire::{EventType, Name, NewEvent, limits::PARTITIONS_MAX};

use crate::{
    answers,
    commands::{Commands, is_census, is_unknown, number, text},
    message::event_type_of,
    options::millis,
    scripts::PUBLISH,
    tail::Content,
};

/// Most events, and most bytes of them, that are sent before the answers to the ones before have come.
const CHUNK_EVENTS: usize = 500;
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// How much may be on the wire at the same time: so many events, or 4 KiB of data for each. More than keeps Redis busy, and
/// little enough that its answers come in time however many publish; the rest waits here for its turn.
pub(crate) const WIRE: usize = 4096;
const WIRE_UNIT_BYTES: usize = 4096;

/// The waits before what was refused is sent again, in ms.
const REFUSED_MS: std::ops::Range<u64> = 10..40;

/// The era of each partition that this node is in.
type Eras = [Option<Arc<str>>; PARTITIONS_MAX];

struct Call {
    partition: usize,
    keys: Vec<String>,
    arguments: Vec<Value>,
}

impl Commands {
    /// Publishes events in their order, each for itself.
    pub(crate) async fn publish(&self, events: Vec<NewEvent>) -> Vec<Result<Published, BackplaneError>> {
        let unavailable = |count| (0..count).map(|_| Err(BackplaneError::Unavailable)).collect::<Vec<_>>();
        let total = events.len();
        if total == 0 || self.available().is_err() || self.closed.load(Ordering::Relaxed) {
            return unavailable(total);
        }
        let bytes: usize = events.iter().map(|event| event.data.len()).sum();
        // One batch that is larger than the bound may go alone.
        let share = |count: usize, max: usize| u32::try_from(count.min(max)).unwrap_or(u32::MAX);
        let events_permit = self.publishing.try_acquire_many(share(total, self.options.publishing_max));
        let bytes_permit = self.publishing_bytes.try_acquire_many(share(bytes, self.options.publishing_bytes_max));
        if events_permit.is_err() || bytes_permit.is_err() {
            return unavailable(total);
        }

        let mut published = Vec::with_capacity(total);
        let mut rest = &events[..];
        while !rest.is_empty() {
            let (chunk, later) = rest.split_at(chunk_len(rest));
            let cost = chunk.iter().map(wire_cost).sum::<usize>().min(WIRE);
            let turn = self.wire.acquire_many(u32::try_from(cost).unwrap_or(u32::MAX));
            // Whoever has no turn in time has sent nothing.
            let Ok(Ok(_turn)) = timeout(self.options.command_timeout, turn).await else { break };
            published.extend(self.publish_chunk(chunk).await);
            rest = later;
            // If Redis is gone, the rest is not even tried, so that it can be said that nothing was done.
            if self.available().is_err() {
                break;
            }
        }
        published.extend(unavailable(total - published.len()));
        published
    }

    fn call(&self, event: &NewEvent) -> Call {
        let partition = self.partition(&event.topic);
        let (names, retention) = (&self.keys[partition], self.options.retention_of(&event.topic));
        let mut keys = [&names.meta, &names.topics, &names.names, &names.recent, &names.due].map(Clone::clone).to_vec();
        keys.push(names.stream(&event.topic));
        keys.extend(event.idempotency_key.as_ref().map(|name| names.idempotency(&event.topic, name)));
        let event_type = event.event_type.as_ref().map_or("", EventType::as_str);
        let arguments = vec![
            text(event.topic.as_str()),
            text(event_type),
            text(&*event.data),
            number(retention.events.max(1)),
            number(usize::try_from(retention.age_ms).unwrap_or(usize::MAX)),
            number(usize::try_from(millis(self.options.idempotency_age).max(1)).unwrap_or(usize::MAX)),
            text(names.channel(&event.topic)),
            text(names.all.as_str()),
            text(self.tell()),
            text(event.idempotency_key.as_ref().map_or("", Name::as_str)),
            text(event.trace.map_or(String::new(), |trace| trace.to_string())),
        ];
        Call { partition, keys, arguments }
    }

    /// Publishes what goes together. What a partition refuses because its server is another one was not stored, and nothing
    /// after it: it is sent again, in the next era, as long as there is time.
    async fn publish_chunk(&self, events: &[NewEvent]) -> Vec<Result<Published, BackplaneError>> {
        let calls: Vec<_> = events.iter().map(|event| self.call(event)).collect();
        let mut published: Vec<_> = calls.iter().map(|_| Err(BackplaneError::Unavailable)).collect();
        let mut open: Vec<_> = (0..calls.len()).collect();
        let until = Instant::now() + self.options.command_timeout;
        loop {
            let leased = self.lease.holds();
            let eras: Eras = std::array::from_fn(|partition| self.eras.current(partition).filter(|_| leased));
            let (ready, mut later): (Vec<_>, Vec<_>) =
                open.into_iter().partition(|&index| eras[calls[index].partition].is_some());
            let sent: Vec<_> = ready.iter().map(|&index| &calls[index]).collect();
            for (index, result) in ready.into_iter().zip(self.send_known(&sent, &eras).await) {
                let Some(era) = &eras[calls[index].partition] else { continue };
                if result.as_ref().is_err_and(is_census) {
                    self.refused(calls[index].partition, era);
                    later.push(index);
                } else {
                    published[index] = self.accept(&calls[index], &events[index], era, result);
                }
            }
            self.wait_for_replicas(&calls, &eras, &mut published).await;
            if later.is_empty() || Instant::now() >= until || self.available().is_err() {
                return published;
            }
            later.sort_unstable();
            open = later;
            sleep(Duration::from_millis(fastrand::u64(REFUSED_MS))).await;
        }
    }

    /// Takes in what was answered.
    fn accept(
        &self,
        call: &Call,
        event: &NewEvent,
        era: &str,
        result: Result<Value, Error>,
    ) -> Result<Published, BackplaneError> {
        let answer = answers::list(self.sort(result)?)?;
        let [id, duplicate, stored @ ..] = &answer[..] else { return Err(answers::odd(&Value::Array(answer))) };
        let published = Published { id: answers::id(id)?, duplicate: answers::count(duplicate)? > 0 };
        self.saw(call.partition, published.id);
        self.loaded[call.partition].store(true, Ordering::Relaxed);
        let topic = event.topic.clone();
        let content = match stored {
            [prev] => {
                let (event_type, data) = (event.event_type.clone(), event.data.clone());
                Some(Content::Published { topic, prev: answers::id(prev)?, event_type, data })
            }
            [prev, event_type, data] => {
                let event_type = event_type_of(answers::str(event_type)?).flatten();
                Some(Content::Published {
                    topic,
                    prev: answers::id(prev)?,
                    event_type,
                    data: answers::str(data)?.into(),
                })
            }
            // It was published before, and history has let go of it.
            _ => None,
        };
        let counts = self.eras.within(call.partition, era, || {
            if let Some(content) = content {
                self.tail.published(call.partition, published.id, content, event.idempotency_key.clone());
            }
        });
        // Whoever stood still may have been answered by a server that is the primary no more.
        if counts && self.lease.holds() { Ok(published) } else { Err(BackplaneError::TimedOut) }
    }

    /// What too few replicas have is stored, but not as safely as was asked.
    async fn wait_for_replicas(
        &self,
        calls: &[Call],
        eras: &Eras,
        published: &mut [Result<Published, BackplaneError>],
    ) {
        if self.options.replicas == 0 {
            return;
        }
        for (partition, era) in eras.iter().enumerate() {
            let stored = |(index, call): (usize, &Call)| {
                (call.partition == partition && published[index].is_ok()).then_some(index)
            };
            let stored: Vec<_> = calls.iter().enumerate().filter_map(stored).collect();
            let Some(era) = era.as_deref().filter(|_| !stored.is_empty()) else { continue };
            if !self.replicated(partition, era).await {
                stored.into_iter().for_each(|index| published[index] = Err(BackplaneError::TimedOut));
            }
        }
    }

    /// Sends calls, and again those whose script Redis does not know: it has done nothing then, and gets it now.
    async fn send_known(&self, calls: &[&Call], eras: &Eras) -> Vec<Result<Value, Error>> {
        let mut results = self.send(calls, eras).await;
        let unknown: Vec<_> =
            (0..calls.len()).filter(|&index| results[index].as_ref().is_err_and(is_unknown)).collect();
        if !unknown.is_empty() {
            for &index in &unknown {
                self.loaded[calls[index].partition].store(false, Ordering::Relaxed);
            }
            let again: Vec<_> = unknown.iter().map(|&index| calls[index]).collect();
            for (index, result) in unknown.into_iter().zip(self.send(&again, eras).await) {
                results[index] = result;
            }
        }
        results
    }

    /// Sends calls in their order. While it is not known whether Redis has the script, each brings its source: were only
    /// some of them refused, a batch would lose its order.
    async fn send(&self, calls: &[&Call], eras: &Eras) -> Vec<Result<Value, Error>> {
        if calls.is_empty() {
            return Vec::new();
        }
        let command = |call: &Call| {
            let (name, script) = match self.loaded[call.partition].load(Ordering::Relaxed) {
                true => ("EVALSHA", PUBLISH.digest.as_str()),
                false => ("EVAL", PUBLISH.source.as_str()),
            };
            let slot = fred::util::redis_keyslot(self.keys[call.partition].meta.as_bytes());
            let mut arguments = vec![text(script), number(call.keys.len())];
            arguments.extend(call.keys.iter().map(|key| text(key.as_str())));
            arguments.extend(self.arguments(call.partition, eras[call.partition].as_deref().unwrap_or_default()));
            arguments.extend(call.arguments.iter().cloned());
            (CustomCommand::new_static(name, ClusterHash::Custom(slot), false), arguments)
        };
        if let [call] = calls {
            let (command, arguments) = command(call);
            return vec![self.publisher.client().custom(command, arguments).await];
        }
        let pipeline = self.publisher.client().pipeline();
        for call in calls {
            let (command, arguments) = command(call);
            if let Err(error) = pipeline.custom::<Value, _>(command, arguments).await {
                return calls.iter().map(|_| Err(error.clone())).collect();
            }
        }
        let results = pipeline.try_all::<Value>().await;
        match &results[..] {
            // One error for all: the answers never came.
            [Err(error)] => calls.iter().map(|_| Err(error.clone())).collect(),
            _ if results.len() != calls.len() => {
                let error = Error::new(fred::error::ErrorKind::Protocol, "not as many answers as questions");
                calls.iter().map(|_| Err(error.clone())).collect()
            }
            _ => results,
        }
    }
}

fn wire_cost(event: &NewEvent) -> usize {
    1 + event.data.len() / WIRE_UNIT_BYTES
}

/// How many of the first events go together.
fn chunk_len(events: &[NewEvent]) -> usize {
    let mut bytes = 0;
    let fits = |event: &&NewEvent| {
        bytes += event.data.len();
        bytes <= CHUNK_BYTES
    };
    events.iter().take(CHUNK_EVENTS).take_while(fits).count().max(1)
}
