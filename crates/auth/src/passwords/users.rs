//! Users from a configuration.

use std::collections::HashMap;

use towncrier_wire::Name;

use super::PasswordHash;
use crate::{Rights, limits::USERS_MAX};

/// Somebody with a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Who.
    pub name: Name,
    /// The password's hash.
    pub password: PasswordHash,
    /// What they may do once they have logged in.
    pub rights: Rights,
}

/// Why a list of users was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsersError {
    /// Two of the same name.
    #[error("there are two users '{0}'")]
    Twice(Name),
    /// Too many for a configuration.
    #[error("at most {USERS_MAX} users are allowed")]
    TooMany,
}

/// The users of a configuration.
#[derive(Debug, Clone)]
pub struct Users {
    by_name: HashMap<Name, User>,
    stranger: PasswordHash,
}

impl Users {
    /// Takes a list of users.
    ///
    /// # Errors
    /// If there are too many, or two have the same name.
    pub fn new(users: Vec<User>) -> Result<Self, UsersError> {
        if users.len() > USERS_MAX {
            return Err(UsersError::TooMany);
        }
        let dearest = users.iter().map(|user| &user.password).max_by_key(|hash| hash.cost());
        let stranger = dearest.map_or_else(PasswordHash::stranger, PasswordHash::stranger_like);
        let mut by_name = HashMap::with_capacity(users.len());
        for user in users {
            if let Some(other) = by_name.insert(user.name.clone(), user) {
                return Err(UsersError::Twice(other.name));
            }
        }
        Ok(Self { by_name, stranger })
    }

    /// The user of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&User> {
        Name::new(name).ok().and_then(|name| self.by_name.get(&name))
    }

    /// The hash to check a password by that came with a name that nobody has: it fits no password, and takes as long as the
    /// dearest hash of a user. As long as all hashes are of the same cost, nothing tells who exists.
    #[must_use]
    pub fn stranger(&self) -> PasswordHash {
        self.stranger.clone()
    }
}
