//! Rounds: joins, leaves, announcements and the periodic probe are the same thing, one at a time.
//!
//! A round subscribes to the new channels; waits for a barrier, from which on nothing of them is missed; then asks each
//! partition for its head with a script that also sends a *beat* on this node's own channel. The beat comes behind every
//! event up to that head, by the same connection. So when the beats of all partitions have come, everything followed has
//! been told up to the heads: the answer to each join and announcement, all at once. What is joined counts as followed from
//! there on; what came of it before is at or before the heads of the answer, and history has it.
//!
//! A beat that does not come is a connection that delivers nothing, whatever it looks like: the loss of the last message on
//! a quiet topic is found so, within the interval of the probe and the time that an answer may take.

use std::{future::Future, pin::Pin, sync::Arc};

use tokio::time::{Instant, timeout};
use towncrier_backplane::Signal;
use towncrier_wire::{Heads, Selector};

use crate::{
    commands::Commands,
    feed::{BATCH, Feed, Trouble},
    intake::{Intake, Taken},
    link::{Channel, Link},
    message::Message,
};

/// Most calls that one round answers.
pub(crate) const ASKS_PER_ROUND: usize = 4096;

/// What the node wants.
#[derive(Debug)]
pub(crate) enum Ask {
    Join(Vec<Selector>),
    Leave(Vec<Selector>),
    Announce,
}

/// A round under way.
pub(crate) struct Round {
    pub(crate) asks: Vec<Ask>,
    pub(crate) nonce: u64,
    /// Which partitions' beats have come, as bits.
    pub(crate) beats: u64,
    pub(crate) until: Instant,
}

pub(crate) type Asking = Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send>>;

impl Feed {
    /// Begins a round with all that is asked now.
    pub(crate) fn begin(&mut self, link: &Arc<Link>) -> Asking {
        let mut asks = std::mem::take(&mut self.unanswered);
        while asks.len() < ASKS_PER_ROUND
            && let Ok(ask) = self.asks.try_recv()
        {
            asks.push(ask);
        }
        let mut channels: Vec<Channel> = Vec::new();
        for ask in &asks {
            if let Ask::Join(selectors) = ask {
                let new = selectors.iter().filter(|selector| !self.followed.contains(*selector));
                for selector in new {
                    channels.extend(self.channels(selector));
                    if matches!(selector, Selector::Pattern(_)) && self.patterns == 0 {
                        channels.extend(self.all());
                    }
                }
            }
        }
        self.nonce += 1;
        let nonce = self.nonce;
        // A node that takes its time with signals holds up the beats as well: that is no reason to give up a link.
        let until = Instant::now() + self.commands.options.command_timeout * 3;
        self.round = Some(Round { asks, nonce, beats: 0, until });
        let (commands, link) = (self.commands.clone(), link.clone());
        Box::pin(async move {
            if !channels.is_empty() {
                link.subscribe(&channels).await?;
                link.barrier().await?;
            }
            commands.heads(Some(nonce)).await?;
            Ok(())
        })
    }

    /// Answers everything that a round was for.
    pub(crate) async fn finish(&mut self, link: &Link) -> Result<(), Trouble> {
        let Some(round) = self.round.take() else { return Ok(()) };
        let mut announce = false;
        let mut left: Vec<Selector> = Vec::new();
        for ask in round.asks {
            match ask {
                Ask::Join(selectors) => {
                    for selector in &selectors {
                        if self.followed.insert(selector.clone()) {
                            self.index.insert(selector, ());
                            self.patterns += usize::from(matches!(selector, Selector::Pattern(_)));
                        }
                    }
                    self.signal(Signal::Joined { selectors, heads: self.through }).await?;
                }
                Ask::Leave(selectors) => {
                    for selector in selectors {
                        if self.followed.remove(&selector) {
                            self.index.remove(&selector, ());
                            self.patterns -= usize::from(matches!(selector, Selector::Pattern(_)));
                            left.push(selector);
                        }
                    }
                }
                Ask::Announce => announce = true,
            }
        }
        if announce {
            self.signal(Signal::Heads(self.through)).await?;
        }
        left.retain(|selector| !self.followed.contains(selector));
        let mut channels: Vec<_> = left.iter().flat_map(|selector| self.channels(selector)).collect();
        if self.patterns == 0 && left.iter().any(|selector| matches!(selector, Selector::Pattern(_))) {
            channels.extend(self.all());
        }
        if !channels.is_empty() {
            link.unsubscribe(&channels).await?;
        }
        Ok(())
    }

    /// The channel of a topic; patterns have none of their own.
    pub(crate) fn channels(&self, selector: &Selector) -> Option<Channel> {
        let Selector::Topic(topic) = selector else { return None };
        let partition = self.commands.partition(topic);
        Some((partition, self.commands.keys[partition].channel(topic)))
    }

    /// The channels of whole partitions, which patterns are looked for in.
    pub(crate) fn all(&self) -> impl Iterator<Item = Channel> {
        let all = |(partition, keys): (usize, &crate::keys::Keys)| (partition, keys.all.clone());
        self.commands.keys.iter().enumerate().map(all).collect::<Vec<_>>().into_iter()
    }
}

/// Checks, before anything is promised, that what is published on this node's channels arrives.
pub(crate) async fn hears_itself(commands: &Commands, link: &Link, intake: &Intake) -> Result<Heads, Trouble> {
    let own = commands.keys.iter().enumerate().map(|(partition, keys)| (partition, keys.beats.clone()));
    link.subscribe(&own.collect::<Vec<_>>()).await?;
    link.barrier().await?;
    let (heads, _) = commands.heads(Some(0)).await?;
    let mut missing = commands.keys.len();
    let beats = async {
        while missing > 0 {
            match intake.take(BATCH).await {
                Taken::Messages(messages, _) => {
                    let beats = messages.iter().filter(|message| matches!(message, Message::Beat { .. }));
                    missing = missing.saturating_sub(beats.count());
                }
                Taken::Lost => intake.resume(),
                Taken::Closed(why) => return Err(Trouble::Link(why)),
            }
        }
        Ok(heads)
    };
    timeout(commands.patience(), beats).await.map_err(|_| Trouble::Link("no message arrives".to_owned()))?
}
