//! What is asked of Redis before a node relies on it: its version, and whether the prefix is this hub's.

use fred::{error::Error, types::Value};

use crate::{
    ConnectError,
    commands::{Commands, text},
    keys,
    settings::{self, LAYOUT},
};

/// The oldest version whose scripts, streams and shard channels do what is needed.
pub(crate) const MAJOR_LEAST: u32 = 7;

/// Takes the prefix for a hub, if it is free.
pub(crate) async fn check(commands: &Commands) -> Result<(), ConnectError> {
    version(commands).await?;
    layout(commands).await?;
    partitions(commands).await?;
    keys_are_ours(commands).await
}

/// The same without writing anything.
pub(crate) async fn look(commands: &Commands) -> Result<(), ConnectError> {
    version(commands).await?;
    layout(commands).await?;
    same_partitions(commands, stored(commands, keys::partitions(&commands.options.prefix)).await?)?;
    keys_are_ours(commands).await
}

async fn version(commands: &Commands) -> Result<(), ConnectError> {
    let info = match commands.plain("INFO", &commands.keys[0].meta, vec![text("server")]).await {
        Ok(info) => info.as_str().map(|info| info.to_string()).unwrap_or_default(),
        // A user that may not ask is told so by whatever else it may not do.
        Err(error) if error.details().starts_with("NOPERM") => return Ok(()),
        Err(error) => return Err(ConnectError::of(&error)),
    };
    let line = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("of unknown version");
    let major = line.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major >= MAJOR_LEAST) { Ok(()) } else { Err(ConnectError::TooOld(line.to_owned())) }
}

/// What lies there was stored as this version stores it.
async fn layout(commands: &Commands) -> Result<(), ConnectError> {
    let stored = stored(commands, keys::settings(&commands.options.prefix)).await?;
    match stored.as_deref().and_then(settings::layout) {
        Some(stored) if stored != LAYOUT.to_string() => {
            Err(ConnectError::OtherLayout { stored: stored.to_owned(), own: LAYOUT })
        }
        _ => Ok(()),
    }
}

/// The first node of a hub says how many partitions it has; all others must have the same.
pub(crate) async fn partitions(commands: &Commands) -> Result<(), ConnectError> {
    let key = keys::partitions(&commands.options.prefix);
    let own = commands.options.partitions.count();
    let set = vec![text(key.as_str()), text(own.to_string()), text("NX"), text("GET")];
    let stored = commands.plain("SET", &key, set).await.map_err(|error| foreign(key, &error))?;
    same_partitions(commands, said(&stored))
}

fn same_partitions(commands: &Commands, stored: Option<String>) -> Result<(), ConnectError> {
    let own = commands.options.partitions.count();
    match stored {
        Some(stored) if stored != own.to_string() => Err(ConnectError::OtherPartitions { stored, own }),
        _ => Ok(()),
    }
}

/// What a key holds that is a text.
async fn stored(commands: &Commands, key: String) -> Result<Option<String>, ConnectError> {
    let got = commands.plain("GET", &key, vec![text(key.as_str())]).await;
    Ok(said(&got.map_err(|error| foreign(key, &error))?))
}

fn said(answer: &Value) -> Option<String> {
    match answer {
        Value::Null => None,
        said => Some(said.as_str().map(|said| said.to_string()).unwrap_or_default()),
    }
}

/// Whatever exists under the names of the hub's keys is of the right type.
async fn keys_are_ours(commands: &Commands) -> Result<(), ConnectError> {
    for names in &commands.keys {
        let (hash, zset, set) = ("hash", "zset", "set");
        let keys = [
            (&names.meta, hash),
            (&names.cards, hash),
            (&names.topics, hash),
            (&names.names, zset),
            (&names.recent, zset),
            (&names.due, zset),
            (&names.nodes, zset),
            (&names.eras, hash),
            (&names.awaited, set),
            (&names.came, hash),
            (&names.handed, hash),
            (&names.order, zset),
        ];
        for (key, expected) in keys {
            let found = commands.plain("TYPE", key, vec![text(key.as_str())]).await;
            let found = found.map_err(|error| ConnectError::of(&error))?;
            let found = found.as_str().map(|found| found.to_string()).unwrap_or_default();
            if found != expected && found != "none" {
                let detail = format!("it is a {found}, not a {expected}");
                return Err(ConnectError::ForeignKey { key: key.clone(), detail });
            }
        }
    }
    Ok(())
}

fn foreign(key: String, error: &Error) -> ConnectError {
    if error.details().contains("WRONGTYPE") {
        ConnectError::ForeignKey { key, detail: error.details().to_owned() }
    } else {
        ConnectError::of(error)
    }
}
