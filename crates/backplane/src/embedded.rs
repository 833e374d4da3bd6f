//! A hub of one node: history in memory, nothing to reach.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use towncrier_core::{
    SelectorIndex, Store, TopicRead,
    store::{Options, TopicInfo, Totals},
};
use towncrier_wire::{EventId, Heads, NewEvent, Partitions, Selector, Topic};

use crate::{Answer, Backplane, BackplaneError, Published, Signal, SignalSender, Signals, signals};

/// The wall clock, in ms since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// See the module. One owner uses it, the bridge, so its lock is never contended.
pub struct Embedded {
    partitions: Partitions,
    clock: Clock,
    sender: SignalSender,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    store: Store,
    followed: std::collections::HashSet<Selector>,
    index: SelectorIndex<()>,
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("partitions", &self.partitions).finish_non_exhaustive()
    }
}

impl Embedded {
    /// An empty hub and its signals, of which at most `signal_bytes_max` wait.
    #[must_use]
    pub fn new(options: Options, signal_bytes_max: usize, clock: Clock) -> (Self, Signals) {
        let (sender, receiver) = signals(signal_bytes_max);
        let partitions = options.partitions;
        let store = Store::new(options, clock());
        let state = State { store, followed: std::collections::HashSet::new(), index: SelectorIndex::default() };
        (Self { partitions, clock, sender, state: Mutex::new(state) }, receiver)
    }

    /// A panic in here is a panic of the bridge, which ends the process: no state is used after one.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask<T: Send + 'static>(&self, ask: impl FnOnce(&mut Store, u64) -> T) -> Answer<'_, Result<T, BackplaneError>> {
        let answer = ask(&mut self.state().store, (self.clock)());
        Box::pin(std::future::ready(Ok(answer)))
    }
}

impl Backplane for Embedded {
    fn partitions(&self) -> Partitions {
        self.partitions
    }

    fn publish(&self, events: Vec<NewEvent>) -> Answer<'_, Vec<Result<Published, BackplaneError>>> {
        let taken = Instant::now();
        Box::pin(async move {
            let bytes = events.iter().map(NewEvent::cost).sum();
            let reserved = match self.sender.reserve(bytes).await {
                Ok(reserved) => reserved,
                Err(error) => return events.iter().map(|_| Err(error.clone())).collect(),
            };
            let mut state = self.state();
            let State { store, index, .. } = &mut *state;
            let now = (self.clock)();
            let mut followed = Vec::with_capacity(events.len());
            let mut publish = |event: NewEvent| {
                let stored = store.publish(event, now);
                let duplicate = stored.event.is_none();
                followed.extend(stored.event.filter(|event| index.any(event.topic())));
                Ok(Published { id: stored.id, duplicate })
            };
            let published = events.into_iter().map(&mut publish).collect();
            // Sent under the lock: the order of the signals is the order of the ids.
            if !followed.is_empty() {
                reserved.send(Signal::Events(followed, taken));
            }
            published
        })
    }

    fn join(&self, selectors: Vec<Selector>) -> Answer<'_, Result<(), BackplaneError>> {
        Box::pin(async move {
            let reserved = self.sender.reserve(0).await?;
            let mut state = self.state();
            let State { store, followed, index } = &mut *state;
            for selector in &selectors {
                if followed.insert(selector.clone()) {
                    index.insert(selector, ());
                }
            }
            reserved.send(Signal::Joined { selectors, heads: store.heads() });
            Ok(())
        })
    }

    fn leave(&self, selectors: Vec<Selector>) -> Answer<'_, Result<(), BackplaneError>> {
        let mut state = self.state();
        for selector in &selectors {
            if state.followed.remove(selector) {
                state.index.remove(selector, ());
            }
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn announce(&self) -> Answer<'_, Result<(), BackplaneError>> {
        Box::pin(async move {
            let reserved = self.sender.reserve(0).await?;
            let state = self.state();
            reserved.send(Signal::Heads(state.store.heads()));
            Ok(())
        })
    }

    fn read(&self, topic: Topic, after: EventId, limit: usize) -> Answer<'_, Result<TopicRead, BackplaneError>> {
        self.ask(|store, now| store.read(&topic, after, limit, now))
    }

    fn floors(&self) -> Answer<'_, Result<Heads, BackplaneError>> {
        self.ask(|store, _| store.floors())
    }

    fn topics(
        &self,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> Answer<'_, Result<Vec<TopicInfo>, BackplaneError>> {
        self.ask(|store, now| store.topics(&prefix, after.as_deref(), limit, now))
    }

    fn topic(&self, topic: Topic) -> Answer<'_, Result<Option<TopicInfo>, BackplaneError>> {
        self.ask(|store, now| store.topic(&topic, now))
    }

    fn clear(&self, topic: Topic) -> Answer<'_, Result<usize, BackplaneError>> {
        self.ask(|store, now| {
            // What has expired is gone for every other call, so it is not counted here.
            store.sweep(now);
            store.clear(&topic)
        })
    }

    fn totals(&self) -> Answer<'_, Result<Totals, BackplaneError>> {
        self.ask(|store, now| {
            store.sweep(now);
            store.totals()
        })
    }
}
