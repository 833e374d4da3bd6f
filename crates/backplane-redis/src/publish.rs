//! Publishing: one script call for each event, all of a batch in one go.

use std::sync::atomic::Ordering;

use fred::{
    error::Error,
    interfaces::ClientLike,
    types::{ClusterHash, CustomCommand, Value},
};
use tokio::time::timeout;
use towncrier_backplane::{BackplaneError, Published};
use towncrier_wire::{EventType, NewEvent};

use crate::{
    answers,
    commands::{Commands, is_unknown, number, text},
    options::millis,
    scripts::PUBLISH,
};

/// Most events, and most bytes of them, that are sent before the answers to the ones before have come.
const CHUNK_EVENTS: usize = 500;
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// How much may be on the wire at the same time: so many events, or 4 KiB of data for each. More than keeps Redis busy, and
/// little enough that its answers come in time however many publish; the rest waits here for its turn.
pub(crate) const WIRE: usize = 4096;
const WIRE_UNIT_BYTES: usize = 4096;

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
        if total == 0 || self.available().is_err() {
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
            let calls: Vec<_> = chunk.iter().map(|event| self.call(event)).collect();
            published.extend(self.publish_chunk(&calls).await);
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
        ];
        Call { partition, keys, arguments }
    }

    async fn publish_chunk(&self, calls: &[Call]) -> Vec<Result<Published, BackplaneError>> {
        let mut results = self.send(&calls.iter().collect::<Vec<_>>()).await;
        // A Redis that has lost its scripts has done nothing: it gets them now.
        let unknown: Vec<_> =
            (0..calls.len()).filter(|&index| results[index].as_ref().is_err_and(is_unknown)).collect();
        if !unknown.is_empty() {
            for &index in &unknown {
                self.loaded[calls[index].partition].store(false, Ordering::Relaxed);
            }
            let again: Vec<_> = unknown.iter().map(|&index| &calls[index]).collect();
            for (index, result) in unknown.into_iter().zip(self.send(&again).await) {
                results[index] = result;
            }
        }
        let answer = |(call, result): (&Call, Result<Value, Error>)| {
            let [id, duplicate] = answers::exactly(self.sort(result)?)?;
            let published = Published { id: answers::id(&id)?, duplicate: answers::count(&duplicate)? > 0 };
            self.saw(call.partition, published.id);
            self.loaded[call.partition].store(true, Ordering::Relaxed);
            Ok(published)
        };
        calls.iter().zip(results).map(answer).collect()
    }

    /// Sends calls in their order. While it is not known whether Redis has the script, each brings its source: were only
    /// some of them refused, a batch would lose its order.
    async fn send(&self, calls: &[&Call]) -> Vec<Result<Value, Error>> {
        let command = |call: &Call| {
            let (name, script) = match self.loaded[call.partition].load(Ordering::Relaxed) {
                true => ("EVALSHA", PUBLISH.digest.as_str()),
                false => ("EVAL", PUBLISH.source.as_str()),
            };
            let slot = fred::util::redis_keyslot(self.keys[call.partition].meta.as_bytes());
            let mut arguments = vec![text(script), number(call.keys.len())];
            arguments.extend(call.keys.iter().map(|key| text(key.as_str())));
            arguments.extend(self.arguments(call.partition));
            arguments.extend(call.arguments.iter().cloned());
            (CustomCommand::new_static(name, ClusterHash::Custom(slot), false), arguments)
        };
        if let [call] = calls {
            let (command, arguments) = command(call);
            return vec![self.client.custom(command, arguments).await];
        }
        let pipeline = self.client.pipeline();
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
