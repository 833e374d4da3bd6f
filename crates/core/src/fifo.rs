//! The order in which events came or topics became empty, over many topics, without a tree that each publish would have
//! to touch.

use std::collections::VecDeque;

use towncrier_wire::{EventId, Topic};

/// How many stale entries are borne beyond as many as there are live ones.
const SLACK: usize = 1024;

/// What came first is in front. What its ring has let go of stays as a stale entry until it is met or stale ones outnumber
/// the rest, so that every operation costs O(1) on average.
#[derive(Debug, Default)]
pub(crate) struct Fifo {
    queue: VecDeque<(EventId, Topic)>,
}

impl Fifo {
    pub(crate) fn push(&mut self, id: EventId, topic: Topic) {
        self.queue.push_back((id, topic));
    }

    /// The oldest entry that is still live.
    pub(crate) fn front(&mut self, is_live: impl Fn(EventId, &Topic) -> bool) -> Option<(EventId, Topic)> {
        while let Some((id, topic)) = self.queue.front() {
            if is_live(*id, topic) {
                return Some((*id, topic.clone()));
            }
            self.queue.pop_front();
        }
        None
    }

    /// Drops stale entries if they outnumber the `live` ones.
    pub(crate) fn compact(&mut self, live: usize, is_live: impl Fn(EventId, &Topic) -> bool) {
        if self.queue.len() > 2 * live + SLACK {
            self.queue.retain(|(id, topic)| is_live(*id, topic));
            self.queue.shrink_to(self.queue.len() + SLACK);
        }
    }
}
