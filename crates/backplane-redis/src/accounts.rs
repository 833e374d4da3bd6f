//! Accounts in Redis: one hash for all, beside the first partition.

use std::sync::Arc;

use fred::types::Value;
use towncrier_backplane::{ACCOUNTS_MAX, Accounts, Answer, BackplaneError, Stored};
use towncrier_wire::Name;

use crate::{
    answers,
    commands::{Commands, number, text},
    scripts::ACCOUNTS,
};

/// Which partition's server keeps them.
const PARTITION: usize = 0;

/// See the module.
pub struct RedisAccounts(pub(crate) Arc<Commands>);

impl std::fmt::Debug for RedisAccounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedisAccounts")
    }
}

impl RedisAccounts {
    async fn ask(&self, what: &str, more: Vec<Value>) -> Result<Value, BackplaneError> {
        self.0.available()?;
        let names = &self.0.keys[PARTITION];
        let mut arguments = vec![text(what)];
        arguments.extend(more);
        // In whatever era: no event hangs on it.
        let keys = vec![names.accounts.clone(), names.account_names.clone()];
        self.0.sort(self.0.ask(&ACCOUNTS, PARTITION, "", keys, arguments).await)
    }
}

impl Accounts for RedisAccounts {
    fn get(&self, name: Name) -> Answer<'_, Result<Option<String>, BackplaneError>> {
        Box::pin(async move {
            match self.ask("get", vec![text(name.as_str())]).await? {
                Value::Null => Ok(None),
                known => answers::str(&known).map(|known| Some(known.to_owned())),
            }
        })
    }

    fn put(&self, name: Name, known: String, only_new: bool) -> Answer<'_, Result<Stored, BackplaneError>> {
        Box::pin(async move {
            let what = if only_new { "new" } else { "put" };
            let answer = self.ask(what, vec![text(name.as_str()), text(known), number(ACCOUNTS_MAX)]).await?;
            match answers::count(&answer)? {
                1 => Ok(Stored::Yes),
                2 => Ok(Stored::Taken),
                _ => Ok(Stored::Full),
            }
        })
    }

    fn remove(&self, name: Name) -> Answer<'_, Result<bool, BackplaneError>> {
        Box::pin(async move { Ok(answers::count(&self.ask("del", vec![text(name.as_str())]).await?)? > 0) })
    }

    fn list(&self, after: Option<Name>, limit: usize) -> Answer<'_, Result<Vec<(Name, String)>, BackplaneError>> {
        Box::pin(async move {
            let after = after.as_ref().map_or("", Name::as_str).to_owned();
            let fields = answers::list(self.ask("list", vec![text(after), number(limit)]).await?)?;
            let one = |pair: &[Value]| {
                let (name, known) = (answers::str(&pair[0]).ok()?, answers::str(&pair[1]).ok()?);
                Some((Name::new(name).ok()?, known.to_owned()))
            };
            Ok(fields.chunks_exact(2).filter_map(one).collect())
        })
    }
}
