//! `[[namespaces]]`: topic prefixes with options of their own.

use std::time::Duration;

use config::{Value, ValueKind};
use towncrier_wire::limits;

use super::{
    problem::{Problem, unknown},
    settings::{self, keys},
    source::flatten,
    types::{FromSetting, Over, Slow, Subscribing},
    value::{Kind, Setting, describe},
};

/// The key of the list.
pub(crate) const KEY: &str = "namespaces";

const PREFIX: &str = "prefix";
const METRICS: &str = "metrics";
const EVENTS: &str = "history.events";
const AGE: &str = "history.age";
const SLOW: &str = "session.slow";
const RATE: &str = "session.events_per_second";
const OVER: &str = "session.over_rate";
const SUBSCRIBE: &str = "auth.subscribe";
const ENCRYPTION: &str = "encryption.enabled";
/// The one option that has a relation to another key.
pub(crate) const OUTBOX_BYTES: &str = "session.outbox_bytes";

const PUBLISHES: &str = "limits.publishes_per_second_per_client";
const PUBLISHES_BURST: &str = "limits.publishes_burst_per_client";

/// What a namespace may say.
const KEYS: [&str; 12] =
    [PREFIX, METRICS, EVENTS, AGE, SLOW, RATE, OVER, OUTBOX_BYTES, SUBSCRIBE, ENCRYPTION, PUBLISHES, PUBLISHES_BURST];

/// Most namespaces of one hub: each event is compared with them.
const NAMESPACES_MAX: usize = 1000;

/// A topic prefix, and what holds for its topics in place of the keys of the same names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Namespace {
    /// What its topics begin with: `orders/`. No two namespaces have the same.
    pub(crate) prefix: String,
    /// Whether its events are counted by themselves.
    pub(crate) metrics: Option<bool>,
    /// In place of `history.events`.
    pub(crate) history_events: Option<usize>,
    /// In place of `history.age`.
    pub(crate) history_age: Option<Duration>,
    /// In place of `session.slow`.
    pub(crate) slow: Option<Slow>,
    /// In place of `session.events_per_second`.
    pub(crate) events_per_second: Option<u32>,
    /// In place of `session.over_rate`.
    pub(crate) over: Option<Over>,
    /// In place of `session.outbox_bytes`, in bytes.
    pub(crate) outbox_bytes: Option<usize>,
    /// In place of `auth.subscribe`.
    pub(crate) subscribe: Option<Subscribing>,
    /// In place of `encryption.enabled`.
    pub(crate) encrypted: Option<bool>,
    /// In place of `limits.publishes_per_second_per_client`.
    pub(crate) publishes_per_second: Option<u32>,
    /// In place of `limits.publishes_burst_per_client`.
    pub(crate) publishes_burst: Option<u32>,
}

impl Namespace {
    /// Its options that are set, by name, with their values as in TOML.
    pub(crate) fn options(&self) -> Vec<(&'static str, String)> {
        let slow = |slow| match slow {
            Slow::Disconnect => "disconnect",
            Slow::Conflate => "conflate",
        };
        let over = |over| match over {
            Over::Drop => "drop",
            Over::Conflate => "conflate",
        };
        let subscribe = |who| match who {
            Subscribing::Token => "token",
            Subscribing::Public => "public",
        };
        let options = [
            (PREFIX, Some(Setting::Text(self.prefix.clone()))),
            (METRICS, self.metrics.map(Setting::Flag)),
            (EVENTS, self.history_events.map(|events| Setting::Count(events as u64))),
            (AGE, self.history_age.map(Setting::Time)),
            (SLOW, self.slow.map(|policy| Setting::Text(slow(policy).into()))),
            (RATE, self.events_per_second.map(|number| Setting::Count(number.into()))),
            (OVER, self.over.map(|policy| Setting::Text(over(policy).into()))),
            (SUBSCRIBE, self.subscribe.map(|who| Setting::Text(subscribe(who).into()))),
            (ENCRYPTION, self.encrypted.map(Setting::Flag)),
            (OUTBOX_BYTES, self.outbox_bytes.map(|bytes| Setting::Bytes(bytes as u64))),
            (PUBLISHES, self.publishes_per_second.map(|number| Setting::Count(number.into()))),
            (PUBLISHES_BURST, self.publishes_burst.map(|number| Setting::Count(number.into()))),
        ];
        options.into_iter().filter_map(|(name, setting)| Some((name, setting?.to_string()))).collect()
    }
}

/// Reads the list; what is wrong with it becomes problems.
pub(crate) fn read(list: &ValueKind, origin: &str, problems: &mut Vec<Problem>) -> Vec<Namespace> {
    let ValueKind::Array(items) = list else {
        problems.push(Problem::new(KEY, origin, format!("must be [[namespaces]] tables, not {}", describe(list))));
        return Vec::new();
    };
    if items.len() > NAMESPACES_MAX {
        problems.push(Problem::new(KEY, origin, format!("at most {NAMESPACES_MAX} are allowed, not {}", items.len())));
        return Vec::new();
    }
    let mut namespaces: Vec<Namespace> = Vec::new();
    for (position, item) in items.iter().enumerate() {
        let path = format!("{KEY}[{position}]");
        let namespace = read_one(item, &path, origin, problems);
        let same = namespaces.iter().position(|earlier| earlier.prefix == namespace.prefix);
        if let Some(earlier) = same.filter(|_| !namespace.prefix.is_empty()) {
            let text = format!("is the same as that of {KEY}[{earlier}]: {:?}", namespace.prefix);
            problems.push(Problem::new(format!("{path}.{PREFIX}"), origin, text));
        }
        namespaces.push(namespace);
    }
    namespaces
}

fn read_one(item: &Value, path: &str, origin: &str, problems: &mut Vec<Problem>) -> Namespace {
    let mut namespace = Namespace::default();
    let ValueKind::Table(table) = &item.kind else {
        problems.push(Problem::new(path, origin, format!("must be a table, not {}", describe(&item.kind))));
        return namespace;
    };
    let mut own = Vec::new();
    let unknown_key = |name: &str| {
        if keys().any(|key| key.name == name) {
            "cannot be set for a namespace".to_owned()
        } else {
            unknown("key", name, KEYS.into_iter())
        }
    };
    let found = flatten(table.clone(), "", &KEYS, &unknown_key, origin, &mut own);
    let has_prefix = found.iter().any(|(name, _)| name == PREFIX);
    for (name, value) in found {
        let result = if name == PREFIX {
            read_prefix(&value).map(|prefix| namespace.prefix = prefix)
        } else if name == METRICS {
            // No key of the hub: what all topics have in common is counted anyway.
            Kind::Flag.read(&value).map(|setting| namespace.metrics = bool::from_setting(&setting))
        } else {
            let key = settings::key(&name).expect("a namespace's options are keys of the hub");
            key.kind.read(&value).map(|setting| set(&mut namespace, &name, &setting))
        };
        if let Err(text) = result {
            own.push(Problem::new(name, origin, text));
        }
    }
    if !has_prefix {
        own.push(Problem::new(PREFIX, origin, "is missing"));
    }
    problems.extend(own.into_iter().map(|problem| Problem { key: format!("{path}.{}", problem.key), ..problem }));
    namespace
}

fn set(namespace: &mut Namespace, name: &str, setting: &Setting) {
    match name {
        EVENTS => namespace.history_events = usize::from_setting(setting),
        AGE => namespace.history_age = Duration::from_setting(setting),
        SLOW => namespace.slow = Slow::from_setting(setting),
        RATE => namespace.events_per_second = u32::from_setting(setting),
        OVER => namespace.over = Over::from_setting(setting),
        SUBSCRIBE => namespace.subscribe = Subscribing::from_setting(setting),
        ENCRYPTION => namespace.encrypted = bool::from_setting(setting),
        OUTBOX_BYTES => namespace.outbox_bytes = usize::from_setting(setting),
        PUBLISHES => namespace.publishes_per_second = u32::from_setting(setting),
        PUBLISHES_BURST => namespace.publishes_burst = u32::from_setting(setting),
        other => unreachable!("{other} is not an option of a namespace"),
    }
}

fn read_prefix(value: &ValueKind) -> Result<String, String> {
    let ValueKind::String(prefix) = value else {
        return Err(format!("must be the beginning of topics, such as \"orders/\", not {}", describe(value)));
    };
    let whole = 1..=limits::TOPIC_BYTES_MAX;
    if !whole.contains(&prefix.len()) || prefix.contains('*') || prefix.contains(char::is_control) {
        return Err(format!(
            "must be 1 to {} bytes without `*` and control characters, not {prefix:?}",
            limits::TOPIC_BYTES_MAX
        ));
    }
    Ok(prefix.clone())
}
