//! What a hub can be asked about the sessions of all its nodes.

use bytes::Bytes;
use towncrier_backplane::BackplaneError;
use towncrier_wire::{Name, Topic};

use super::{
    gather::Gathered,
    merge,
    question::{ListListened, ListSessions, ListUsers, Page, Question, Reply, SessionInfo, UserInfo, Who},
};
use crate::{
    Hub, NodeInfo,
    messages::{Clear, Close, Disappear, Gather, ListNodes},
};

/// The hub is stopping and does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hub is stopping")]
pub struct Stopping;

impl Hub {
    async fn gather(&self, question: Question) -> Result<Gathered<Vec<Reply>>, Stopping> {
        self.cluster().send(Gather { question, refreshed: false }).await.map_err(|_| Stopping)
    }

    /// Sends an encoded event without an id; gives how many sessions took it, `None` if the session is not known.
    ///
    /// # Errors
    /// If the hub is stopping.
    pub async fn send_direct(&self, who: Who, frame: Bytes) -> Result<Gathered<Option<usize>>, Stopping> {
        Ok(self.gather(Question::Send { who, frame }).await?.map(merge::count))
    }

    /// Ends sessions for good; gives how many, `None` if the session is not known.
    ///
    /// # Errors
    /// If the hub is stopping.
    pub async fn disconnect(&self, who: Who) -> Result<Gathered<Option<usize>>, Stopping> {
        Ok(self.gather(Question::Disconnect(who)).await?.map(merge::count))
    }

    /// What is known of a session.
    ///
    /// # Errors
    /// If the hub is stopping.
    pub async fn session(&self, id: Name) -> Result<Gathered<Option<SessionInfo>>, Stopping> {
        Ok(self.gather(Question::Session(id)).await?.map(merge::session))
    }

    /// A page of sessions, in the order of their ids.
    ///
    /// # Errors
    /// If the hub is stopping.
    pub async fn sessions(&self, list: ListSessions) -> Result<Gathered<Page<SessionInfo>>, Stopping> {
        let limit = list.limit;
        Ok(self.gather(Question::Sessions(list)).await?.map(|replies| merge::sessions(replies, limit)))
    }

    /// A page of the users that have sessions, in the order of their names.
    ///
    /// # Errors
    /// If the hub is stopping.
    pub async fn users(&self, list: ListUsers) -> Result<Gathered<Page<UserInfo>>, Stopping> {
        let limit = list.limit;
        Ok(self.gather(Question::Users(list)).await?.map(|replies| merge::users(replies, limit)))
    }

    /// How many sessions listen to each of these topics, by a selector of its own or by a pattern.
    ///
    /// # Errors
    /// If the hub is stopping.
    pub async fn count_listeners(&self, topics: Vec<Topic>) -> Result<Gathered<Vec<usize>>, Stopping> {
        let count = topics.len();
        Ok(self.gather(Question::Listeners(topics)).await?.map(|replies| merge::counts(replies, count)))
    }

    /// A page of the topics that sessions listen to by name, in their order.
    ///
    /// # Errors
    /// If the hub is stopping.
    pub async fn listened(&self, list: ListListened) -> Result<Gathered<Vec<Topic>>, Stopping> {
        let limit = list.limit;
        Ok(self.gather(Question::Listened(list)).await?.map(|replies| merge::topics(replies, limit)))
    }

    /// Takes all events of a topic away, on every node; gives their number.
    ///
    /// # Errors
    /// If the backplane does not do it.
    pub async fn clear(&self, topic: Topic) -> Result<Gathered<usize>, BackplaneError> {
        let stopping = |_| BackplaneError::Unavailable;
        let cleared = self.bridge().send(Clear(topic.clone())).await.map_err(stopping)??;
        let told = self.gather(Question::Forget(topic)).await.map_err(|Stopping| BackplaneError::Unavailable)?;
        Ok(told.map(|_| cleared))
    }

    /// All nodes as they last told of themselves, this one as it is now, in the order of their names.
    ///
    /// # Errors
    /// If the hub is stopping.
    pub async fn nodes(&self) -> Result<Vec<NodeInfo>, Stopping> {
        self.cluster().send(ListNodes).await.map_err(|_| Stopping)
    }

    /// Tells the other nodes that this one is going, and lets go of the backplane. To be called when nothing is published any
    /// more, and the hub is stopping.
    pub async fn take_leave(&self) {
        // A hub that has stopped already is found to be gone a few seconds later.
        let _ = self.cluster().send(Disappear).await;
        let _ = self.bridge().send(Close).await;
    }
}
