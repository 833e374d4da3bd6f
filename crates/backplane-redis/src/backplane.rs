//! The trait, on top of the commands and the feed.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::mpsc, task::JoinHandle};
use towncrier_backplane::{
    Answer, Backplane, BackplaneError, ControlMessage, Counts, NodeId, Published, Signals, control_messages, signals,
};
use towncrier_core::{
    TopicRead,
    store::{TopicInfo, Totals},
};
use towncrier_wire::{EventId, Heads, NewEvent, Partitions, Selector, Topic};

use crate::{
    ConnectError, Heals, Options, RedisAccounts, address,
    commands::Commands,
    feed::{Feed, Trouble},
    greet,
    intake::Intake,
    link::Link,
    peers::RedisPeers,
    rounds::{Ask, hears_itself},
    sentinels,
    surroundings::Surroundings,
};

/// Most joins, leaves and announcements that may wait.
const ASKS_MAX: usize = 16_384;

/// How often a node tries to join, where Redis was reached and then not heard, and about how long it waits in between.
const ENTER_TRIES: usize = 4;
const ENTER_AGAIN: Duration = Duration::from_millis(500);

/// A node's end of a hub in Redis. See the crate.
pub struct RedisBackplane {
    commands: Arc<Commands>,
    asks: mpsc::Sender<Ask>,
    tasks: Vec<JoinHandle<()>>,
}

impl fmt::Debug for RedisBackplane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackplane").field("options", &self.commands.options).finish_non_exhaustive()
    }
}

impl Drop for RedisBackplane {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Connects a node, and checks all that can be checked before it promises anything. Its tasks run on the current Tokio
/// runtime and end when the backplane is dropped; then the signals end. With TLS, a process that links more than one
/// provider of rustls must have installed one as its default before.
///
/// # Errors
/// If the options are wrong, Redis cannot be reached or does not do what is needed, or another hub uses the prefix.
pub async fn connect(options: Options) -> Result<(RedisBackplane, Signals), ConnectError> {
    options.check()?;
    let config = address::parse(&options.url)?;
    let (sender, receiver) = signals(options.signal_bytes_max);
    let node = NodeId::draw();
    let (commands, sentinels) = Commands::connect(config, options, node).await?;
    greet::check(&commands).await?;
    let (link, intake, heads) = match enter_patiently(&commands).await {
        Ok(entered) => entered,
        Err(error) => {
            // Or the next censuses would wait for a node that never was: each try has a name of its own.
            commands.close().await;
            return Err(error);
        }
    };
    let (asks, asked) = mpsc::channel(ASKS_MAX);
    let feed = tokio::spawn(Feed::new(commands.clone(), sender, asked, heads).run(link, intake));
    let mut tasks = vec![feed, tokio::spawn(sweep(commands.clone()))];
    tasks.extend(sentinels.map(|sentinels| tokio::spawn(sentinels::watch(Arc::downgrade(&commands), sentinels))));
    Ok((RedisBackplane { commands, asks, tasks }, receiver))
}

/// Redis was there a moment ago: where its connections end just now, nothing is set wrong, and they are made again.
async fn enter_patiently(commands: &Arc<Commands>) -> Result<(Link, Arc<Intake>, Heads), ConnectError> {
    for _ in 1..ENTER_TRIES {
        match enter(commands).await {
            Err(error @ (ConnectError::Silent(_) | ConnectError::Unreachable(_))) => {
                tracing::warn!(%error, "trying again to join the hub");
                tokio::time::sleep(ENTER_AGAIN.mul_f64(0.5 + fastrand::f64())).await;
            }
            entered => return entered,
        }
    }
    enter(commands).await
}

/// Becomes one of the nodes, and hears from each partition.
async fn enter(commands: &Arc<Commands>) -> Result<(Link, Arc<Intake>, Heads), ConnectError> {
    commands.settled().await.map_err(|error| ConnectError::of(&error))?;
    let intake = Arc::new(Intake::new(commands.options.intake_bytes_max));
    let link = Link::open(commands, &intake, 0..commands.keys.len()).await.map_err(|error| ConnectError::of(&error))?;
    let heads = hears_itself(commands, &link, &intake).await.map_err(|trouble| {
        ConnectError::Silent(match trouble {
            Trouble::Link(why) => why,
            Trouble::Over => "the node is gone".to_owned(),
        })
    })?;
    Ok((link, intake, heads))
}

/// Lets go of old topics from time to time. Each node does; what one has done is done for all.
async fn sweep(commands: Arc<Commands>) {
    loop {
        tokio::time::sleep(commands.options.probe_interval.mul_f64(0.5 + fastrand::f64())).await;
        // A flush takes this away as well.
        if commands.available().is_ok()
            && let Err(error @ ConnectError::OtherPartitions { .. }) = greet::partitions(&commands).await
        {
            tracing::error!(%error, "another hub uses this one's prefix");
        }
        for partition in 0..commands.keys.len() {
            while commands.available().is_ok() && matches!(commands.sweep(partition).await, Ok(true)) {
                tokio::task::yield_now().await;
            }
        }
    }
}

impl RedisBackplane {
    /// How many times it was found that followed events were lost while Redis was away, and could not be told. Sessions
    /// that resume are told by history; those that were here all the time, by nobody as yet: see [`Backplane`].
    #[must_use]
    pub fn losses(&self) -> u64 {
        self.commands.losses.load(Ordering::Relaxed)
    }

    /// Who may log in, as far as it is kept in Redis.
    #[must_use]
    pub fn accounts(&self) -> RedisAccounts {
        RedisAccounts(self.commands.clone())
    }

    /// What its operator should change about this Redis, at first and whenever it has changed.
    #[must_use]
    pub fn surroundings(&self) -> Surroundings {
        Surroundings::new(&self.commands)
    }

    /// The way to the other nodes, by a connection of its own, and what they say.
    #[must_use]
    pub fn peers(&self) -> (RedisPeers, mpsc::Receiver<ControlMessage>) {
        let (sender, receiver) = control_messages();
        (RedisPeers::new(self.commands.clone(), sender), receiver)
    }

    /// How often Redis was asked by this node for what it had lost, after a change of server, and the answers were put
    /// back; how many events were; and how often that was not whole, so that sessions were told of a loss. Each is counted
    /// by one of the nodes that took part: the sum over all is the hub's.
    #[must_use]
    pub fn heals(&self) -> Heals {
        self.commands.counts.heals()
    }

    fn ask(&self, ask: Ask) -> Answer<'_, Result<(), BackplaneError>> {
        let taken = self.asks.try_send(ask).map_err(|_| BackplaneError::Unavailable);
        Box::pin(std::future::ready(taken))
    }
}

impl Backplane for RedisBackplane {
    fn partitions(&self) -> Partitions {
        self.commands.options.partitions
    }

    fn publish(&self, events: Vec<NewEvent>) -> Answer<'_, Vec<Result<Published, BackplaneError>>> {
        Box::pin(self.commands.publish(events))
    }

    /// Taken at once, also while Redis is away: the answer among the signals comes when it is back.
    fn join(&self, selectors: Vec<Selector>) -> Answer<'_, Result<(), BackplaneError>> {
        self.ask(Ask::Join(selectors))
    }

    fn leave(&self, selectors: Vec<Selector>) -> Answer<'_, Result<(), BackplaneError>> {
        self.ask(Ask::Leave(selectors))
    }

    fn announce(&self) -> Answer<'_, Result<(), BackplaneError>> {
        self.ask(Ask::Announce)
    }

    fn read(&self, topic: Topic, after: EventId, limit: usize) -> Answer<'_, Result<TopicRead, BackplaneError>> {
        Box::pin(async move {
            self.commands.available()?;
            self.commands.read(&topic, after, limit).await
        })
    }

    fn floors(&self) -> Answer<'_, Result<Heads, BackplaneError>> {
        Box::pin(async move {
            self.commands.available()?;
            Ok(self.commands.heads(None).await?.1)
        })
    }

    fn topics(
        &self,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> Answer<'_, Result<Vec<TopicInfo>, BackplaneError>> {
        Box::pin(async move {
            self.commands.available()?;
            let from = match after {
                Some(after) if after >= prefix => [b"(", after.as_bytes()].concat(),
                _ if prefix.is_empty() => b"-".to_vec(),
                _ => [b"[", prefix.as_bytes()].concat(),
            };
            // No UTF-8 has this byte, so it is after everything that begins with the prefix.
            let to = if prefix.is_empty() { b"+".to_vec() } else { [b"(", prefix.as_bytes(), b"\xff"].concat() };
            self.commands.topics(&from, &to, limit).await
        })
    }

    fn topic(&self, topic: Topic) -> Answer<'_, Result<Option<TopicInfo>, BackplaneError>> {
        Box::pin(async move {
            self.commands.available()?;
            let name = [b"[", topic.as_str().as_bytes()].concat();
            let partition = self.commands.partition(&topic);
            Ok(self.commands.topics_of(partition, &name, &name, 1).await?.pop())
        })
    }

    fn clear(&self, topic: Topic) -> Answer<'_, Result<usize, BackplaneError>> {
        Box::pin(async move {
            self.commands.available()?;
            self.commands.clear(&topic).await
        })
    }

    /// Waits for publishes that are under way, and lets Redis know that no census needs to wait for this node.
    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            self.commands.close().await;
            self.tasks.iter().for_each(JoinHandle::abort);
        })
    }

    fn counts(&self) -> Counts {
        let (heals, count) = (self.heals(), |counter: &AtomicU64| counter.load(Ordering::Relaxed));
        Counts {
            reconnects: *self.commands.reconnects.borrow(),
            relinks: count(&self.commands.relinks),
            resyncs: count(&self.commands.resyncs),
            heals: heals.censuses,
            healed_events: heals.events,
            heals_incomplete: heals.incomplete,
            losses: self.losses(),
        }
    }

    fn totals(&self) -> Answer<'_, Result<Totals, BackplaneError>> {
        Box::pin(async move {
            self.commands.available()?;
            self.commands.totals().await
        })
    }
}
