//! Who somebody is and what they may do.

use towncrier_wire::{Name, Selector, Topic};

use crate::{UnixTime, covering::covers};

/// A part of the administration API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Looking at topics, sessions, nodes and figures.
    Read,
    /// Changing something: disconnecting, sending directly, deleting history. Does not include [`Scope::Read`].
    Write,
}

impl Scope {
    /// As the claim has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    /// The scope of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Read, Self::Write].into_iter().find(|scope| scope.as_str() == name)
    }
}

/// What a token or a user may do. Nothing, unless it says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// What may be subscribed to, at most [`crate::limits::RIGHTS_SELECTORS_MAX`].
    pub subscribe: Vec<Selector>,
    /// What may be published to, at most [`crate::limits::RIGHTS_SELECTORS_MAX`].
    pub publish: Vec<Selector>,
    /// Parts of the administration API.
    pub admin: Vec<Scope>,
}

impl Rights {
    /// Whether a session may have this selector: whether a single grant covers it. A selector that only several grants
    /// cover together is refused.
    #[must_use]
    pub fn may_subscribe(&self, requested: &Selector) -> bool {
        self.subscribe.iter().any(|granted| covers(granted, requested))
    }

    /// Whether an event may be published to a topic.
    #[must_use]
    pub fn may_publish(&self, topic: &Topic) -> bool {
        self.publish.iter().any(|granted| granted.matches(topic))
    }

    /// Whether a part of the administration API may be used.
    #[must_use]
    pub fn may_admin(&self, scope: Scope) -> bool {
        self.admin.contains(&scope)
    }
}

/// Whom a valid token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The claim `sub`.
    pub user: Option<Name>,
    /// When the token ceases to be accepted: `exp` and the leeway. A stream ends then.
    pub expires_at: Option<UnixTime>,
    /// The times of a login, if the token is a login's.
    pub login: Option<Login>,
    /// What they may do.
    pub rights: Rights,
}

/// When a login's token was minted, ends, and when the user gave the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Login {
    /// When the user logged in.
    pub at: UnixTime,
    /// The claim `iat` of this token.
    pub issued_at: UnixTime,
    /// The claim `exp` of this token.
    pub expires_at: UnixTime,
}
