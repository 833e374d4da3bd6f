//! Who may log in, where that is not in the configuration: kept beside the events, so that every node knows it.

use std::{collections::BTreeMap, fmt, ops::Bound, sync::Mutex, sync::PoisonError};

use towncrier_wire::Name;

use crate::{Answer, BackplaneError};

/// Most accounts.
pub const ACCOUNTS_MAX: usize = 1_000_000;

/// What became of an account that was to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is.
    Yes,
    /// The name belongs to somebody; nothing was changed.
    Taken,
    /// There are [`ACCOUNTS_MAX`] already.
    Full,
}

/// A small table of names and texts. What the texts say is no business of whoever keeps them. All calls may be made at the
/// same time.
pub trait Accounts: fmt::Debug + Send + Sync + 'static {
    /// What is known of a name.
    fn get(&self, name: Name) -> Answer<'_, Result<Option<String>, BackplaneError>>;

    /// Stores a name; with `only_new`, unless it is there.
    fn put(&self, name: Name, known: String, only_new: bool) -> Answer<'_, Result<Stored, BackplaneError>>;

    /// Takes a name away; gives whether it was there.
    fn remove(&self, name: Name) -> Answer<'_, Result<bool, BackplaneError>>;

    /// Names after one, in order, at most `limit`, and what is known of them.
    fn list(&self, after: Option<Name>, limit: usize) -> Answer<'_, Result<Vec<(Name, String)>, BackplaneError>>;
}

/// Accounts of a hub of one node, gone when it stops.
#[derive(Default)]
pub struct AccountsInMemory(Mutex<BTreeMap<Name, String>>);

impl fmt::Debug for AccountsInMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountsInMemory")
    }
}

impl AccountsInMemory {
    fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut BTreeMap<Name, String>) -> T,
    ) -> Answer<'_, Result<T, BackplaneError>> {
        let answer = ask(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        Box::pin(std::future::ready(Ok(answer)))
    }
}

impl Accounts for AccountsInMemory {
    fn get(&self, name: Name) -> Answer<'_, Result<Option<String>, BackplaneError>> {
        self.ask(|all| all.get(&name).cloned())
    }

    fn put(&self, name: Name, known: String, only_new: bool) -> Answer<'_, Result<Stored, BackplaneError>> {
        self.ask(|all| {
            let is_there = all.contains_key(&name);
            if is_there && only_new {
                return Stored::Taken;
            }
            if !is_there && all.len() >= ACCOUNTS_MAX {
                return Stored::Full;
            }
            all.insert(name, known);
            Stored::Yes
        })
    }

    fn remove(&self, name: Name) -> Answer<'_, Result<bool, BackplaneError>> {
        self.ask(|all| all.remove(&name).is_some())
    }

    fn list(&self, after: Option<Name>, limit: usize) -> Answer<'_, Result<Vec<(Name, String)>, BackplaneError>> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.ask(|all| {
            let found = all.range((start, Bound::Unbounded)).take(limit);
            found.map(|(name, known)| (name.clone(), known.clone())).collect()
        })
    }
}
