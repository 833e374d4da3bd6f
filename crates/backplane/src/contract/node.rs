//! One node of a hub, as a check sees it: it publishes, asks, and hears everything that it is told.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use towncrier_core::TopicRead;
use towncrier_wire::{
    Event, EventId, Heads, Name, NewEvent, Partition, Partitions, Selector, Topic, limits::PARTITIONS_MAX,
};

use super::{Harness, Setup};
use crate::{Backplane, Published, Signal, Signals};

/// How long anything may take. Generous: it only delays the report of a failure.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// More events than any check publishes to a topic.
pub(super) const ALL: usize = 1_000_000;

/// How many of the last things heard a failure shows.
const SHOWN: usize = 40;

/// What a node was told, one event at a time.
#[derive(Clone)]
pub(super) enum Heard {
    Event(Arc<Event>),
    Joined(BTreeSet<Selector>, Heads),
    Heads(Heads),
}

/// See the module. Clones are the same node.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) backplane: Arc<dyn Backplane>,
    heard: watch::Receiver<Vec<Heard>>,
    /// The newest id of each partition that a publish was answered with.
    newest: Arc<Mutex<Heads>>,
}

/// A node's signals, for as long as it does not listen by itself.
pub(super) struct Ear {
    signals: Signals,
    heard: watch::Sender<Vec<Heard>>,
}

impl Ear {
    /// Takes signals as they come, from now on.
    pub(super) fn listen(mut self) {
        tokio::spawn(async move { while self.take().await {} });
    }

    /// Takes the signals that wait, or else the next; false at their end.
    pub(super) async fn take(&mut self) -> bool {
        let signals = self.signals.next(256).await;
        let more = !signals.is_empty();
        self.heard.send_modify(|heard| heard.extend(signals.into_iter().flat_map(flatten)));
        more
    }
}

impl Node {
    /// The only node of a hub of its own.
    pub(super) async fn start(harness: &impl Harness, setup: Setup) -> Self {
        let (node, ear) = Self::start_deaf(harness, setup).await;
        ear.listen();
        node
    }

    /// A node that hears only what its ear is told to take.
    pub(super) async fn start_deaf(harness: &impl Harness, setup: Setup) -> (Self, Ear) {
        let (backplane, signals) = harness.start(setup).await;
        assert_eq!(backplane.partitions(), setup.partitions, "the harness starts what it is asked for");
        let (sender, heard) = watch::channel(Vec::new());
        let newest = Arc::new(Mutex::new([EventId::ZERO; PARTITIONS_MAX]));
        (Self { backplane, heard, newest }, Ear { signals, heard: sender })
    }

    pub(super) fn partitions(&self) -> Partitions {
        self.backplane.partitions()
    }

    pub(super) fn partition(&self, topic: &Topic) -> usize {
        self.partitions().of(topic).index()
    }

    /// Topics under `t/`, so many in each partition.
    pub(super) fn topics(&self, of_each: usize) -> Vec<Topic> {
        let mut found = [0; PARTITIONS_MAX];
        let all = (0..).map(|number| topic(&format!("t/{number}")));
        all.filter(|topic| {
            let found = &mut found[self.partition(topic)];
            *found += 1;
            *found <= of_each
        })
        .take(of_each * self.partitions().count())
        .collect()
    }

    /// Publishes a batch, which must be stored.
    pub(super) async fn publish_all(&self, events: Vec<NewEvent>) -> Vec<Published> {
        let topics: Vec<_> = events.iter().map(|event| event.topic.clone()).collect();
        let answers = in_time("an answer to publish", self.backplane.publish(events)).await;
        assert_eq!(answers.len(), topics.len(), "one answer for each event");
        let published: Vec<_> = answers.into_iter().map(|answer| answer.expect("publish is stored")).collect();
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        for (topic, published) in topics.iter().zip(&published) {
            let newest = &mut newest[self.partition(topic)];
            *newest = published.id.max(*newest);
        }
        drop(newest);
        published
    }

    /// Publishes one event, which must be stored.
    pub(super) async fn publish_one(&self, event: NewEvent) -> Published {
        self.publish_all(vec![event]).await[0]
    }

    /// Publishes an event that is new, and gives its id.
    pub(super) async fn publish(&self, topic: &Topic, data: &str) -> EventId {
        let published = self.publish_one(event(topic, data)).await;
        assert!(!published.duplicate, "{topic}: published without a key, so not seen before");
        published.id
    }

    /// Follows selectors, and waits for the answer among the signals.
    pub(super) async fn join(&self, names: &[&str]) -> Heads {
        let wanted: BTreeSet<_> = names.iter().map(|name| selector(name)).collect();
        let before = self.heard.borrow().len();
        let selectors = names.iter().map(|name| selector(name)).collect();
        in_time("join", self.backplane.join(selectors)).await.expect("join is taken");
        self.wait(&format!("answer to join {names:?}"), |heard| {
            heard[before..].iter().find_map(|heard| match heard {
                Heard::Joined(selectors, heads) if *selectors == wanted => Some(*heads),
                _ => None,
            })
        })
        .await
    }

    /// Follows selectors no longer.
    pub(super) async fn leave(&self, names: &[&str]) {
        let selectors = names.iter().map(|name| selector(name)).collect();
        in_time("leave", self.backplane.leave(selectors)).await.expect("leave is taken");
    }

    /// All that history holds of a topic after an id.
    pub(super) async fn read(&self, topic: &Topic, after: EventId) -> TopicRead {
        self.read_page(topic, after, ALL).await
    }

    pub(super) async fn read_page(&self, topic: &Topic, after: EventId, limit: usize) -> TopicRead {
        in_time("read", self.backplane.read(topic.clone(), after, limit)).await.expect("read is answered")
    }

    pub(super) async fn floor(&self, topic: &Topic) -> EventId {
        in_time("floors", self.backplane.floors()).await.expect("floors are answered")[self.partition(topic)]
    }

    pub(super) async fn clear(&self, topic: &Topic) -> usize {
        in_time("clear", self.backplane.clear(topic.clone())).await.expect("clear is answered")
    }

    /// The newest id of each partition that a publish was answered with.
    pub(super) fn newest(&self) -> Heads {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something among what was heard.
    pub(super) async fn wait<T>(&self, what: &str, mut find: impl FnMut(&[Heard]) -> Option<T>) -> T {
        let mut heard = self.heard.clone();
        let mut found = None;
        let find = |heard: &Vec<Heard>| {
            found = find(heard);
            found.is_some()
        };
        let in_time = timeout(DEADLINE, heard.wait_for(find)).await.map(|heard| heard.is_ok());
        found.unwrap_or_else(|| {
            let why = if in_time.is_ok() { "the signals ended" } else { "the time is up" };
            panic!("no {what}: {why}; heard last: {:#?}", shown(&self.heard.borrow()))
        })
    }

    /// Waits for an event to be told.
    pub(super) async fn hears(&self, topic: &Topic, id: EventId) {
        let told = |heard: &Heard| matches!(heard, Heard::Event(event) if event.id() == id && event.topic() == topic);
        self.wait(&format!("event {id} of {topic}"), |heard| heard.iter().rev().any(told).then_some(())).await;
    }

    /// Waits until the node was told everything that publishers had an answer for, and gives all that it heard. Whoever
    /// calls it can also tell what was *not* told.
    pub(super) async fn settle(&self) -> Vec<Heard> {
        let newest = self.newest();
        let reaches = |heads: &Heads| heads.iter().zip(&newest).all(|(head, newest)| head >= newest);
        let mut rounds = 0;
        let settled = timeout(DEADLINE, async {
            loop {
                let before = self.heard.borrow().len();
                in_time("announce", self.backplane.announce()).await.expect("announce is taken");
                let heads = |heard: &Heard| match heard {
                    Heard::Heads(heads) => Some(*heads),
                    Heard::Event(_) | Heard::Joined(..) => None,
                };
                let heads = self.wait("answer to announce", |heard| heard[before..].iter().rev().find_map(heads)).await;
                if reaches(&heads) {
                    return;
                }
                rounds += 1;
                sleep(Duration::from_millis(5)).await;
            }
        });
        let settled = settled.await;
        let heard = self.heard.borrow().clone();
        assert!(
            settled.is_ok(),
            "{rounds} announcements, and none reaches what was published, {newest:?}; heard last: {:#?}",
            shown(&heard)
        );
        self.only_goes_forward(&heard);
        heard
    }

    /// The order on which the hand-over rests: within a partition, each event comes after all events and heads that were
    /// told before it, and heads are never behind the events before them. So nothing comes twice either.
    fn only_goes_forward(&self, heard: &[Heard]) {
        let mut reached = [EventId::ZERO; PARTITIONS_MAX];
        for (index, one) in heard.iter().enumerate() {
            let context = || format!("signal {index}: {one:?}; before it: {:#?}", shown(&heard[..index]));
            match one {
                Heard::Event(event) => {
                    let reached = &mut reached[self.partition(event.topic())];
                    assert!(event.id() > *reached, "an event at or behind {reached}: {}", context());
                    *reached = event.id();
                }
                Heard::Joined(_, heads) | Heard::Heads(heads) => {
                    for partition in self.partitions().iter().map(Partition::index) {
                        let (head, reached) = (heads[partition], &mut reached[partition]);
                        assert!(head >= *reached, "partition {partition} goes back from {reached}: {}", context());
                        *reached = head;
                    }
                }
            }
        }
    }
}

/// The events among what was heard.
pub(super) fn told(heard: &[Heard]) -> impl Iterator<Item = &Arc<Event>> {
    heard.iter().filter_map(|heard| match heard {
        Heard::Event(event) => Some(event),
        Heard::Joined(..) | Heard::Heads(_) => None,
    })
}

/// The ids of a topic's events among what was heard, in the order in which they were.
pub(super) fn told_of(heard: &[Heard], topic: &Topic) -> Vec<EventId> {
    told(heard).filter(|event| event.topic() == topic).map(|event| event.id()).collect()
}

pub(super) fn ids<'a>(events: impl IntoIterator<Item = &'a Arc<Event>>) -> Vec<EventId> {
    events.into_iter().map(|event| event.id()).collect()
}

/// Compares long lists of ids, and shows where they part.
pub(super) fn assert_same(what: &str, ids: &[EventId], expected: &[EventId]) {
    let same = ids.iter().zip(expected).take_while(|(id, expected)| id == expected).count();
    let around = |ids: &[EventId]| listed(&ids[same.saturating_sub(3)..ids.len().min(same + 5)]);
    assert!(
        ids == expected,
        "{what} {} ids, where {} are expected; after {same} that are the same, [{}] instead of [{}]",
        ids.len(),
        expected.len(),
        around(ids),
        around(expected),
    );
}

pub(super) fn topic(text: &str) -> Topic {
    Topic::new(text).expect("a topic")
}

pub(super) fn selector(text: &str) -> Selector {
    Selector::new(text).expect("a selector")
}

pub(super) fn event(topic: &Topic, data: &str) -> NewEvent {
    NewEvent { topic: topic.clone(), event_type: None, data: data.into(), idempotency_key: None, trace: None }
}

pub(super) fn keyed(topic: &Topic, data: &str, key: &str) -> NewEvent {
    NewEvent { idempotency_key: Some(Name::new(key).expect("a key")), ..event(topic, data) }
}

/// Waits for a future, but not for ever.
pub(super) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(answer) = timeout(DEADLINE, future).await else { panic!("{what}: not within {DEADLINE:?}") };
    answer
}

/// Runs futures at the same time, and gives what they give in their order.
pub(super) async fn at_once<T: Send + 'static>(
    futures: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let tasks: Vec<_> = futures.into_iter().map(tokio::spawn).collect();
    let mut answers = Vec::with_capacity(tasks.len());
    for task in tasks {
        answers.push(in_time("a task", task).await.expect("a task ends well"));
    }
    answers
}

fn flatten(signal: Signal) -> Vec<Heard> {
    match signal {
        Signal::Events(events, _) => events.into_iter().map(Heard::Event).collect(),
        Signal::Joined { selectors, heads } => vec![Heard::Joined(selectors.into_iter().collect(), heads)],
        Signal::Heads(heads) => vec![Heard::Heads(heads)],
        Signal::Lost(heads) => panic!("lost what came after {heads:?}"),
    }
}

fn shown(heard: &[Heard]) -> &[Heard] {
    &heard[heard.len().saturating_sub(SHOWN)..]
}

fn listed(ids: &[EventId]) -> String {
    ids.iter().map(EventId::to_string).collect::<Vec<_>>().join(" ")
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(event) => write!(f, "event {} of {} after {}", event.id(), event.topic(), event.prev()),
            Self::Joined(selectors, at) => {
                let selectors: Vec<_> = selectors.iter().map(Selector::as_str).collect();
                write!(f, "joined {selectors:?} at {}", listed(at))
            }
            Self::Heads(at) => write!(f, "heads {}", listed(at)),
        }
    }
}
