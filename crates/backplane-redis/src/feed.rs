//! The one task that tells the node things, in order.
//!
//! **What is kept.** For each partition the feed knows `through`: every followed event up to that id has been told. One
//! Redis gives a partition's ids and tells its events in one atomic script, and a connection keeps its order, so the
//! messages of a partition come in the order of their ids. Hence a message at or before `through` is a repeat (a topic that
//! is followed by name and by pattern comes twice) and is dropped, and each other one moves `through` on.
//!
//! **Rounds.** Joins, leaves, announcements and the periodic probe are one thing, see `rounds`: at the end of a round
//! `through` is a correct answer to all of them, and what comes later is after it.
//!
//! **Another server.** A link begins with `census`: if Redis may have lost its tail, it gets it back from the nodes first.
//!
//! **Doubt.** A connection that is gone, an intake that had to drop messages, or an event whose `prev` is after `through`
//! put everything after `through` in doubt. Nothing newer is taken until that was read from history and told in the order
//! of its ids (`recover`); the head up to which it is read is asked for after the new subscriptions are in force,
//! so what comes after it comes live.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};
use towncrier_backplane::{BackplaneError, Signal, SignalSender};
use towncrier_core::SelectorIndex;
use towncrier_wire::{Event, EventId, Heads, Selector, TraceContext, limits::PARTITIONS_MAX};

use crate::{
    commands::Commands,
    intake::{Intake, Taken},
    link::Link,
    message::Message,
    rounds::{ASKS_PER_ROUND, Ask, Asking, Round},
};

/// Most messages that are told in one signal.
pub(crate) const BATCH: usize = 256;

/// The waits before a new link is tried, at first and at most.
const REOPEN_FIRST: Duration = Duration::from_millis(50);
const REOPEN_MOST: Duration = Duration::from_secs(1);

/// Why the feed cannot go on as it is.
pub(crate) enum Trouble {
    /// The link must be opened again.
    Link(String),
    /// The node is gone.
    Over,
}

impl From<BackplaneError> for Trouble {
    fn from(error: BackplaneError) -> Self {
        Self::Link(error.to_string())
    }
}

impl From<fred::error::Error> for Trouble {
    fn from(error: fred::error::Error) -> Self {
        Self::Link(error.to_string())
    }
}

pub(crate) struct Feed {
    pub(crate) commands: Arc<Commands>,
    pub(crate) sender: SignalSender,
    pub(crate) asks: mpsc::Receiver<Ask>,
    /// Taken up, but not answered, when a link broke.
    pub(crate) unanswered: Vec<Ask>,
    pub(crate) followed: HashSet<Selector>,
    pub(crate) index: SelectorIndex<()>,
    pub(crate) patterns: usize,
    pub(crate) through: Heads,
    pub(crate) round: Option<Round>,
    pub(crate) nonce: u64,
    /// The trace that came last for each partition, and which event it is of.
    traces: [Option<(EventId, TraceContext)>; PARTITIONS_MAX],
}

impl Feed {
    pub(crate) fn new(commands: Arc<Commands>, sender: SignalSender, asks: mpsc::Receiver<Ask>, heads: Heads) -> Self {
        Self {
            commands,
            sender,
            asks,
            unanswered: Vec::new(),
            followed: HashSet::new(),
            index: SelectorIndex::default(),
            patterns: 0,
            through: heads,
            round: None,
            nonce: 0,
            traces: Default::default(),
        }
    }

    /// Runs until the node is gone. The link it begins with delivers already.
    pub(crate) async fn run(mut self, link: Link, intake: Arc<Intake>) {
        let mut first = Some((link, intake));
        let mut wait = REOPEN_FIRST;
        loop {
            let opened = match first.take() {
                Some(opened) => Ok(opened),
                None => self.reopen().await,
            };
            let trouble = match opened {
                Ok((link, intake)) => match self.session(Arc::new(link), intake, &mut wait).await {
                    Ok(never) => match never {},
                    Err(trouble) => trouble,
                },
                Err(trouble) => trouble,
            };
            let why = match trouble {
                Trouble::Over => return,
                Trouble::Link(why) => why,
            };
            if let Some(round) = self.round.take() {
                self.unanswered.extend(round.asks);
            }
            tracing::warn!(why, "the link to redis is broken, opening a new one");
            let pause = wait.mul_f64(0.5 + fastrand::f64());
            wait = (wait * 2).min(REOPEN_MOST);
            if self.sender_is_gone_after(pause).await {
                return;
            }
        }
    }

    /// A node that is dropped closes its end of the asks.
    async fn sender_is_gone_after(&mut self, pause: Duration) -> bool {
        let ends = Instant::now() + pause;
        loop {
            // Asks are taken up meanwhile only as far as they can be remembered.
            if self.unanswered.len() >= ASKS_PER_ROUND {
                sleep(ends.saturating_duration_since(Instant::now())).await;
                return self.asks.is_closed();
            }
            tokio::select! {
                () = sleep(ends.saturating_duration_since(Instant::now())) => return false,
                ask = self.asks.recv() => match ask {
                    Some(Ask::Announce) => {}
                    Some(ask) => self.unanswered.push(ask),
                    None => return true,
                },
            }
        }
    }

    async fn reopen(&self) -> Result<(Link, Arc<Intake>), Trouble> {
        let intake = Arc::new(Intake::new(self.commands.options.intake_bytes_max));
        let link = Link::open(&self.commands, &intake, 0..self.commands.keys.len()).await?;
        self.commands.relinks.fetch_add(1, Ordering::Relaxed);
        Ok((link, intake))
    }

    /// Tells what comes by one link, for as long as it lasts.
    async fn session(
        &mut self,
        link: Arc<Link>,
        intake: Arc<Intake>,
        wait: &mut Duration,
    ) -> Result<std::convert::Infallible, Trouble> {
        let own = self.commands.keys.iter().enumerate().map(|(partition, keys)| (partition, keys.beats.clone()));
        let mut channels: Vec<_> = own.collect();
        channels.extend(self.followed.iter().flat_map(|selector| self.channels(selector)));
        if self.patterns > 0 {
            channels.extend(self.all());
        }
        link.subscribe(&channels).await?;
        link.barrier().await?;
        self.commands.settle().await?;
        self.recover(0..self.commands.keys.len()).await?;

        let mut asking: Option<Asking> = None;
        let mut probe = interval(Duration::from_millis(self.commands.probe_ms()));
        probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Also the answers of a round are awaited, when its beats came first: they tell that Redis answers.
            let idle = self.round.is_none() && asking.is_none();
            if idle && !self.unanswered.is_empty() {
                asking = Some(self.begin(&link));
                continue;
            }
            let until = self.round.as_ref().map(|round| round.until);
            tokio::select! {
                taken = intake.take(BATCH) => match taken {
                    Taken::Messages(messages, came) => self.tell(messages, came.into(), &link).await?,
                    Taken::Lost => {
                        tracing::warn!("messages were dropped because the node does not keep up, reading them from history");
                        // The round's beats may be among them.
                        if let Some(round) = self.round.take() {
                            self.unanswered.extend(round.asks);
                            asking = None;
                        }
                        intake.resume();
                        self.recover(0..self.commands.keys.len()).await?;
                    }
                    Taken::Closed(why) => return Err(Trouble::Link(why)),
                },
                asked = async { match &mut asking { Some(asking) => asking.await, None => std::future::pending().await } } => {
                    asking = None;
                    asked?;
                }
                () = async { match until { Some(until) => sleep_until(until).await, None => std::future::pending().await } } => {
                    return Err(Trouble::Link("what is published does not arrive".to_owned()));
                }
                ask = self.asks.recv(), if idle => match ask {
                    Some(ask) => self.unanswered.push(ask),
                    None => return Err(Trouble::Over),
                },
                () = self.commands.refused.notified() => if self.commands.eras.is_refused() {
                    return Err(Trouble::Link("redis is another one".to_owned()));
                },
                () = link.left_behind() => return Err(Trouble::Link("another server is in use".to_owned())),
                _ = probe.tick(), if idle => asking = Some(self.begin(&link)),
            }
            if self.round.is_none() && asking.is_none() {
                // A whole round has come through.
                *wait = REOPEN_FIRST;
            }
        }
    }

    /// Tells messages, the first of which came then, in their order.
    async fn tell(&mut self, messages: Vec<Message>, came: Instant, link: &Link) -> Result<(), Trouble> {
        let mut events = Vec::new();
        for message in messages {
            match message {
                Message::Event(told) => {
                    let partition = self.commands.partition(&told.topic);
                    if told.id <= self.through[partition] {
                        continue;
                    }
                    self.commands.saw(partition, told.id);
                    if self.index.any(&told.topic) {
                        if told.prev > self.through[partition] {
                            tracing::warn!(topic = %told.topic, "an event is missing before one that came");
                            self.send(std::mem::take(&mut events), came).await?;
                            self.recover(partition..partition + 1).await?;
                            continue;
                        }
                        self.through[partition] = told.id;
                        let trace =
                            self.traces[partition].take().filter(|(id, _)| *id == told.id).map(|(_, trace)| trace);
                        let (key, event) = (told.key.clone(), told.encode(trace));
                        self.commands.tail.told(partition, &event, key);
                        events.push(event);
                    } else {
                        self.through[partition] = told.id;
                    }
                }
                Message::Trace { topic, id, trace } => {
                    self.traces[self.commands.partition(&topic)] = Some((id, trace));
                }
                // These come by a link of their own.
                Message::Control(_) => {}
                Message::Census { partition, era } => {
                    let news = partition < self.commands.keys.len()
                        && self.commands.eras.current(partition).as_deref() != Some(era.as_str());
                    if news {
                        self.send(std::mem::take(&mut events), came).await?;
                        return Err(Trouble::Link("a census is open".to_owned()));
                    }
                }
                Message::Beat { partition, nonce, head } => {
                    let Some(round) = self.round.as_mut().filter(|round| round.nonce == nonce) else { continue };
                    if partition >= self.commands.keys.len() {
                        continue;
                    }
                    self.through[partition] = head.max(self.through[partition]);
                    round.beats |= 1 << partition;
                    if round.beats.count_ones() as usize == self.commands.keys.len() {
                        self.send(std::mem::take(&mut events), came).await?;
                        self.finish(link).await?;
                    }
                }
            }
        }
        self.send(events, came).await
    }

    /// Sends followed events, the first of which came then, when the node has room for them.
    pub(crate) async fn send(&mut self, events: Vec<Arc<Event>>, came: Instant) -> Result<(), Trouble> {
        if events.is_empty() {
            return Ok(());
        }
        let bytes = events.iter().map(|event| event.cost()).sum();
        let began = Instant::now();
        let reserved = self.sender.reserve(bytes).await.map_err(|_| Trouble::Over)?;
        reserved.send(Signal::Events(events, came.into_std()));
        self.excuse(began);
        Ok(())
    }

    pub(crate) async fn signal(&mut self, signal: Signal) -> Result<(), Trouble> {
        let began = Instant::now();
        self.sender.reserve(0).await.map_err(|_| Trouble::Over)?.send(signal);
        self.excuse(began);
        Ok(())
    }

    /// Time that the node or history took is not held against the link.
    pub(crate) fn excuse(&mut self, began: Instant) {
        if let Some(round) = &mut self.round {
            round.until += began.elapsed();
        }
    }
}
