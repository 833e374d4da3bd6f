//! Publishers that are at work while a check does something else.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, task::JoinHandle, time::sleep};
use towncrier_wire::{EventId, Topic};

use super::node::{Node, event, in_time};

/// How many publishers there are.
const PUBLISHERS: usize = 4;

/// Most events of one batch.
const BATCH_MAX: usize = 5;

/// From so many events on, publishers go slowly: a check that hangs shall not fill the memory.
const FAST_MAX: usize = 60_000;

/// See the module.
pub(super) struct Traffic {
    stop: Arc<AtomicBool>,
    published: watch::Receiver<usize>,
    publishers: Vec<JoinHandle<Vec<(Topic, EventId)>>>,
}

/// All that was published, by topic.
pub(super) struct Record(Vec<(Topic, EventId)>);

impl Traffic {
    /// Starts to publish to all the topics in turn, in batches of several sizes.
    pub(super) fn start(node: &Node, topics: &[Topic]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (count, published) = watch::channel(0);
        let publish = |number| publish_until(stop.clone(), node.clone(), topics.to_vec(), number, count.clone());
        let publishers = (0..PUBLISHERS).map(|number| tokio::spawn(publish(number))).collect();
        Self { stop, published, publishers }
    }

    /// Waits until so many more events have been published.
    pub(super) async fn flows(&self, more: usize) {
        let mut published = self.published.clone();
        let wanted = *published.borrow() + more;
        in_time("traffic", published.wait_for(|published| *published >= wanted)).await.expect("publishers go on");
    }

    /// Ends it.
    pub(super) async fn stop(self) -> Record {
        self.stop.store(true, Ordering::Relaxed);
        let mut record = Vec::new();
        for publisher in self.publishers {
            record.extend(in_time("a publisher", publisher).await.expect("a publisher ends well"));
        }
        Record(record)
    }
}

impl Record {
    /// The ids of one topic, in order.
    pub(super) fn of(&self, topic: &Topic) -> Vec<EventId> {
        let ids: BTreeSet<_> = self.0.iter().filter(|(other, _)| other == topic).map(|(_, id)| *id).collect();
        ids.into_iter().collect()
    }
}

async fn publish_until(
    stop: Arc<AtomicBool>,
    node: Node,
    topics: Vec<Topic>,
    number: usize,
    count: watch::Sender<usize>,
) -> Vec<(Topic, EventId)> {
    let mut turn = topics.iter().cycle().skip(number * topics.len() / PUBLISHERS);
    let mut record = Vec::new();
    for size in (1..=BATCH_MAX).cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let batch: Vec<_> = turn.by_ref().take(size).cloned().collect();
        let events = batch.iter().map(|topic| event(topic, &format!("{number}"))).collect();
        let published = node.publish_all(events).await;
        record.extend(batch.into_iter().zip(published.iter().map(|published| published.id)));
        count.send_modify(|count| *count += size);
        if record.len() > FAST_MAX / PUBLISHERS {
            sleep(Duration::from_millis(5)).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
    record
}
