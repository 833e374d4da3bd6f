//! The ordered stream from a backplane to its node, bounded in number and bytes.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use towncrier_wire::{Event, Heads, Selector};

use crate::BackplaneError;

/// How many signals may wait.
const SIGNALS_MAX: usize = 1024;

/// What a backplane tells its node.
#[derive(Debug)]
pub enum Signal {
    /// Followed events, in the order of their ids within each partition, and when the first of them came to this node: when
    /// it was handed to a backplane in this process, or arrived from one elsewhere.
    Events(Vec<Arc<Event>>, Instant),
    /// Selectors are followed: every event that fits them and comes after these heads will be told.
    Joined {
        /// Which.
        selectors: Vec<Selector>,
        /// The newest id of each partition.
        heads: Heads,
    },
    /// Every followed event up to these heads has been told.
    Heads(Heads),
    /// Not all followed events up to these heads have been told, and some never will be: sessions must resume, and read up to
    /// here from the backplane, which knows exactly what each of them missed. Events up to these heads that are told after
    /// this are for history only.
    Lost(Heads),
}

/// Makes the two ends of a stream. Events of at most `bytes_max` wait in it, or one batch that is larger.
#[must_use]
pub fn signals(bytes_max: usize) -> (SignalSender, Signals) {
    let (sender, receiver) = mpsc::channel(SIGNALS_MAX);
    let bytes_max = u32::try_from(bytes_max).unwrap_or(u32::MAX);
    let budget = Arc::new(Semaphore::new(bytes_max as usize));
    (SignalSender { sender, budget, bytes_max }, Signals { receiver })
}

/// The backplane's end.
#[derive(Debug, Clone)]
pub struct SignalSender {
    sender: mpsc::Sender<Waiting>,
    budget: Arc<Semaphore>,
    bytes_max: u32,
}

/// A place in the stream. What is to be ordered with it happens between reserving and sending.
#[derive(Debug)]
pub struct Reserved<'a> {
    place: mpsc::Permit<'a, Waiting>,
    bytes: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Waiting {
    signal: Signal,
    /// Goes back to the budget when the signal is taken.
    _bytes: OwnedSemaphorePermit,
}

impl SignalSender {
    /// Waits for a place for a signal of about so many bytes.
    ///
    /// # Errors
    /// If the node's end is gone.
    pub async fn reserve(&self, bytes: usize) -> Result<Reserved<'_>, BackplaneError> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.bytes_max);
        let gone = |_| BackplaneError::Unavailable;
        let bytes = self.budget.clone().acquire_many_owned(bytes).await.map_err(gone)?;
        let place = self.sender.reserve().await.map_err(|_| BackplaneError::Unavailable)?;
        Ok(Reserved { place, bytes })
    }
}

impl Reserved<'_> {
    /// Sends; never waits.
    pub fn send(self, signal: Signal) {
        self.place.send(Waiting { signal, _bytes: self.bytes });
    }
}

/// The node's end.
#[derive(Debug)]
pub struct Signals {
    receiver: mpsc::Receiver<Waiting>,
}

impl Signals {
    /// Takes up to `max` signals that wait. Empty only when the backplane is gone.
    pub async fn next(&mut self, max: usize) -> Vec<Signal> {
        std::future::poll_fn(|cx| self.poll_next(cx, max)).await
    }

    /// The same for a hand-written future.
    pub fn poll_next(&mut self, cx: &mut Context<'_>, max: usize) -> Poll<Vec<Signal>> {
        let mut waiting = Vec::new();
        self.receiver.poll_recv_many(cx, &mut waiting, max).map(|_| waiting.into_iter().map(|one| one.signal).collect())
    }
}
