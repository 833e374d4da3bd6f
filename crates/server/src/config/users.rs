//! `[[auth.users]]`: who may log in.

use config::{Value, ValueKind};
use towncrier_auth::{PasswordHash, Rights, Scope, User};
use towncrier_wire::{Name, Selector};

use super::{
    problem::{Problem, unknown},
    value::describe,
};

/// The section and the key of the list.
pub(crate) const SECTION: &str = "auth";
pub(crate) const LIST: &str = "users";
const PATH: &str = "auth.users";

const KEYS: [&str; 5] = ["name", "password_hash", "subscribe", "publish", "admin"];

/// A user of the configuration. Shows their name only.
#[derive(Clone)]
pub(crate) struct ConfiguredUser(pub(crate) User);

impl PartialEq for ConfiguredUser {
    fn eq(&self, other: &Self) -> bool {
        (&self.0.name, &self.0.rights) == (&other.0.name, &other.0.rights)
    }
}

impl Eq for ConfiguredUser {}

impl std::fmt::Debug for ConfiguredUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ConfiguredUser").field(&self.0.name).finish()
    }
}

/// Reads the list; what is wrong with it becomes problems.
pub(crate) fn read(list: &ValueKind, origin: &str, problems: &mut Vec<Problem>) -> Vec<ConfiguredUser> {
    let ValueKind::Array(items) = list else {
        let text = format!("must be [[{PATH}]] tables, not {}", describe(list));
        problems.push(Problem::new(PATH, origin, text));
        return Vec::new();
    };
    let mut users = Vec::new();
    for (position, item) in items.iter().enumerate() {
        let mut wrong = |key: &str, text: String| {
            let dot = if key.is_empty() { "" } else { "." };
            problems.push(Problem::new(format!("{PATH}[{position}]{dot}{key}"), origin, text));
        };
        users.extend(read_one(item, &mut wrong).map(ConfiguredUser));
    }
    let mut names: Vec<&Name> = users.iter().map(|user| &user.0.name).collect();
    names.sort_unstable();
    for pair in names.windows(2).filter(|pair| pair[0] == pair[1]) {
        problems.push(Problem::new(PATH, origin, format!("has two users {:?}", pair[0].as_str())));
    }
    users
}

fn read_one(item: &Value, wrong: &mut impl FnMut(&str, String)) -> Option<User> {
    let ValueKind::Table(table) = &item.kind else {
        wrong("", format!("must be a table, not {}", describe(&item.kind)));
        return None;
    };
    let mut keys: Vec<&String> = table.keys().filter(|key| !KEYS.contains(&key.as_str())).collect();
    keys.sort_unstable();
    keys.into_iter().for_each(|key| wrong(key, unknown("key", key, KEYS.into_iter())));
    let text = |key: &str| match table.get(key).map(|value| &value.kind) {
        None => Err("is missing".to_owned()),
        Some(ValueKind::String(text)) => Ok(text.as_str()),
        Some(other) => Err(format!("must be text, not {}", describe(other))),
    };
    let name = text("name").and_then(|text| Name::new(text).map_err(|error| error.to_string()));
    let name = name.map_err(|text| wrong("name", text)).ok();
    // The hash is not shown, whatever is wrong with it.
    let hash = text("password_hash")
        .map_err(|_| "is missing, or no text".to_owned())
        .and_then(|text| PasswordHash::parse(text).map_err(|error| error.to_string()));
    let password = hash.map_err(|text| wrong("password_hash", text)).ok();
    let selector = |text: &str| Selector::new(text).map_err(|error| error.to_string());
    let scope = |text: &str| Scope::from_name(text).ok_or_else(|| "must be \"read\" or \"write\"".to_owned());
    let subscribe = texts(table.get("subscribe"), selector).map_err(|text| wrong("subscribe", text));
    let publish = texts(table.get("publish"), selector).map_err(|text| wrong("publish", text));
    let admin = texts(table.get("admin"), scope).map_err(|text| wrong("admin", text));
    let rights = Rights { subscribe: subscribe.ok()?, publish: publish.ok()?, admin: admin.ok()? };
    Some(User { name: name?, password: password?, rights })
}

/// A list of texts, each of which must be something; an absent one is empty.
fn texts<T>(value: Option<&Value>, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let ValueKind::Array(items) = &value.kind else {
        return Err(format!("must be a list of texts, not {}", describe(&value.kind)));
    };
    let one = |(index, item): (usize, &Value)| match &item.kind {
        ValueKind::String(text) => read(text).map_err(|what| format!("[{index}] {what}")),
        other => Err(format!("[{index}] must be text, not {}", describe(other))),
    };
    items.iter().enumerate().map(one).collect()
}
