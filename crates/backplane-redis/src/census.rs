//! After a change of server: a census of what the nodes hold.
//!
//! A Redis that was restarted, or a replica that was promoted, may have lost the tail of what was written. The scripts
//! notice that the server is another one and do nothing more (`lua/prelude.lua`); then each node *enters*: it hands in
//! what it holds above the head that survived (`tail`), says that it has, and waits until all that were there of late have
//! come, or no time is left. What was handed in is put back in the order of the ids, and the next era begins. The feed then
//! reads on from where it was, as after every doubt.
//!
//! All steps may be repeated, by the same node or by others: what was handed in twice is held once.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use fred::{
    error::{Error, ErrorKind},
    types::Value,
};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use towncrier_backplane::BackplaneError;
use towncrier_wire::EventId;

use crate::{
    answers,
    commands::{Commands, is_census, number, text},
    options::millis,
    scripts,
    tail::Kept,
};

/// Most events, and most bytes of them, that one call hands in, or puts back.
const STEP_EVENTS: usize = 500;
const STEP_BYTES: usize = 1024 * 1024;

/// The waits between two questions how a census goes, in ms.
const POLL_MS: std::ops::Range<u64> = 15..45;

/// How long a census waits for nodes at least; to which come two timeouts of a command and one interval of the probe.
pub(crate) const LEAST: Duration = Duration::from_secs(2);

/// How long a census stays open after events were handed in, and in all.
const HANDING: Duration = Duration::from_secs(2);
const OPEN_MOST: Duration = Duration::from_secs(30);

/// A node is awaited if its last call came no longer than this, and some probes, before the newest of any: later than a
/// call can be that was on its way when the server was lost, so whoever published into the lost tail is awaited.
const LATE: Duration = Duration::from_secs(5);

/// What came of the censuses that a node closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heals {
    /// How many there were.
    pub censuses: u64,
    /// How many events were put back.
    pub events: u64,
    /// How many censuses were not whole.
    pub incomplete: u64,
}

/// The same, being counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    censuses: AtomicU64,
    events: AtomicU64,
    incomplete: AtomicU64,
}

impl Counts {
    pub(crate) fn heals(&self) -> Heals {
        Heals {
            censuses: self.censuses.load(Ordering::Relaxed),
            events: self.events.load(Ordering::Relaxed),
            incomplete: self.incomplete.load(Ordering::Relaxed),
        }
    }
}

/// What a server says to a node that comes.
enum Entered {
    Ready { era: String, head: EventId },
    Census { era: String, base: EventId, closing: bool },
}

/// How a census goes.
enum Goes {
    Wait(Duration),
    On,
    Done,
}

impl Commands {
    /// Enters the era of every partition, through a census if need be.
    pub(crate) async fn settle(&self) -> Result<(), BackplaneError> {
        let settled = self.settled().await;
        self.sort(settled)
    }

    pub(crate) async fn settled(&self) -> Result<(), Error> {
        // All to their ends: a partition whose server is away must not keep the others waiting. And nobody may wait for a
        // node that itself waits, in another partition, for whoever waits: so as long as one partition is in a census, those
        // that failed are tried again, and those that are settled are looked after, as Redis may have changed since.
        let (busy, over) = (AtomicUsize::new(self.keys.len()), AtomicBool::new(false));
        let each = async |partition| {
            loop {
                let settled = self.settle_one(partition).await;
                over.fetch_or(busy.fetch_sub(1, Ordering::Relaxed) == 1, Ordering::Relaxed);
                let mut lasts = true;
                while lasts {
                    if over.load(Ordering::Relaxed) {
                        return settled;
                    }
                    sleep(poll()).await;
                    lasts = over.load(Ordering::Relaxed) || (settled.is_ok() && self.is_settled(partition).await);
                }
                busy.fetch_add(1, Ordering::Relaxed);
            }
        };
        join_all((0..self.keys.len()).map(each)).await.into_iter().collect()
    }

    async fn is_settled(&self, partition: usize) -> bool {
        let own = self.eras.current(partition);
        matches!((self.enter(partition).await, own), (Ok(Entered::Ready { era, .. }), Some(own)) if *era == *own)
    }

    async fn settle_one(&self, partition: usize) -> Result<(), Error> {
        if let (Entered::Ready { era, .. }, Some(own)) = (self.enter(partition).await?, self.eras.current(partition))
            && *era == *own
        {
            self.eras.enter(partition, &era);
            return Ok(());
        }
        // No answer counts any more that was asked for before: what is handed in is all that was acknowledged.
        self.eras.leave(partition);
        let until = Instant::now() + OPEN_MOST * 2;
        while Instant::now() < until {
            let (era, base, closing) = match self.enter(partition).await? {
                Entered::Ready { era, head } => {
                    self.saw(partition, head);
                    self.eras.enter(partition, &era);
                    return Ok(());
                }
                Entered::Census { era, base, closing } => (era, base, closing),
            };
            // Whoever comes while events are put back helps with that: those who began it may be gone.
            let part = if closing {
                self.await_end(partition, &era, base).await
            } else {
                self.take_part(partition, &era, base).await
            };
            match part {
                // It is over, or another one has begun.
                Err(error) if is_census(&error) => {}
                other => other?,
            }
        }
        Err(Error::new(ErrorKind::Timeout, "a census does not end"))
    }

    async fn take_part(&self, partition: usize, era: &str, base: EventId) -> Result<(), Error> {
        let mut handed = base;
        loop {
            let kept = self.tail.after(partition, handed, STEP_EVENTS, STEP_BYTES);
            let Some((last, _)) = kept.last() else { break };
            handed = *last;
            self.hand(partition, era, kept).await?;
        }
        self.await_end(partition, era, base).await
    }

    /// Says that this node is done, and goes on asking until the census is over.
    async fn await_end(&self, partition: usize, era: &str, base: EventId) -> Result<(), Error> {
        loop {
            match self.report(partition, era, base).await? {
                Goes::Wait(longest) => sleep(poll().min(longest.max(Duration::from_millis(1)))).await,
                Goes::On => {}
                Goes::Done => return Ok(()),
            }
        }
    }

    async fn enter(&self, partition: usize) -> Result<Entered, Error> {
        let names = &self.keys[partition];
        let keys = [&names.meta, &names.nodes, &names.eras, &names.awaited, &names.came].map(Clone::clone).to_vec();
        let (timeout, probe) = (self.options.command_timeout, self.options.probe_interval);
        let more = vec![
            text(self.node.to_string()),
            text(millis(LATE + probe * 3).to_string()),
            // Until then the others have noticed and connected again, unless they are gone.
            text(millis(LEAST + timeout * 2 + probe).to_string()),
            text(names.nodes_channels.as_str()),
            text(self.tell()),
            text(format!("c {partition}")),
        ];
        let era = self.eras.last(partition).unwrap_or_default();
        let answer = self.ask(&scripts::ENTER, partition, &era, keys, more).await?;
        let entered = || {
            let [what, era, id, detail] = answers::exactly(answer)?;
            let (era, id) = (answers::str(&era)?.to_owned(), answers::id(&id)?);
            if answers::str(&what)? == "ready" {
                self.joins[partition].store(answers::count(&detail)? as u64, Ordering::Relaxed);
                return Ok(Entered::Ready { era, head: id });
            }
            Ok(Entered::Census { era, base: id, closing: answers::str(&detail)? == "closing" })
        };
        entered().map_err(odd)
    }

    async fn hand(&self, partition: usize, era: &str, kept: Vec<(EventId, Kept)>) -> Result<(), Error> {
        let names = &self.keys[partition];
        let mut keys = vec![names.meta.clone(), names.handed.clone(), names.order.clone()];
        let age = |age: u64| number(usize::try_from(age).unwrap_or(usize::MAX));
        let mut more = vec![
            number(millis(HANDING) as usize),
            number(millis(OPEN_MOST) as usize),
            age(millis(self.options.idempotency_age).max(1)),
            text(names.streams.as_str()),
        ];
        for (id, kept) in kept {
            let content = &kept.content;
            let retention = self.options.retention_of(content.topic());
            let key = kept.key.map_or(0, |name| {
                keys.push(names.idempotency(content.topic(), &name));
                keys.len()
            });
            more.extend([
                text(id.to_string()),
                text(content.topic().as_str()),
                text(content.event_type()),
                text(content.prev().to_string()),
                text(content.data()),
                number(retention.events.max(1)),
                age(retention.age_ms),
                number(key),
            ]);
        }
        self.ask(&scripts::HAND, partition, era, keys, more).await.map(drop)
    }

    async fn report(&self, partition: usize, era: &str, base: EventId) -> Result<Goes, Error> {
        let names = &self.keys[partition];
        let keys = [
            &names.meta,
            &names.topics,
            &names.names,
            &names.recent,
            &names.due,
            &names.nodes,
            &names.eras,
            &names.awaited,
            &names.came,
            &names.handed,
            &names.order,
        ];
        let more = vec![
            text(self.node.to_string()),
            number(usize::from(self.tail.reaches(partition, base))),
            text(self.joins[partition].load(Ordering::Relaxed).to_string()),
            text(names.streams.as_str()),
            number(STEP_EVENTS),
            number(STEP_BYTES),
            text(&*self.eras.last(partition).unwrap_or_default()),
        ];
        let answer = self.ask(&scripts::REPORT, partition, era, keys.map(Clone::clone).to_vec(), more).await?;
        self.goes(partition, answer).map_err(odd)
    }

    fn goes(&self, partition: usize, answer: Value) -> Result<Goes, BackplaneError> {
        let answer = answers::list(answer)?;
        match &answer[..] {
            [_, ms] => Ok(Goes::Wait(Duration::from_millis(answers::count(ms)? as u64))),
            [_, base, handed, restored, why, head, took] => {
                let (base, head, why) = (answers::id(base)?, answers::id(head)?, answers::str(why)?);
                let (handed, restored, took) =
                    (answers::count(handed)?, answers::count(restored)?, answers::count(took)?);
                self.counts.censuses.fetch_add(1, Ordering::Relaxed);
                self.counts.events.fetch_add(restored as u64, Ordering::Relaxed);
                if why.is_empty() {
                    tracing::info!(partition, survived = %base, handed, restored, %head, took, "redis changed, and is whole");
                } else {
                    self.counts.incomplete.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(
                        partition, survived = %base, handed, restored, %head, took, why,
                        "redis changed and may have lost events: sessions are told"
                    );
                }
                Ok(Goes::Done)
            }
            _ => Ok(Goes::On),
        }
    }

    /// Ends publishing, and takes this node from those that a census waits for.
    pub(crate) async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        let all = u32::try_from(self.options.publishing_max).unwrap_or(u32::MAX);
        let done = tokio::time::timeout(self.patience(), self.publishing.acquire_many(all)).await;
        if !matches!(done, Ok(Ok(_))) {
            tracing::warn!("publishes are still under way, so that redis is not told that this node ends");
            return;
        }
        self.publishing.close();
        let leave = |partition: usize| {
            let names = &self.keys[partition];
            let keys = vec![names.meta.clone(), names.nodes.clone()];
            self.run(&scripts::LEAVE, partition, keys, vec![text(self.node.to_string())])
        };
        for (partition, left) in join_all((0..self.keys.len()).map(leave)).await.into_iter().enumerate() {
            if let Err(error) = left {
                tracing::warn!(partition, %error, "redis is not told that this node ends: the next census waits for it");
            }
        }
    }
}

fn poll() -> Duration {
    Duration::from_millis(fastrand::u64(POLL_MS))
}

fn odd(_: BackplaneError) -> Error {
    Error::new(ErrorKind::Parse, "an answer is not understood")
}
