//! What joins the nodes of a hub and holds its history.
//!
//! A backplane stores events and gives them ids; it tells a node, in one ordered stream of [`Signal`]s, of each event that
//! the node follows. That order carries the guarantee on which the hand-over from replay to live rests: a
//! [`Signal::Joined`] stands after every followed event up to the heads that it names, and before every later one.
//!
//! * [`Backplane`] is the trait, kept narrow so that an implementation is one crate.
//! * [`Peers`] is what nodes need of each other beside events: who is there, and messages.
//! * [`Accounts`] is who may log in, where that is not in the configuration.
//! * [`Findings`] is what a node's operator should change around it.
//! * [`Embedded`] is a hub of one node, in memory, and [`Alone`] its peers.
//! * The module `contract`, behind the feature of that name, is what every implementation is tested against.

mod accounts;
#[cfg(feature = "contract")]
pub mod contract;
mod embedded;
mod finding;
mod peers;
mod signals;

use std::{fmt::Debug, pin::Pin, sync::Arc};

pub use accounts::{ACCOUNTS_MAX, Accounts, AccountsInMemory, Stored};
pub use embedded::{Clock, Embedded};
pub use finding::{Finding, Findings, Unchecked};
pub use peers::{Alone, ControlMessage, NodeId, Peer, Peers, To, control_messages};
pub use signals::{Signal, SignalSender, Signals, signals};
use tokio::sync::mpsc::Receiver;
use towncrier_core::{TopicRead, store::TopicInfo, store::Totals};
use towncrier_wire::{EventId, Heads, NewEvent, Partitions, Selector, Topic};

/// A future that a backplane returns.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why the backplane did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackplaneError {
    /// It cannot be reached, or does not take more now. Nothing was done.
    #[error("the backplane is not available")]
    Unavailable,
    /// It did not answer in time. A publish may have taken effect: repeat it with its idempotency key.
    #[error("the backplane did not answer in time")]
    TimedOut,
}

/// An event that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Its id.
    pub id: EventId,
    /// Whether it had been stored before, under the same idempotency key.
    pub duplicate: bool,
}

/// What went wrong between a node and its backplane so far, and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// How often the connection that commands go by was made again.
    pub reconnects: u64,
    /// How often the connection that events come by was made again.
    pub relinks: u64,
    /// How often history was read for events that may have been missed.
    pub resyncs: u64,
    /// How often what the backplane had lost was put back, counted by one of the nodes that took part.
    pub heals: u64,
    /// How many events that were.
    pub healed_events: u64,
    /// How often it was not known whether that was all, so that sessions were told of a loss.
    pub heals_incomplete: u64,
    /// How often it was found that followed events were lost for good.
    pub losses: u64,
}

/// What one node holds of a hub, as a backplane gives it.
#[derive(Debug)]
pub struct Ends {
    /// Where events are stored.
    pub backplane: Arc<dyn Backplane>,
    /// What it tells.
    pub signals: Signals,
    /// The way to the other nodes.
    pub peers: Arc<dyn Peers>,
    /// What they say.
    pub messages: Receiver<ControlMessage>,
}

impl Ends {
    /// Those of a node that has no peers.
    #[must_use]
    pub fn alone(backplane: Arc<dyn Backplane>, signals: Signals) -> Self {
        let (alone, messages) = Alone::new();
        Self { backplane, signals, peers: Arc::new(alone), messages }
    }
}

/// What joins nodes and holds history. All calls may be made at the same time.
pub trait Backplane: Debug + Send + Sync + 'static {
    /// How many partitions the topics are spread over.
    fn partitions(&self) -> Partitions;

    /// Stores events in their order, each for itself. What is stored is later told to each node that follows its topic.
    fn publish(&self, events: Vec<NewEvent>) -> Answer<'_, Vec<Result<Published, BackplaneError>>>;

    /// Starts to follow selectors, or asks again for ones that are followed. Answered by one [`Signal::Joined`].
    fn join(&self, selectors: Vec<Selector>) -> Answer<'_, Result<(), BackplaneError>>;

    /// Stops to follow selectors. Signals that are under way still come.
    fn leave(&self, selectors: Vec<Selector>) -> Answer<'_, Result<(), BackplaneError>>;

    /// Asks for a [`Signal::Heads`], which tells sessions on quiet topics how far they are.
    fn announce(&self) -> Answer<'_, Result<(), BackplaneError>>;

    /// Reads a topic after an id: at most `limit` events, and exactly what is lost.
    fn read(&self, topic: Topic, after: EventId, limit: usize) -> Answer<'_, Result<TopicRead, BackplaneError>>;

    /// For each partition, the id below which nothing can be known. Ask after [`Backplane::read`], never before: a topic
    /// that was forgotten in between shows only here.
    fn floors(&self) -> Answer<'_, Result<Heads, BackplaneError>>;

    /// Topics that begin with `prefix` and come after the name `after`, in order, at most `limit`.
    fn topics(
        &self,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> Answer<'_, Result<Vec<TopicInfo>, BackplaneError>>;

    /// What is known of a topic.
    fn topic(&self, topic: Topic) -> Answer<'_, Result<Option<TopicInfo>, BackplaneError>>;

    /// Takes all events of a topic away, and gives their number.
    fn clear(&self, topic: Topic) -> Answer<'_, Result<usize, BackplaneError>>;

    /// Ends in good order: nothing is published any more, and others need not wait for this node. Signals end.
    fn close(&self) -> Answer<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// What went wrong so far; nothing, where nothing can.
    fn counts(&self) -> Counts {
        Counts::default()
    }

    /// What is held in all; also the round trip that readiness rests on.
    fn totals(&self) -> Answer<'_, Result<Totals, BackplaneError>>;
}
