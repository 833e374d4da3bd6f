//! What an operator should change about a Redis: its settings, its clock, and who else uses the prefix. None of it keeps a
//! node from working, and a user that may not ask is no failure.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use fred::{
    error::Error,
    interfaces::{ClientLike, ClusterInterface},
    types::{ClusterHash, CustomCommand, Value, config::Server},
};
use futures_util::{StreamExt, stream};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use towncrier_backplane::{Finding, Findings, NodeId, Unchecked};

use crate::{
    ConnectError, Options, address,
    commands::{Commands, text},
    greet::{self, MAJOR_LEAST},
    keys, settings,
};

/// Most primaries of a cluster that are looked at, which is as many as Redis' own limit of nodes; and how many at once.
const SERVERS_MAX: usize = 1000;
const SERVERS_AT_ONCE: usize = 8;

/// How long after a new connection it is looked at, so that this is not more often, whatever goes on: a server is asked five
/// times.
const PAUSE: Duration = Duration::from_secs(5);

/// How often everything is looked at again without a reason: settings are changed while Redis runs, and clocks drift.
const EVERY: Duration = Duration::from_secs(600);

/// How many times a server is asked for its time; the fastest answer says most.
const TIMES: usize = 3;

/// How far clocks may be apart, beyond what the way there leaves open. A node's clock counts only within a second of Redis'.
const SKEW_MOST_MS: u64 = 500;

/// How many clients a server should have room for beside those that it has: a node has up to five.
const CLIENTS_LEAST: u64 = 32;

/// What messages may wait for a node at least, in bytes: at once, and for long. Redis' own defaults.
const OUTPUT_LEAST: (u64, u64) = (32 << 20, 8 << 20);

/// Looks at the Redis of a backplane.
pub struct Surroundings {
    commands: Weak<Commands>,
    reconnects: watch::Receiver<u64>,
    looked: Option<Instant>,
    /// What was told before, by place and subject.
    known: Vec<(String, String)>,
}

impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").field("looked", &self.looked).finish_non_exhaustive()
    }
}

impl Surroundings {
    pub(crate) fn new(commands: &Arc<Commands>) -> Self {
        let reconnects = commands.reconnects.subscribe();
        Self { commands: Arc::downgrade(commands), reconnects, looked: None, known: Vec::new() }
    }

    /// What there is to be told: at first all of it, if only that it is nothing. After that what is new since, which is
    /// looked for when a connection was made again, as to another primary, and every ten minutes. `None` when the backplane
    /// is gone.
    pub async fn next(&mut self) -> Option<Findings> {
        loop {
            let first = self.looked.is_none();
            if let Some(looked) = self.looked {
                tokio::select! {
                    changed = self.reconnects.changed() => {
                        changed.ok()?;
                        sleep(PAUSE).await;
                    }
                    () = sleep_until(looked + EVERY.mul_f64(0.75 + fastrand::f64() / 2.0)) => {}
                }
            }
            while self.commands.upgrade()?.available().is_err() {
                sleep(PAUSE / 5).await;
            }
            // What comes while it is being looked at is a reason to look again.
            self.reconnects.mark_unchanged();
            let mut all = look(&*self.commands.upgrade()?).await;
            if first {
                all.findings.extend(others(&*self.commands.upgrade()?, true).await);
            }
            self.looked = Some(Instant::now());
            let new = self.new_of(all);
            if first || new != Findings::default() {
                return Some(new);
            }
        }
    }

    fn new_of(&mut self, mut all: Findings) -> Findings {
        let known = all.findings.iter().map(|finding| (finding.place.clone(), finding.what.clone()));
        let unknown = all.unchecked.iter().map(|one| (one.place.clone(), one.what.clone()));
        let before = std::mem::replace(&mut self.known, known.chain(unknown).collect());
        let is_new = |place: &String, what: &String| !before.iter().any(|known| known.0 == *place && known.1 == *what);
        all.findings.retain(|finding| is_new(&finding.place, &finding.what));
        all.unchecked.retain(|one| is_new(&one.place, &one.what));
        all
    }
}

/// Looks at a Redis without becoming a node, and writes nothing.
///
/// # Errors
/// Whatever would keep a node from starting, as far as it can be seen by reading.
pub async fn inspect(options: Options) -> Result<Findings, ConnectError> {
    options.check()?;
    let config = address::parse(&options.url)?;
    let (commands, _) = Commands::connect(config, options, NodeId::draw()).await?;
    greet::look(&commands).await?;
    let mut all = look(&commands).await;
    all.findings.extend(others(&commands, false).await);
    Ok(all)
}

async fn look(commands: &Commands) -> Findings {
    let servers: Vec<Option<Server>> = if commands.is_clustered() {
        let routes = commands.client.client().cached_cluster_state();
        let primaries = routes.map(|routes| routes.unique_primary_nodes()).unwrap_or_default();
        primaries.into_iter().take(SERVERS_MAX).map(Some).collect()
    } else {
        vec![None]
    };
    let looks = servers.into_iter().map(|server| Look::at(commands, server));
    let looks: Vec<Findings> = stream::iter(looks).buffered(SERVERS_AT_ONCE).collect().await;
    looks.into_iter().fold(Findings::default(), |mut all, one| {
        all.findings.extend(one.findings);
        all.unchecked.extend(one.unchecked);
        all
    })
}

/// Whether the node that started last is set to the same.
async fn others(commands: &Commands, say: bool) -> Vec<Finding> {
    let key = keys::settings(&commands.options.prefix);
    let own = settings::text(&commands.options);
    let (command, arguments) = match say {
        true => ("SET", vec![text(key.as_str()), text(own.as_str()), text("GET")]),
        false => ("GET", vec![text(key.as_str())]),
    };
    let Ok(answer) = commands.plain(command, &key, arguments).await else { return Vec::new() };
    let theirs = answer.as_str().map(|theirs| theirs.to_string()).unwrap_or_default();
    if settings::layout(&theirs).is_none() {
        return Vec::new();
    }
    let said = |value: Option<&str>| value.unwrap_or("not set").to_owned();
    let differences = settings::differences(&theirs, &own).into_iter();
    let finding = |(name, theirs, own): (&str, Option<&str>, Option<&str>)| Finding {
        place: "the hub".to_owned(),
        what: format!("{name} of the node that started before"),
        found: said(theirs),
        wanted: format!("as here, {}", said(own)),
        todo: "set all nodes alike; or two hubs share this prefix, then choose another".to_owned(),
    };
    differences.map(finding).collect()
}

/// One server, and what was found there.
struct Look<'a> {
    commands: &'a Commands,
    /// Which of a cluster.
    server: Option<Server>,
    place: String,
    found: Findings,
}

impl<'a> Look<'a> {
    async fn at(commands: &'a Commands, server: Option<Server>) -> Findings {
        let name = server.as_ref().map_or_else(|| commands.client.name(), ToString::to_string);
        let place = format!("redis {name}");
        let mut look = Look { commands, server, place, found: Findings::default() };
        let keeps = look.info().await;
        look.config(keeps).await;
        look.clock().await;
        look.found
    }

    async fn ask(&self, name: &'static str, arguments: &[&str]) -> Result<Value, Error> {
        let client = self.commands.client.client();
        let command = CustomCommand::new_static(name, ClusterHash::FirstKey, false);
        let arguments: Vec<Value> = arguments.iter().map(|argument| text(*argument)).collect();
        match &self.server {
            Some(server) => client.with_cluster_node(server).custom(command, arguments).await,
            None => client.custom(command, arguments).await,
        }
    }

    fn tell(&mut self, what: &str, found: impl Into<String>, wanted: impl Into<String>, todo: &str) {
        let (found, wanted) = (found.into(), wanted.into());
        let (what, todo) = (what.to_owned(), todo.to_owned());
        self.found.findings.push(Finding { place: self.place.clone(), what, found, wanted, todo });
    }

    fn unchecked(&mut self, what: &str, why: impl Into<String>) {
        self.found.unchecked.push(Unchecked { place: self.place.clone(), what: what.to_owned(), why: why.into() });
    }

    /// What a hub's user may ask in any case. Gives whether it said that all is kept in a file.
    async fn info(&mut self) -> Option<bool> {
        let info = match self.ask("INFO", &[]).await {
            Ok(info) => info.as_str().map(|info| info.to_string()).unwrap_or_default(),
            Err(error) => {
                self.unchecked("version, maxmemory-policy and maxclients", why("INFO", &error));
                return None;
            }
        };
        let of = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = |name: &str| of(name).and_then(|value| value.parse::<u64>().ok());

        let version = of("redis_version").unwrap_or("unknown");
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_none_or(|major| major < MAJOR_LEAST) {
            self.tell("version", version, "7.0 or later", "its scripts and shard channels may not do what is needed");
        }
        let policy = of("maxmemory_policy").unwrap_or("noeviction");
        if policy != "noeviction" {
            let todo = "when its memory is full, it throws away history or idempotency keys in place of refusing \
                        publishes; CONFIG SET maxmemory-policy noeviction";
            self.tell("maxmemory-policy", policy, "noeviction", todo);
        }
        if let (Some(most), Some(now)) = (number("maxclients"), number("connected_clients"))
            && most.saturating_sub(now) < CLIENTS_LEAST
        {
            let found = format!("{most}, of which {now} are taken");
            let todo = "nodes that reconnect may find no place; raise it, and the descriptors of Redis";
            self.tell("maxclients", found, format!("{} or more", now + CLIENTS_LEAST), todo);
        }
        number("aof_enabled").map(|enabled| enabled == 1)
    }

    /// What only a user may ask that could read Redis' passwords as well.
    async fn config(&mut self, keeps: Option<bool>) {
        let names = ["appendonly", "appendfsync", "save", "client-output-buffer-limit"];
        let asked = self.ask("CONFIG", &[&["GET"][..], &names].concat()).await;
        let mut config: HashMap<String, String> = match asked.and_then(Value::convert) {
            Ok(config) => config,
            Err(error) => {
                self.unchecked("save, appendfsync and client-output-buffer-limit", why("CONFIG GET", &error));
                HashMap::new()
            }
        };
        let answered = !config.is_empty();
        if let Some(keeps) = keeps {
            config.entry("appendonly".to_owned()).or_insert_with(|| if keeps { "yes" } else { "no" }.to_owned());
        }
        let of = |name: &str| config.get(name).map(String::as_str);
        let missing: Vec<_> = names.into_iter().filter(|name| of(name).is_none()).collect();
        if !missing.is_empty() && answered {
            self.unchecked(&missing.join(", "), "CONFIG GET does not show it");
        }

        let todo =
            "what was acknowledged is gone after a restart of Redis; CONFIG SET appendonly yes, unless that may be";
        match (of("appendonly"), of("save")) {
            (Some("no"), Some("")) => self.tell("appendonly", "no, and there are no snapshots", "yes", todo),
            (Some("no"), Some(_)) => {
                let todo = "a restart of Redis loses all since the last snapshot, more than nodes may be able to give \
                            back; CONFIG SET appendonly yes";
                self.tell("appendonly", "no, only snapshots are made", "yes", todo);
            }
            (Some("no"), None) => self.tell("appendonly", "no", "yes", todo),
            (Some("yes"), _) if of("appendfsync") == Some("no") => {
                let todo = "a machine that dies loses what the system had not written, some 30 s";
                self.tell("appendfsync", "no", "everysec or always", todo);
            }
            _ => {}
        }
        if let Some((hard, soft)) = of("client-output-buffer-limit").and_then(pubsub_limits)
            && (below(hard, OUTPUT_LEAST.0) || below(soft, OUTPUT_LEAST.1))
        {
            let todo = "bursts beyond it cut nodes off, and each reads what it missed from history; \
                        CONFIG SET client-output-buffer-limit \"pubsub 256mb 64mb 60\"";
            let wanted = format!("{} and {} bytes or more", OUTPUT_LEAST.0, OUTPUT_LEAST.1);
            self.tell("client-output-buffer-limit pubsub", format!("{hard} and {soft} bytes"), wanted, todo);
        }
    }

    async fn clock(&mut self) {
        let mut best: Option<(Duration, i128)> = None;
        for _ in 0..TIMES {
            let (began, here) = (Instant::now(), (self.commands.options.clock)());
            let answer = match self.ask("TIME", &[]).await {
                Ok(answer) => answer,
                Err(error) => return self.unchecked("its clock", why("TIME", &error)),
            };
            let took = began.elapsed();
            let Some(there) = time_ms(answer) else { return self.unchecked("its clock", "TIME answers otherwise") };
            let ahead = i128::from(there) - i128::from(here) - (took.as_millis() / 2) as i128;
            if best.is_none_or(|(least, _)| took < least) {
                best = Some((took, ahead));
            }
        }
        let Some((took, ahead)) = best else { return };
        let unsure = took.as_millis() / 2;
        if ahead.unsigned_abs() > u128::from(SKEW_MOST_MS) + unsure {
            let direction = if ahead > 0 { "ahead of" } else { "behind" };
            let found = format!("{} ms {direction} this node's", ahead.unsigned_abs());
            let wanted = format!("within {SKEW_MOST_MS} ms of it");
            let todo = "ids are times, and history ages by them; let NTP set the clocks of both machines";
            self.tell("clock", found, wanted, todo);
        }
    }
}

/// Why there was no answer, in short: what Redis says of a right may name the user, but nothing secret.
fn why(command: &str, error: &Error) -> String {
    format!("{command} is refused: {}", error.details())
}

/// Seconds and microseconds, to milliseconds.
fn time_ms(answer: Value) -> Option<u64> {
    let parts: Vec<u64> = answer.convert().ok()?;
    let [seconds, micros] = parts[..] else { return None };
    Some(seconds * 1000 + micros / 1000)
}

/// The hard and the soft limit of the class `pubsub`, in bytes.
fn pubsub_limits(text: &str) -> Option<(u64, u64)> {
    let mut words = text.split(' ').skip_while(|word| *word != "pubsub").skip(1).map(str::parse);
    Some((words.next()?.ok()?, words.next()?.ok()?))
}

/// 0 is no limit.
fn below(limit: u64, least: u64) -> bool {
    limit > 0 && limit < least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_messages_are_found_among_the_others() {
        let text = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
        assert_eq!(pubsub_limits(text), Some((33_554_432, 8_388_608)));
        assert_eq!(pubsub_limits("normal 0 0 0"), None);
        assert!(below(1, 2) && !below(2, 2) && !below(0, 2));
    }
}
