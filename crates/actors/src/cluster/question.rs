//! What can be asked about sessions, and what a node's registry answers: the same whether the question comes from a
//! handler of this node or, as JSON, from another node.

use std::net::IpAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use towncrier_wire::{Name, Selector, Selectors, Topic};

/// Which sessions.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// One.
    Session(Name),
    /// All of a user.
    User(Name),
    /// All.
    Everyone,
}

/// A page of sessions, in the order of their ids.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ListSessions {
    /// Only those that listen to this topic, or have just this pattern.
    pub selector: Option<Selector>,
    /// Only those of this user.
    pub user: Option<Name>,
    /// The id after which the page begins.
    pub after: Option<Name>,
    /// Most sessions.
    pub limit: usize,
}

/// A page of the topics that sessions listen to by name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListListened {
    /// What their names begin with.
    pub prefix: String,
    /// The name after which the page begins.
    pub after: Option<String>,
    /// Most topics.
    pub limit: usize,
}

/// A page of the users that have sessions, in the order of their names.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListUsers {
    /// The name after which the page begins.
    pub after: Option<Name>,
    /// Most users.
    pub limit: usize,
}

/// A session as administrators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// Its id.
    pub id: Name,
    /// Whose it is.
    pub user: Option<Name>,
    /// What it listens to.
    pub selectors: Selectors,
    /// The address it comes from.
    pub remote: Option<IpAddr>,
    /// Since when, in ms since 1970.
    pub connected_at: u64,
    /// The name of the node that it is connected to.
    pub node: String,
}

/// A user with sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserInfo {
    /// Their id.
    pub id: Name,
    /// How many sessions they have.
    pub sessions: usize,
}

/// Part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// In order.
    pub items: Vec<T>,
    /// Whether there are more behind the last one.
    pub more: bool,
}

/// What is asked of a registry, or that it shall do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Question {
    /// Send an event without an id. Answered by a count: of the sessions that took it, none if the session is not known.
    Send {
        who: Who,
        /// The encoded event. It goes beside the JSON, as it is.
        #[serde(skip)]
        frame: Bytes,
    },
    /// End sessions for good. Answered by a count: how many, none if the session is not known.
    Disconnect(Who),
    Session(Name),
    Sessions(ListSessions),
    Users(ListUsers),
    /// How many sessions listen to each of these topics, by a selector of its own or by a pattern.
    Listeners(Vec<Topic>),
    Listened(ListListened),
    /// A topic's history was taken away: what is kept of it here goes as well. Answered by a count of one.
    Forget(Topic),
}

impl Question {
    /// The one session that it is about.
    pub(crate) fn session(&self) -> Option<&Name> {
        match self {
            Self::Send { who: Who::Session(id), .. } | Self::Disconnect(Who::Session(id)) | Self::Session(id) => {
                Some(id)
            }
            _ => None,
        }
    }

    /// Whether asking twice would do something twice.
    pub(crate) fn is_deed(&self) -> bool {
        matches!(self, Self::Send { .. } | Self::Disconnect(_))
    }
}

/// What a registry answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    Count(Option<usize>),
    Session(Option<SessionInfo>),
    Sessions(Page<SessionInfo>),
    Users(Page<UserInfo>),
    Counts(Vec<usize>),
    Topics(Vec<Topic>),
}
