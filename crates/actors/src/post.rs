//! Addresses that know how much waits behind them: an actix mailbox does not tell its length.

use std::fmt;

use actix::{
    Actor, Addr, Handler, Message,
    dev::{Request, ToEnvelope},
};
use towncrier_telemetry::Gauge;

use crate::{
    Bridge, Cluster, History, Registry, Rooms, Session,
    cluster::question::Question,
    messages::{
        AskTopic, AskTotals, Attach, Attached, Clear, Close, Deliver, Direct, Disappear, Drained, End, EndAll,
        EndSessions, Feed, Follow, Forget, Gather, Gone, Join, JoinAgain, Lagged, Leave, ListNodes, ListTopics,
        Numbered, Publish, Read, Ready, Register, Reset, Subscribe, Unfollow, Unregister, Unsubscribe, WorkerUp,
    },
};

/// An actor's address. What is sent by it counts as waiting until the actor takes it up, or it is dropped with the mailbox.
pub struct Post<A: Actor> {
    address: Addr<A>,
    /// Shared by all actors of a kind.
    waiting: Gauge,
}

/// A message in a mailbox.
#[derive(Debug)]
pub struct Posted<M> {
    message: M,
    place: Place,
}

/// One of those that wait.
#[derive(Debug)]
struct Place(Gauge);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl<M> Posted<M> {
    /// The message, which no longer waits.
    pub(crate) fn take(self) -> M {
        let Self { message, place } = self;
        drop(place);
        message
    }
}

impl<M: Message> Message for Posted<M> {
    type Result = M::Result;
}

impl<A: Actor> fmt::Debug for Post<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").field("waiting", &self.waiting.get()).finish_non_exhaustive()
    }
}

impl<A: Actor> Clone for Post<A> {
    fn clone(&self) -> Self {
        Self { address: self.address.clone(), waiting: self.waiting.clone() }
    }
}

impl<A: Actor> PartialEq for Post<A> {
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address
    }
}

impl<A: Actor> Post<A> {
    pub(crate) fn new(address: Addr<A>, waiting: &Gauge) -> Self {
        Self { address, waiting: waiting.clone() }
    }

    fn post<M>(&self, message: M) -> Posted<M> {
        self.waiting.inc();
        Posted { message, place: Place(self.waiting.clone()) }
    }

    /// Sends, and does not wait.
    pub fn do_send<M>(&self, message: M)
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<Posted<M>>,
        A::Context: ToEnvelope<A, Posted<M>>,
    {
        self.address.do_send(self.post(message));
    }

    /// Sends, and waits for the answer.
    pub fn send<M>(&self, message: M) -> Request<A, Posted<M>>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<Posted<M>>,
        A::Context: ToEnvelope<A, Posted<M>>,
    {
        self.address.send(self.post(message))
    }
}

/// Makes an actor take messages of these kinds by a [`Post`]. One for all kinds would have the compiler look for messages in
/// messages without end.
macro_rules! takes_posted {
    ($($actor:ty: $($message:ty),+;)+) => {
        $($(impl actix::Handler<$crate::Posted<$message>> for $actor {
            type Result = <$actor as actix::Handler<$message>>::Result;

            fn handle(&mut self, posted: $crate::Posted<$message>, ctx: &mut Self::Context) -> Self::Result {
                <Self as actix::Handler<$message>>::handle(self, posted.take(), ctx)
            }
        })+)+
    };
}

#[cfg(feature = "faults")]
pub(crate) use takes_posted;

takes_posted! {
    Bridge: Publish, WorkerUp, Join, Leave, Clear, ListTopics, AskTopic, AskTotals, EndAll, Close;
    History: Follow, Unfollow, Feed, Reset, Forget, Read;
    Rooms: Deliver, Numbered, Subscribe, JoinAgain, Attach, Unsubscribe, Direct, EndSessions;
    Session: Ready, Attached, Lagged, Drained, Gone, End;
    Registry: Register, Unregister, Question;
    Cluster: Disappear, Gather, ListNodes;
}
