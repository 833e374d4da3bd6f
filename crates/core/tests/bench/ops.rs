//! What can happen to a hub.

use towncrier_core::{cache, rooms::CohortKey, store};
use towncrier_wire::{Partitions, Topic};

/// What a case starts with.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) partitions: Partitions,
    pub(crate) workers: usize,
    pub(crate) store: store::Options,
    pub(crate) cache: cache::Options,
    pub(crate) read_limit: usize,
    pub(crate) topics: Vec<Topic>,
    pub(crate) clients: Vec<CohortKey>,
}

/// Where a client that forgets its past starts anew.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Anew {
    Live,
    Earliest,
    Last(u32),
    Unknown,
    /// After an event that was published, so many before the newest, by its plain id.
    AfterEvent(usize),
    /// The same with a cursor of that event's partition alone, as one has that listened to other topics before.
    AfterEventAlone(usize),
    /// After an id that nobody has given yet.
    Ahead,
}

/// Something that happens. Numbers are taken modulo what there is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    Publish {
        topic: usize,
        count: usize,
    },
    Clear {
        topic: usize,
    },
    /// The backplane tells how far it is.
    Announce,
    Clock {
        ms: u64,
    },
    /// The bridge takes so many of the backplane's signals.
    Bridge {
        signals: usize,
    },
    /// The bridge takes so many of a worker's requests.
    Request {
        worker: usize,
        count: usize,
    },
    /// A worker takes so many of its deliveries.
    Deliver {
        worker: usize,
        count: usize,
    },
    /// A worker makes what it took readable.
    Seal {
        worker: usize,
    },
    /// A worker's clock goes on.
    Tick {
        worker: usize,
        ms: u64,
    },
    /// All that is under way to or from a worker arrives.
    Flow {
        worker: usize,
    },
    /// The bridge finds that a worker does not keep up, and drops its deliveries.
    Behind {
        worker: usize,
    },
    LeaveIdle {
        worker: usize,
    },
    Connect {
        client: usize,
        worker: usize,
        start: Anew,
    },
    Resume {
        client: usize,
        worker: usize,
    },
    Disconnect {
        client: usize,
    },
    /// A session does so many steps.
    Step {
        client: usize,
        count: usize,
    },
    Heartbeat {
        client: usize,
    },
    /// A client reads so many blocks.
    Read {
        client: usize,
        count: usize,
    },
}
