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
    error::{Error, ErrorKind},
    interfaces::{ClientLike, LuaInterface},
    types::{ClusterHash, CustomCommand, Value, config::Config},
};
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::JoinHandle,
    time::Instant,
};
use towncrier_backplane::{BackplaneError, NodeId};
use towncrier_wire::{EventId, Heads, Topic, limits::PARTITIONS_MAX};

use crate::{
    ConnectError, Options,
    census::Counts,
    connection::Connection,
    eras::Eras,
    keys::Keys,
    publish,
    replicas::Turn,
    scripts::Script,
    sentinels::{self, Lease, Sentinels},
    tail::Tail,
};

/// What fred says of a command that it had no connection for.
const NOT_SENT: [&str; 3] =
    ["Failed to route command.", "Client is not initialized.", "Failed to send command to router."];

pub(crate) struct Commands {
    pub(crate) client: Arc<Connection>,
    /// What publishes go by: a connection of its own where each waits for replicas, and holds up what comes behind it.
    pub(crate) publisher: Arc<Connection>,
    pub(crate) options: Options,
    pub(crate) keys: Vec<Keys>,
    /// This process.
    pub(crate) node: NodeId,
    /// The newest id of each partition that this node has heard of. Redis never gives ids below.
    seen: Mutex<Heads>,
    /// How often a node was new in a partition, as far as this one has heard.
    pub(crate) joins: [AtomicU64; PARTITIONS_MAX],
    pub(crate) eras: Eras,
    pub(crate) lease: Arc<Lease>,
    /// Counts how often commands went to another server.
    pub(crate) moves: watch::Sender<u64>,
    pub(crate) tail: Tail,
    /// Told when a script was refused in the era that this node is in.
    pub(crate) refused: Notify,
    pub(crate) counts: Counts,
    pub(crate) turns: [Turn; PARTITIONS_MAX],
    /// Once this is set, nothing is published any more.
    pub(crate) closed: AtomicBool,
    /// Partitions whose Redis is known to have the publish script.
    pub(crate) loaded: [AtomicBool; PARTITIONS_MAX],
    /// Whether an answer was late or never came, and none has come since.
    suspect: AtomicBool,
    /// How often followed events were lost for good.
    pub(crate) losses: AtomicU64,
    /// How often commands got another connection, for whoever wants to look at what is there.
    pub(crate) reconnects: watch::Sender<u64>,
    /// How often messages did; and how often history was read for what was missed.
    pub(crate) relinks: AtomicU64,
    pub(crate) resyncs: AtomicU64,
    /// What may be under way of publishes, in events and in bytes; and what of it may be on the wire.
    pub(crate) publishing: Semaphore,
    pub(crate) publishing_bytes: Semaphore,
    pub(crate) wire: Semaphore,
    clustered: bool,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Commands {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Commands {
    /// Connects, once. With it come the Sentinels that are to be watched, if there are any.
    pub(crate) async fn connect(
        config: Config,
        options: Options,
        node: NodeId,
    ) -> Result<(Arc<Self>, Option<Sentinels>), ConnectError> {
        let began = Instant::now();
        let (config, sentinels) = Sentinels::resolve(config, &options).await?;
        let (client, router) = Connection::open(&config, &options).await?;
        let (client, mut routers) = (Arc::new(client), vec![router]);
        let mut publisher = client.clone();
        if options.replicas > 0 {
            let (own, router) = Connection::open(&config, &options).await?;
            publisher = Arc::new(own);
            routers.push(router);
        }
        let keys = (0..options.partitions.count()).map(|number| Keys::new(&options.prefix, number, node)).collect();
        let permits = |max: usize| Semaphore::new(max.min(Semaphore::MAX_PERMITS));
        let lease = Lease::new(sentinels.is_some());
        lease.set(Some(began + sentinels::lasts(&options)));
        let commands = Arc::new_cyclic(|this: &std::sync::Weak<Self>| {
            let kept = [client.clone(), publisher.clone()].into_iter().zip(routers).enumerate();
            let keep = kept.map(|(number, (connection, router))| {
                let (this, options) = (this.clone(), options.clone());
                tokio::spawn(async move {
                    let again = |moved: bool| {
                        if let Some(this) = this.upgrade() {
                            this.loaded.iter().for_each(|loaded| loaded.store(false, Ordering::Relaxed));
                            this.suspect.store(false, Ordering::Relaxed);
                            this.reconnects.send_modify(|reconnects| *reconnects += 1);
                            this.lease.doubt.notify_one();
                            if moved && number == 0 {
                                this.moves.send_modify(|moves| *moves += 1);
                            }
                        }
                    };
                    connection.keep(&options, router, again).await;
                })
            });
            let tasks = keep.collect();
            Self {
                publishing: permits(options.publishing_max),
                publishing_bytes: permits(options.publishing_bytes_max.min(u32::MAX as usize)),
                wire: permits(publish::WIRE),
                tail: Tail::new(options.heal_bytes),
                client,
                publisher,
                options,
                keys,
                node,
                seen: Mutex::new([EventId::ZERO; PARTITIONS_MAX]),
                joins: Default::default(),
                eras: Eras::default(),
                lease: Arc::new(lease),
                moves: watch::Sender::new(0),
                refused: Notify::new(),
                counts: Counts::default(),
                turns: Default::default(),
                closed: AtomicBool::new(false),
                loaded: Default::default(),
                suspect: AtomicBool::new(false),
                losses: AtomicU64::new(0),
                reconnects: watch::Sender::new(0),
                relinks: AtomicU64::new(0),
                resyncs: AtomicU64::new(0),
                clustered: config.server.is_clustered(),
                tasks,
            }
        });
        Ok((commands, sentinels))
    }

    pub(crate) fn is_clustered(&self) -> bool {
        self.clustered
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

    /// What every script is told first: the clock, what this node has seen of the partition, and the era.
    pub(crate) fn arguments(&self, partition: usize, era: &str) -> Vec<Value> {
        vec![text((self.options.clock)().to_string()), text(self.seen()[partition].to_string()), text(era)]
    }

    /// Runs a script on a partition, in the era that this node is in. Not for publishing: see `ask`.
    pub(crate) async fn run(
        &self,
        script: &Script,
        partition: usize,
        keys: Vec<String>,
        more: Vec<Value>,
    ) -> Result<Value, BackplaneError> {
        let era = self.eras.current(partition).filter(|_| self.client.is_connected());
        let era = era.ok_or(BackplaneError::Unavailable)?;
        let result = self.ask(script, partition, &era, keys, more).await;
        if result.as_ref().is_err_and(is_census) {
            self.refused(partition, &era);
            return Err(BackplaneError::Unavailable);
        }
        self.sort(result)
    }

    /// The same in any era. If Redis does not know the script, it is sent again with its source.
    pub(crate) async fn ask(
        &self,
        script: &Script,
        partition: usize,
        era: &str,
        keys: Vec<String>,
        more: Vec<Value>,
    ) -> Result<Value, Error> {
        let mut arguments = self.arguments(partition, era);
        arguments.extend(more);
        let client = self.client.client();
        let result = client.evalsha::<Value, _, _, _>(&*script.digest, keys.clone(), arguments.clone()).await;
        if result.as_ref().is_err_and(is_unknown) {
            return client.eval(&*script.source, keys, arguments).await;
        }
        result
    }

    /// Takes in that an era is over, unless that is known.
    pub(crate) fn refused(&self, partition: usize, era: &str) {
        if self.eras.refuse(partition, era) {
            self.refused.notify_one();
        }
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
                    self.lease.doubt.notify_one();
                    let (client, publisher) = (self.client.client(), self.publisher.client());
                    let apart = self.options.replicas > 0;
                    tokio::spawn(async move {
                        let _ = client.force_reconnection().await;
                        if apart {
                            let _ = publisher.force_reconnection().await;
                        }
                    });
                }
                Err(BackplaneError::Unavailable)
            }
        }
    }

    fn suspect(&self, error: &Error) {
        if !self.suspect.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "redis does not answer");
            self.lease.doubt.notify_one();
        }
    }

    /// Sends a plain command to the server of a key.
    pub(crate) async fn plain(&self, name: &'static str, key: &str, arguments: Vec<Value>) -> Result<Value, Error> {
        let hash = ClusterHash::Custom(fred::util::redis_keyslot(key.as_bytes()));
        self.client.client().custom(CustomCommand::new_static(name, hash, false), arguments).await
    }

    /// For what may take several commands.
    pub(crate) fn patience(&self) -> Duration {
        self.options.command_timeout * 4
    }
}

/// Whether the script found that the era is over: then it has done nothing.
pub(crate) fn is_census(error: &Error) -> bool {
    error.details().starts_with("CENSUS")
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
