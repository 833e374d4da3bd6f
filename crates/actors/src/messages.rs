//! Everything that actors say to each other.

use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::Instant,
};

use actix::Message;
use bytes::Bytes;
use towncrier_backplane::{BackplaneError, Published};
use towncrier_core::{
    replay::{Page, Request},
    store::{TopicInfo, Totals},
};
use towncrier_telemetry::ReplaySource;
use towncrier_wire::{CloseReason, Event, Heads, Name, NewEvent, Selector, Selectors, Topic};

use crate::{
    Gathered, NodeInfo, Post, Rooms,
    cluster::question::{Question, Reply},
    hub::Waiting,
};

/// A session on its worker. The generation tells it from an earlier one in the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionKey {
    pub(crate) index: usize,
    pub(crate) generation: u32,
}

macro_rules! message {
    ($name:ty) => {
        message!($name => ());
    };
    ($name:ty => $result:ty) => {
        impl Message for $name {
            type Result = $result;
        }
    };
}

// To the bridge.

/// Store these events; each has an answer of its own.
#[derive(Debug)]
pub struct Publish {
    pub(crate) events: Vec<NewEvent>,
    /// Counts their bytes until the backplane has answered, whether or not the publisher still waits for it.
    pub(crate) waiting: Waiting,
    /// The request that they come from: what the log says meanwhile is about that.
    pub(crate) span: tracing::Span,
}
message!(Publish => Vec<Result<Published, BackplaneError>>);

/// A worker is there. Answered with its number, from 0; `None` if there are too many.
#[derive(Debug)]
pub struct WorkerUp {
    pub(crate) rooms: Post<Rooms>,
    /// Bytes of events that were sent to the worker and not taken up yet.
    pub(crate) queued: Arc<AtomicUsize>,
}
message!(WorkerUp => Option<usize>);

/// A worker wants everything that fits these selectors; answered by [`Delivery::Joined`] among its deliveries.
#[derive(Debug)]
pub struct Join {
    pub(crate) worker: usize,
    pub(crate) selectors: Vec<Selector>,
}
message!(Join);

/// A worker wants it no longer.
#[derive(Debug)]
pub struct Leave {
    pub(crate) worker: usize,
    pub(crate) selectors: Vec<Selector>,
}
message!(Leave);

/// Take a topic's history away.
#[derive(Debug)]
pub struct Clear(pub Topic);
message!(Clear => Result<usize, BackplaneError>);

/// A page of the topics that have history.
#[derive(Debug)]
pub struct ListTopics {
    /// What their names begin with.
    pub prefix: String,
    /// The name after which the page begins.
    pub after: Option<String>,
    /// Most topics.
    pub limit: usize,
}
message!(ListTopics => Result<Vec<TopicInfo>, BackplaneError>);

/// What is known of a topic.
#[derive(Debug)]
pub struct AskTopic(pub Topic);
message!(AskTopic => Result<Option<TopicInfo>, BackplaneError>);

/// What the backplane holds; also shows that it answers.
#[derive(Debug)]
pub struct AskTotals;
message!(AskTotals => Result<Totals, BackplaneError>);

/// End all sessions, each after what the backplane has told of until now.
#[derive(Debug)]
pub struct EndAll(pub(crate) CloseReason);
message!(EndAll);

/// Nothing is published any more: let go of the backplane.
#[derive(Debug)]
pub struct Close;
message!(Close);

// To history.

/// From now on it is fed everything that fits these selectors and comes after the heads.
#[derive(Debug)]
pub struct Follow {
    pub(crate) selectors: Vec<Selector>,
    pub(crate) heads: Heads,
}
message!(Follow);

/// It is no longer.
#[derive(Debug)]
pub struct Unfollow(pub(crate) Vec<Selector>);
message!(Unfollow);

/// New events, before any worker gets them.
#[derive(Debug)]
pub struct Feed(pub(crate) Vec<Arc<Event>>);
message!(Feed);

/// Events up to these heads were not fed.
#[derive(Debug)]
pub struct Reset(pub(crate) Heads);
message!(Reset);

/// A topic's history was taken away.
#[derive(Debug)]
pub struct Forget(pub(crate) Topic);
message!(Forget);

/// A session, or an administrator, reads.
#[derive(Debug)]
pub struct Read(pub Request);
message!(Read => Result<Replayed, BackplaneError>);

/// What a [`Read`] is answered with.
#[derive(Debug)]
pub struct Replayed {
    /// What was read.
    pub page: Page,
    /// Where it was.
    pub source: ReplaySource,
}

// To a worker's rooms.

/// Something for a worker, in the one order that matters.
#[derive(Debug)]
pub enum Delivery {
    /// Events that it wants, and when the first of them came to this node.
    Events(Vec<Arc<Event>>, Instant),
    /// It gets everything that fits these selectors and comes after the heads.
    Joined(Vec<Selector>, Heads),
    /// It has got everything up to these heads.
    Heads(Heads),
    /// Events were not delivered to it: its sessions must resume from history.
    Resync(Heads),
    /// Its sessions end, and so do those of so many workers in all.
    End(CloseReason, usize),
}

/// Deliveries in their order.
#[derive(Debug)]
pub struct Deliver(pub(crate) Vec<Delivery>);
message!(Deliver);

/// The bridge gave this worker a number.
#[derive(Debug)]
pub struct Numbered(pub(crate) usize);
message!(Numbered);

/// A session wants to listen; answered by [`Ready`].
#[derive(Debug)]
pub struct Subscribe {
    pub(crate) session: SessionKey,
    pub(crate) selectors: Selectors,
}
message!(Subscribe);

/// A session's cursor is ahead of this worker; answered by [`Ready`] when the worker has caught up.
#[derive(Debug)]
pub struct JoinAgain(pub(crate) SessionKey);
message!(JoinAgain);

/// A session wants the outbox; answered by [`Attached`].
#[derive(Debug)]
pub struct Attach(pub(crate) SessionKey);
message!(Attach);

/// A session is over.
#[derive(Debug)]
pub struct Unsubscribe(pub(crate) SessionKey);
message!(Unsubscribe);

/// An event without an id for some of the worker's sessions; answered with how many took it.
#[derive(Debug)]
pub struct Direct {
    /// `None` for all.
    pub(crate) sessions: Option<Vec<SessionKey>>,
    pub(crate) frame: Bytes,
}
message!(Direct => usize);

/// End some of the worker's sessions.
#[derive(Debug)]
pub struct EndSessions {
    /// `None` for all.
    pub(crate) sessions: Option<Vec<SessionKey>>,
    pub(crate) reason: CloseReason,
}
message!(EndSessions);

// To a session.

/// Its selectors are joined, and the worker has got everything up to these heads.
#[derive(Debug)]
pub struct Ready(pub(crate) Heads);
message!(Ready);

/// It is a member; everything after these heads is in the outbox.
#[derive(Debug)]
pub struct Attached(pub(crate) Heads);
message!(Attached);

/// It has fallen too far behind and is no member any more.
#[derive(Debug)]
pub struct Lagged;
message!(Lagged);

/// Its stream has sent all that it had of its own, and the session had asked to be told.
#[derive(Debug)]
pub struct Drained;
message!(Drained);

/// Its client is gone.
#[derive(Debug)]
pub struct Gone;
message!(Gone);

/// End the stream.
#[derive(Debug)]
pub struct End(pub(crate) CloseReason);
message!(End);

// To the registry.

/// A session has begun.
#[derive(Debug)]
pub struct Register {
    pub(crate) id: Name,
    pub(crate) rooms: Post<Rooms>,
    pub(crate) entry: crate::registry::Entry,
}
message!(Register);

/// It has ended.
#[derive(Debug)]
pub struct Unregister(pub(crate) Name);
message!(Unregister);

/// Asked by a handler of this node or by another node.
impl Message for Question {
    type Result = Reply;
}

// To the cluster.

/// Say that this node is there, and see who else is.
#[derive(Debug)]
pub struct Appear;
message!(Appear);

/// Say that this node is going.
#[derive(Debug)]
pub struct Disappear;
message!(Disappear);

/// Ask the nodes that this concerns.
#[derive(Debug)]
pub(crate) struct Gather {
    pub(crate) question: Question,
    /// Whether it was just looked who is there.
    pub(crate) refreshed: bool,
}
message!(Gather => Gathered<Vec<Reply>>);

/// Who is there.
#[derive(Debug)]
pub struct ListNodes;
message!(ListNodes => Vec<NodeInfo>);
