//! Reading again what may have been missed, before anything newer is told.
//!
//! What is in doubt in a partition lies after `through` and, at most, at the head that is asked for here; later events come
//! live. The index of topics by the time of their last event names those that can be concerned, and of these only the
//! followed ones are read, from the same id on. Their events are merged by id, since the node must get a partition's events
//! in order: a topic is read on only when its own are used up, so that memory is bounded by topics and a page of each.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet, VecDeque},
    ops::Range,
    sync::{Arc, atomic::Ordering},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;
use towncrier_backplane::{BackplaneError, Signal};
use towncrier_core::TopicRead;
use towncrier_wire::{Event, EventId, Topic};

use crate::feed::{Feed, Trouble};

/// Most topics that one answer names.
const TOPICS_PER_PAGE: usize = 5000;

/// Reads that are under way at the same time.
const READS: usize = 64;

/// Most events, and most bytes of them, that all topics together hold in memory; each holds at least one event.
const EVENTS: usize = 65_536;
const BYTES: usize = 64 * 1024 * 1024;

/// Most events of one signal.
const BATCH: usize = 256;

/// A topic whose events are merged.
struct Source {
    topic: Topic,
    events: VecDeque<Arc<Event>>,
    /// After which id to read on; `None` if that is all.
    rest: Option<EventId>,
}

impl Source {
    fn take(&mut self, read: TopicRead, head: EventId) {
        let last = read.events.last().map(|event| event.id());
        self.rest = last.filter(|last| read.more && *last < head);
        self.events.extend(read.events.into_iter().filter(|event| event.id() <= head));
    }
}

impl Feed {
    /// Tells everything that partitions have after `through`.
    pub(crate) async fn recover(&mut self, partitions: Range<usize>) -> Result<(), Trouble> {
        let began = Instant::now();
        for partition in partitions {
            self.commands.resyncs.fetch_add(1, Ordering::Relaxed);
            let (after, told) = (self.through[partition], self.recover_one(partition).await?);
            if told > 0 {
                tracing::info!(partition, %after, upto = %self.through[partition], told, "read from history what was missed");
            }
        }
        self.excuse(began);
        Ok(())
    }

    async fn recover_one(&mut self, partition: usize) -> Result<usize, Trouble> {
        let after = self.through[partition];
        let (head, floor, topics) = self.changed(partition, after).await?;
        if floor > after {
            self.lost(partition, None, floor, head).await?;
        }
        let share = |all: usize| (all / topics.len().max(1)).max(1);
        let (limit, bytes) = (share(EVENTS).min(1000), share(BYTES));
        let commands = self.commands.clone();
        let read = |topic: Topic| {
            let commands = commands.clone();
            async move { Ok::<_, BackplaneError>((commands.page(&topic, after, limit, bytes).await?, topic)) }
        };
        let reads: Vec<_> = stream::iter(topics.into_iter().map(read)).buffered(READS).try_collect().await?;

        let mut sources = Vec::with_capacity(reads.len());
        for (read, topic) in reads {
            if read.trimmed > after.max(floor) {
                self.lost(partition, Some(&topic), read.trimmed, head).await?;
            }
            let mut source = Source { topic, events: VecDeque::new(), rest: None };
            source.take(read, head);
            sources.push(source);
        }

        let first = |index: usize, source: &Source| source.events.front().map(|event| Reverse((event.id(), index)));
        let mut merge: BinaryHeap<_> =
            sources.iter().enumerate().filter_map(|(index, source)| first(index, source)).collect();
        let (mut batch, mut told) = (Vec::new(), 0);
        while let Some(Reverse((id, index))) = merge.pop() {
            let source = &mut sources[index];
            if let Some(event) = source.events.pop_front() {
                self.commands.tail.told(partition, &event, None);
                batch.push(event);
            }
            if source.events.is_empty()
                && let Some(rest) = source.rest
            {
                let read = self.commands.page(&source.topic, rest, limit, bytes).await?;
                let (topic, trimmed) = (source.topic.clone(), read.trimmed);
                source.take(read, head);
                if trimmed > rest {
                    self.lost(partition, Some(&topic), trimmed, head).await?;
                }
            }
            merge.extend(first(index, &sources[index]));
            if batch.len() >= BATCH {
                told += batch.len();
                self.send(std::mem::take(&mut batch), Instant::now()).await?;
                self.through[partition] = id;
            }
        }
        told += batch.len();
        self.send(batch, Instant::now()).await?;
        self.through[partition] = head.max(after);
        Ok(told)
    }

    /// The head of a partition now, its floor, and the followed topics that have events after an id.
    async fn changed(&self, partition: usize, after: EventId) -> Result<(EventId, EventId, Vec<Topic>), Trouble> {
        let mut limit = TOPICS_PER_PAGE;
        let mut from_ms = after.ms();
        let mut answer: Option<(EventId, EventId)> = None;
        let mut topics = HashSet::new();
        loop {
            let page = self.commands.changes(partition, from_ms, limit).await?;
            // The first head: what came while the pages were read comes live as well.
            let (head, floor) = *answer.get_or_insert((page.head, page.floor));
            let count = page.topics.len();
            let followed = page.topics.into_iter().filter(|(topic, last)| *last > after && self.index.any(topic));
            topics.extend(followed.map(|(topic, _)| topic));
            if count < limit {
                return Ok((head, floor, topics.into_iter().collect()));
            }
            // The next page begins with the last ms of this one, of which there may be more topics than fit.
            if page.upto_ms == from_ms {
                limit *= 2;
            }
            from_ms = page.upto_ms;
        }
    }

    /// What cannot be told any more: sessions that resume are told of it by history, which knows it exactly, so those that
    /// are live are made to. They start anew at `head`, up to which everything is being recovered: one that attached before
    /// that would get what follows the loss without a word.
    async fn lost(
        &mut self,
        partition: usize,
        topic: Option<&Topic>,
        upto: EventId,
        head: EventId,
    ) -> Result<(), Trouble> {
        self.commands.losses.fetch_add(1, Ordering::Relaxed);
        let topic = topic.map(Topic::as_str);
        tracing::warn!(partition, topic, after = %self.through[partition], %upto, "events were lost while redis was away");
        let mut heads = self.through;
        heads[partition] = head.max(upto).max(heads[partition]);
        self.signal(Signal::Lost(heads)).await
    }
}
