//! Who may log in: users of the configuration, and accounts that the backplane keeps for all nodes.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use towncrier_auth::{PasswordHash, Rights, Scope, User, Users};
use towncrier_backplane::{Accounts, BackplaneError};
use towncrier_wire::{Name, Selector};

/// What stands for the user's own name in the rights of those who register.
const USER: &str = "{user}";

/// See the module.
pub struct Directory {
    /// Those of the configuration; an account of the same name counts for nothing.
    pub configured: Users,
    /// The others.
    pub kept: Arc<dyn Accounts>,
    /// What those may do who register themselves, if they may.
    pub registration: Option<Registration>,
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("kept", &self.kept).finish_non_exhaustive()
    }
}

/// The rights of those who register, in which `{user}` stands for their name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registration {
    /// What they may subscribe to.
    pub subscribe: Vec<String>,
    /// What they may publish to.
    pub publish: Vec<String>,
}

impl Registration {
    /// The rights of a user.
    ///
    /// # Errors
    /// If one is no selector with this name in it.
    pub fn rights(&self, user: &Name) -> Result<Rights, String> {
        let filled = |texts: &[String]| -> Result<Vec<Selector>, String> {
            let fill = |text: &String| {
                let text = text.replace(USER, user.as_str());
                Selector::new(&text).map_err(|error| format!("{text:?} {error}"))
            };
            texts.iter().map(fill).collect()
        };
        Ok(Rights { subscribe: filled(&self.subscribe)?, publish: filled(&self.publish)?, admin: Vec::new() })
    }
}

/// An account as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Account {
    /// The password's hash, as a PHC string.
    password: String,
    subscribe: Vec<Selector>,
    publish: Vec<Selector>,
    admin: Vec<String>,
}

impl Account {
    pub(crate) fn new(password: &PasswordHash, rights: &Rights) -> Self {
        Self {
            password: password.to_phc(),
            subscribe: rights.subscribe.clone(),
            publish: rights.publish.clone(),
            admin: rights.admin.iter().map(|scope| scope.as_str().to_owned()).collect(),
        }
    }

    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Nothing if somebody else wrote it.
    pub(crate) fn read(name: &Name, text: &str) -> Option<User> {
        let account: Self = serde_json::from_str(text).ok()?;
        Some(User {
            name: name.clone(),
            password: PasswordHash::parse(&account.password).ok()?,
            rights: Rights {
                subscribe: account.subscribe,
                publish: account.publish,
                admin: account.admin.iter().filter_map(|scope| Scope::from_name(scope)).collect(),
            },
        })
    }
}

impl Directory {
    /// A user, if there is one of this name.
    pub(crate) async fn find(&self, name: &Name) -> Result<Option<User>, BackplaneError> {
        if let Some(user) = self.configured.get(name.as_str()) {
            return Ok(Some(user.clone()));
        }
        let Some(text) = self.kept.get(name.clone()).await? else { return Ok(None) };
        let user = Account::read(name, &text);
        if user.is_none() {
            tracing::error!(user = name.as_str(), "what is kept of an account is not understood");
        }
        Ok(user)
    }
}

/// Whether a name is one that may be registered: it may end up within topics.
pub(crate) fn may_be_registered(name: &Name) -> bool {
    let text = name.as_str();
    text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_takes_its_place_in_rights() {
        let registration = Registration { subscribe: vec!["users/{user}/**".into(), "news".into()], publish: vec![] };
        let rights = registration.rights(&Name::new("anna").unwrap()).unwrap();
        let texts: Vec<_> = rights.subscribe.iter().map(Selector::as_str).collect();
        assert_eq!(texts, ["users/anna/**", "news"]);
        for bad in ["a/b", "a*", "**", "a b", "", "ä", &"x".repeat(65)] {
            assert!(!Name::new(bad).is_ok_and(|name| may_be_registered(&name)), "{bad}");
        }
        assert!(may_be_registered(&Name::new("Anna.Maria-2_x").unwrap()));
    }
}
