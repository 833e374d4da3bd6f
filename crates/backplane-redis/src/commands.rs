//! The connection that commands use: what the node asks, and how what goes wrong is told.
//!
//! Nothing is ever sent twice. If there is no connection, a call fails at once, and nothing is kept for later. If the
//! connection breaks or an answer takes too long after something was sent, what became of it is not known, and that is
//! said. After that, all calls fail at once until there is a new connection or the feed's probe has had an answer again: a
//! Redis that is frozen costs a publisher one timeout, not one each.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use fred::{
    clients::Client,
    error::{Error, ErrorKind},
    interfaces::{ClientLike, EventInterface, LuaInterface},
    types::{Builder, ClusterHash, CustomCommand, Value, config::Config},
};
use tokio::{sync::Semaphore, task::JoinHandle, time::timeout};
use towncrier_backplane::{BackplaneError, NodeId};
use towncrier_wire::{EventId, Heads, Topic, limits::PARTITIONS_MAX};

use crate::{ConnectError, Options, address, keys::Keys, publish, scripts::Script};

/// What fred says of a command that it had no connection for.
const NOT_SENT: [&str; 3] =
    ["Failed to route command.", "Client is not initialized.", "Failed to send command to router."];

pub(crate) struct Commands {
    pub(crate) client: Client,
    pub(crate) options: Options,
    pub(crate) keys: Vec<Keys>,
    pub(crate) node: NodeId,
    /// The newest id of each partition that this node has heard of. Redis never gives ids below.
    seen: Mutex<Heads>,
    /// Partitions whose Redis is known to have the publish script.
    pub(crate) loaded: [AtomicBool; PARTITIONS_MAX],
    /// Whether an answer was late or never came, and none has come since.
    suspect: AtomicBool,
    /// How often followed events were lost for good.
    pub(crate) losses: AtomicU64,
    /// What may be under way of publishes, in events and in bytes; and what of it may be on the wire.
    pub(crate) publishing: Semaphore,
    pub(crate) publishing_bytes: Semaphore,
    pub(crate) wire: Semaphore,
    tasks: Vec<JoinHandle<()>>,
    /// fred's own task.
    router: JoinHandle<Result<(), Error>>,
}

impl Drop for Commands {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.router.abort();
    }
}

impl Commands {
    /// Connects, once.
    pub(crate) async fn connect(config: Config, options: Options, node: NodeId) -> Result<Arc<Self>, ConnectError> {
        let client = Builder::from_config(config)
            .set_connection_config(address::connection(&options))
            .set_performance_config(address::performance(&options, None))
            .set_policy(address::reconnect())
            .build()
            .map_err(|error| ConnectError::of(&error))?;
        let mut reconnects = client.reconnect_rx();
        let connected = timeout(options.command_timeout * 4, client.init()).await;
        let late = |_| ConnectError::Unreachable("it does not answer in time".to_owned());
        let router = connected.map_err(late)?.map_err(|error| ConnectError::of(&error))?;

        let keys = (0..options.partitions.count()).map(|number| Keys::new(&options.prefix, number, node)).collect();
        let permits = |max: usize| Semaphore::new(max.min(Semaphore::MAX_PERMITS));
        Ok(Arc::new_cyclic(|this: &std::sync::Weak<Self>| {
            let this = this.clone();
            let forget = tokio::spawn(async move {
                while !matches!(reconnects.recv().await, Err(tokio::sync::broadcast::error::RecvError::Closed)) {
                    let Some(this) = this.upgrade() else { return };
                    this.loaded.iter().for_each(|loaded| loaded.store(false, Ordering::Relaxed));
                    this.suspect.store(false, Ordering::Relaxed);
                }
            });
            Self {
                publishing: permits(options.publishing_max),
                publishing_bytes: permits(options.publishing_bytes_max.min(u32::MAX as usize)),
                wire: permits(publish::WIRE),
                client,
                options,
                keys,
                node,
                seen: Mutex::new([EventId::ZERO; PARTITIONS_MAX]),
                loaded: Default::default(),
                suspect: AtomicBool::new(false),
                losses: AtomicU64::new(0),
                tasks: vec![forget],
                router,
            }
        }))
    }

    pub(crate) fn is_clustered(&self) -> bool {
        self.client.is_clustered()
    }

    /// The command that tells on channels.
    pub(crate) fn tell(&self) -> &'static str {
        if self.is_clustered() { "SPUBLISH" } else { "PUBLISH" }
    }

    pub(crate) fn partition(&self, topic: &Topic) -> usize {
        self.options.partitions.of(topic).index()
    }

    pub(crate) fn seen(&self) -> Heads {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn saw(&self, partition: usize, id: EventId) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen[partition] = id.max(seen[partition]);
    }

    /// # Errors
    /// If there is no use in asking now.
    pub(crate) fn available(&self) -> Result<(), BackplaneError> {
        if self.client.is_connected() && !self.suspect.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err(BackplaneError::Unavailable)
        }
    }

    /// What every script is told first: the clock, and what this node has seen of the partition.
    pub(crate) fn arguments(&self, partition: usize) -> Vec<Value> {
        vec![text((self.options.clock)().to_string()), text(self.seen()[partition].to_string())]
    }

    /// Runs a script on a partition. Not for publishing: if Redis does not know the script, it is sent again with its source.
    pub(crate) async fn run(
        &self,
        script: &Script,
        partition: usize,
        keys: Vec<String>,
        more: Vec<Value>,
    ) -> Result<Value, BackplaneError> {
        if !self.client.is_connected() {
            return Err(BackplaneError::Unavailable);
        }
        let mut arguments = self.arguments(partition);
        arguments.extend(more);
        let mut result = self.client.evalsha::<Value, _, _, _>(&*script.digest, keys.clone(), arguments.clone()).await;
        if result.as_ref().is_err_and(is_unknown) {
            result = self.client.eval(&*script.source, keys, arguments).await;
        }
        self.sort(result)
    }

    /// Sorts what fred says, and remembers whether Redis answers at all.
    pub(crate) fn sort<T>(&self, result: Result<T, Error>) -> Result<T, BackplaneError> {
        let error = match result {
            Ok(answer) => {
                if self.suspect.swap(false, Ordering::Relaxed) {
                    tracing::info!("redis answers again");
                }
                return Ok(answer);
            }
            Err(error) => error,
        };
        match error.kind() {
            // It, or the connection that it was under way on, is gone: what became of it is not known.
            ErrorKind::Timeout | ErrorKind::IO | ErrorKind::Canceled | ErrorKind::Protocol => {
                self.suspect(&error);
                Err(BackplaneError::TimedOut)
            }
            // It was never sent.
            ErrorKind::Routing | ErrorKind::Backpressure => {
                self.suspect(&error);
                Err(BackplaneError::Unavailable)
            }
            ErrorKind::Unknown if NOT_SENT.contains(&error.details()) => {
                self.suspect(&error);
                Err(BackplaneError::Unavailable)
            }
            _ => {
                tracing::warn!(%error, "redis refuses a command");
                if error.details().starts_with("READONLY") {
                    // It was the primary once: ask again who is.
                    let client = self.client.clone();
                    tokio::spawn(async move { client.force_reconnection().await });
                }
                Err(BackplaneError::Unavailable)
            }
        }
    }

    fn suspect(&self, error: &Error) {
        if !self.suspect.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "redis does not answer");
        }
    }

    /// Sends a plain command to the server of a key.
    pub(crate) async fn plain(&self, name: &'static str, key: &str, arguments: Vec<Value>) -> Result<Value, Error> {
        let hash = ClusterHash::Custom(fred::util::redis_keyslot(key.as_bytes()));
        self.client.custom(CustomCommand::new_static(name, hash, false), arguments).await
    }

    /// For what may take several commands.
    pub(crate) fn patience(&self) -> Duration {
        self.options.command_timeout * 4
    }
}

/// Whether Redis does not have the script: then it has done nothing.
pub(crate) fn is_unknown(error: &Error) -> bool {
    error.details().starts_with("NOSCRIPT")
}

pub(crate) fn text(value: impl Into<String>) -> Value {
    Value::from(value.into())
}

pub(crate) fn number(value: usize) -> Value {
    // Redis counts with 64 signed bits, Lua with 53.
    Value::Integer(i64::try_from(value).unwrap_or(i64::MAX).min(1 << 52))
}
