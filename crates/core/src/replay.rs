//! Replay: the retained events of a session's selectors, page by page, and exactly what is missing from them.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
};

use towncrier_wire::{
    Cursor, Event, EventId, Heads, Partitions, Selectors, Topic,
    limits::{LAST_BYTES_MAX, LAST_MAX, REPLAY_PAGE_BYTES_MAX, REPLAY_PAGE_EVENTS_MAX},
};

use crate::TopicRead;

/// Where a replay starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// After a cursor that has an id for each partition that the selectors touch.
    After(Cursor),
    /// At whatever is retained.
    Earliest,
    /// At the newest events of each topic, so many, but no more in all than [`LAST_MAX`] and [`LAST_BYTES_MAX`]. All of
    /// them come as one page.
    Last(u32),
}

/// What a session needs from history.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which topics.
    pub selectors: Selectors,
    /// From where.
    pub from: From,
    /// Up to where, for each partition, that id included.
    pub upto: Heads,
}

/// A part of a replay.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// In order of their ids, so also in the order of each partition.
    pub events: Vec<Arc<Event>>,
    /// Topics that lost events after the request's cursor, with the newest id that is lost of each; without a cursor, all
    /// that ever lost any.
    pub lost: Vec<(Topic, EventId)>,
    /// Partitions of which it is not known what was lost up to these ids, where that is above the request's cursor.
    pub floors: Vec<(usize, EventId)>,
    /// For a request without a cursor, where one would stand that has all of its events before it, and no others up to the
    /// request's heads.
    pub starts: Heads,
    /// Whether there is more up to the request's heads.
    pub more: bool,
}

impl Request {
    /// The id after which the request wants events of a partition.
    #[must_use]
    pub fn after(&self, partition: usize, partitions: Partitions) -> EventId {
        match &self.from {
            From::After(cursor) => {
                let own = partitions.iter().nth(partition).and_then(|partition| cursor.get(partition));
                own.unwrap_or(self.upto[partition])
            }
            From::Earliest | From::Last(_) => EventId::ZERO,
        }
    }

    /// Puts a page together from what each topic's history says. `topics` must hold each topic that the selectors fit
    /// and that may have events after the cursor.
    #[must_use]
    pub fn page(&self, topics: &HashMap<Topic, TopicRead>, floors: &Heads, partitions: Partitions) -> Page {
        let mut page = Page { starts: self.upto, ..Page::default() };
        let touched = self.selectors.touched(partitions);
        let below = (0..partitions.count()).filter(|&p| touched[p] && self.after(p, partitions) < floors[p]);
        page.floors = below.map(|partition| (partition, floors[partition])).collect();

        let mut sources: Vec<&[Arc<Event>]> = Vec::with_capacity(topics.len());
        let mut cut = EventId::MAX;
        for (topic, read) in topics {
            let partition = partitions.of(topic).index();
            let (after, upto) = (self.after(partition, partitions), self.upto[partition]);
            if read.trimmed > after.max(floors[partition]) {
                page.lost.push((topic.clone(), read.trimmed));
            }
            let events = &read.events[..read.events.partition_point(|event| event.id() <= upto)];
            // What lies behind the end of a read that was cut short is not known: nothing newer may overtake it.
            if read.more && events.len() == read.events.len() {
                cut = cut.min(events.last().map_or(after, |event| event.id()));
            }
            let skipped = match self.from {
                From::Last(count) => events.len().saturating_sub(count as usize),
                From::Earliest | From::After(_) => events.partition_point(|event| event.id() <= after),
            };
            events[skipped..].iter().take(1).for_each(|event| lower(&mut page.starts, event, partitions));
            sources.push(&events[skipped..]);
        }
        page.lost.sort_unstable();

        let first = |index: usize, events: &[Arc<Event>]| events.first().map(|event| Reverse((event.id(), index)));
        let mut merge: BinaryHeap<_> =
            sources.iter().enumerate().filter_map(|(index, events)| first(index, events)).collect();
        let mut bytes = 0;
        let bounded = !matches!(self.from, From::Last(_));
        while let Some(Reverse((id, index))) = merge.pop() {
            let Some((event, rest)) = sources[index].split_first() else {
                continue;
            };
            let full = page.events.len() == REPLAY_PAGE_EVENTS_MAX
                || (!page.events.is_empty() && bytes + event.frame().len() > REPLAY_PAGE_BYTES_MAX);
            if id > cut || (bounded && full) {
                page.more = true;
                break;
            }
            bytes += event.frame().len();
            page.events.push(event.clone());
            sources[index] = rest;
            merge.extend(first(index, rest));
        }
        if !bounded {
            let mut bytes = 0;
            let newest = page.events.iter().rev().take(LAST_MAX as usize).take_while(|event| {
                bytes += event.frame().len();
                bytes <= LAST_BYTES_MAX
            });
            let kept = newest.count().max(1).min(page.events.len());
            page.events.drain(..page.events.len() - kept);
            page.starts = self.upto;
            page.events.iter().for_each(|event| lower(&mut page.starts, event, partitions));
        }
        page.more |= cut != EventId::MAX;
        page
    }
}

/// Moves a starting point down so that the event comes after it.
fn lower(starts: &mut Heads, event: &Event, partitions: Partitions) {
    let start = &mut starts[partitions.of(event.topic()).index()];
    *start = event.id().predecessor().min(*start);
}
