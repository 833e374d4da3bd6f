//! The embedded backplane keeps the contract. Beside it stands what is its own: the budget of its signals, and a clock
//! that is handed to it.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::{SystemTime, UNIX_EPOCH},
};

use towncrier_backplane::{
    Answer, Backplane, BackplaneError, Clock, Embedded, Published, Signal, Signals,
    contract::{Harness, Setup},
    contract_tests,
};
use towncrier_core::store::{Options, Retention};
use towncrier_wire::{EventId, Heads, Name, NewEvent, Partitions, Selector, Topic};

const HOUR_MS: u64 = 3_600_000;

struct InMemory;

impl Harness for InMemory {
    async fn start(&self, setup: Setup) -> (Arc<dyn Backplane>, Signals) {
        let age_ms = u64::try_from(setup.history_age.as_millis()).expect("an age");
        let retention = Retention { events: setup.history_events, age_ms };
        let options = Options { partitions: setup.partitions, retention, ..options() };
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
        let clock: Clock = Arc::new(move || u64::try_from(now()).expect("a time"));
        let (backplane, signals) = Embedded::new(options, setup.signal_bytes_max, clock);
        (Arc::new(backplane), signals)
    }
}

contract_tests!(InMemory);

/// The list in `contract_tests!` is written by hand.
#[test]
fn no_check_of_the_contract_is_left_out() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/contract");
    let read = |path| std::fs::read_to_string(path).expect("a source file");
    let list = read(format!("{folder}/mod.rs").into());
    let mut checks = 0;
    for entry in std::fs::read_dir(folder).expect("the contract") {
        let source = read(entry.expect("an entry").path());
        for line in source.lines() {
            let Some((name, _)) = line.strip_prefix("pub async fn ").and_then(|rest| rest.split_once('(')) else {
                continue;
            };
            assert!(list.contains(&format!(" {name},\n")), "{name} is not in the list");
            checks += 1;
        }
    }
    assert!(checks > 30, "found {checks} checks");
}

/// How much may wait in the signals, in bytes.
mod budget {
    use super::*;

    const BUDGET: usize = 4096;

    #[tokio::test]
    async fn a_publish_waits_until_there_is_room() {
        let (hub, mut signals, _) = hub(options(), BUDGET);
        follow_all(&hub, &mut signals).await;
        publish(&hub, event("a", &"x".repeat(BUDGET / 2))).await;

        let mut waiting = hub.publish(vec![event("a", &"y".repeat(BUDGET / 2))]);
        assert!(is_pending(&mut waiting).await, "there is no room for it");
        assert_eq!(stored(&hub, "a").await, 1, "what waits is not stored");

        assert_eq!(told(&mut signals).await.len(), 1);
        assert!(at_once(waiting).await[0].is_ok());
        assert_eq!(told(&mut signals).await.len(), 1);
        assert_eq!(stored(&hub, "a").await, 2);
    }

    #[tokio::test]
    async fn a_batch_larger_than_the_budget_goes_alone() {
        let (hub, mut signals, _) = hub(options(), BUDGET);
        follow_all(&hub, &mut signals).await;
        let batch = || (0..3).map(|_| event("a", &"x".repeat(BUDGET))).collect();

        assert!(at_once(hub.publish(batch())).await.iter().all(Result::is_ok));
        let mut waiting = hub.publish(vec![event("a", "")]);
        assert!(is_pending(&mut waiting).await, "even the smallest event has to wait");
        assert_eq!(told(&mut signals).await.len(), 3);
        assert!(at_once(waiting).await[0].is_ok());

        let mut waiting = hub.publish(batch());
        assert!(is_pending(&mut waiting).await, "it needs all of the budget");
        assert_eq!(told(&mut signals).await.len(), 1);
        assert!(at_once(waiting).await.iter().all(Result::is_ok));
    }

    #[tokio::test]
    async fn joins_and_announcements_do_not_wait_for_bytes() {
        let (hub, mut signals, _) = hub(options(), BUDGET);
        follow_all(&hub, &mut signals).await;
        publish(&hub, event("a", &"x".repeat(BUDGET))).await;
        let mut waiting = hub.publish(vec![event("a", "waits")]);
        assert!(is_pending(&mut waiting).await);

        at_once(hub.join(vec![selector("b")])).await.unwrap();
        at_once(hub.announce()).await.unwrap();

        assert!(matches!(
            at_once(signals.next(10)).await[..],
            [Signal::Events(..), Signal::Joined { .. }, Signal::Heads(_)]
        ));
    }

    #[tokio::test]
    async fn what_nobody_follows_takes_no_room() {
        let (hub, mut signals, _) = hub(options(), BUDGET);
        for _ in 0..10 {
            publish(&hub, event("a", &"x".repeat(BUDGET))).await;
        }
        let large = || NewEvent { data: "x".repeat(BUDGET).into(), ..keyed("a", "k") };
        publish(&hub, large()).await;
        follow_all(&hub, &mut signals).await;
        for _ in 0..10 {
            assert!(publish(&hub, large()).await.duplicate, "nor does a duplicate");
        }
    }

    #[tokio::test]
    async fn a_publish_that_is_given_up_stores_nothing_and_blocks_nobody() {
        let (hub, mut signals, _) = hub(options(), BUDGET);
        follow_all(&hub, &mut signals).await;
        publish(&hub, event("a", &"x".repeat(BUDGET))).await;

        let mut given_up = hub.publish(vec![event("a", &"y".repeat(BUDGET))]);
        assert!(is_pending(&mut given_up).await);
        drop(given_up);

        assert_eq!(told(&mut signals).await.len(), 1);
        publish(&hub, event("a", "next")).await;
        assert_eq!(told(&mut signals).await, ["next"]);
        assert_eq!(stored(&hub, "a").await, 2);
    }

    #[tokio::test]
    async fn without_a_node_nothing_is_stored() {
        let (hub, signals, _) = hub(options(), BUDGET);
        drop(signals);

        let answers = at_once(hub.publish(vec![event("a", "x"), event("b", "x")])).await;
        assert_eq!(answers, [Err(BackplaneError::Unavailable), Err(BackplaneError::Unavailable)]);
        assert_eq!(stored(&hub, "a").await, 0);
        assert_eq!(at_once(hub.join(vec![selector("a")])).await, Err(BackplaneError::Unavailable));
        assert_eq!(at_once(hub.announce()).await, Err(BackplaneError::Unavailable));
    }
}

/// The clock gives ids their time and events their age; it may stand still or go back.
mod clock {
    use super::*;

    const START_MS: u64 = 1_795_161_600_000;

    #[tokio::test]
    async fn ids_rise_when_the_clock_stands_still_or_goes_back() {
        let (hub, mut signals, now) = hub(options(), usize::MAX);
        follow_all(&hub, &mut signals).await;

        let mut published = Vec::new();
        for ms in [0, 0, 5, 5, 4, 0, 5, 6] {
            now.store(START_MS + ms, Ordering::Relaxed);
            published.push(publish(&hub, event("a", "x")).await.id);
        }

        let id = |ms, seq| EventId::new(START_MS + ms, seq).unwrap();
        // The floor is the first id of the first millisecond.
        let expected = [id(0, 1), id(0, 2), id(5, 0), id(5, 1), id(5, 2), id(5, 3), id(5, 4), id(6, 0)];
        assert_eq!(published, expected);
        let read = hub.read(topic("a"), EventId::ZERO, 100).await.unwrap();
        assert_eq!(read.events.iter().map(|event| event.id()).collect::<Vec<_>>(), expected);
    }

    #[tokio::test]
    async fn heads_do_not_go_back_with_the_clock() {
        let (hub, mut signals, now) = hub(options(), usize::MAX);
        let before = follow_all(&hub, &mut signals).await;
        let id = publish(&hub, event("a", "x")).await.id;
        told(&mut signals).await;

        now.store(START_MS - HOUR_MS, Ordering::Relaxed);
        let after = follow_all(&hub, &mut signals).await;
        assert!(before[0] < id);
        assert_eq!(after[0], id);
        assert_eq!(hub.floors().await.unwrap()[0], before[0]);
    }

    #[tokio::test]
    async fn an_event_is_kept_for_just_its_age() {
        let retention = Retention { events: 10, age_ms: 1000 };
        let (hub, _signals, now) = hub(Options { retention, ..options() }, usize::MAX);
        let id = publish(&hub, event("a", "x")).await.id;

        for (ms, held) in [(1000, 1), (1001, 0), (999, 0)] {
            now.store(START_MS + ms, Ordering::Relaxed);
            assert_eq!(stored(&hub, "a").await, held, "after {ms} ms");
        }
        assert_eq!(hub.read(topic("a"), EventId::ZERO, 1).await.unwrap().trimmed, id);
    }

    #[tokio::test]
    async fn clearing_does_not_count_what_has_expired() {
        let retention = Retention { events: 10, age_ms: 1000 };
        let (hub, _signals, now) = hub(Options { retention, ..options() }, usize::MAX);
        publish(&hub, event("a", "x")).await;
        now.store(START_MS + 600, Ordering::Relaxed);
        publish(&hub, event("a", "x")).await;

        now.store(START_MS + 1200, Ordering::Relaxed);
        assert_eq!(hub.clear(topic("a")).await, Ok(1));
    }

    #[tokio::test]
    async fn a_key_is_forgotten_at_its_age() {
        let (hub, _signals, now) = hub(Options { idempotency_age_ms: 1000, ..options() }, usize::MAX);
        let first = publish(&hub, keyed("a", "k")).await.id;

        now.store(START_MS + 999, Ordering::Relaxed);
        assert_eq!(publish(&hub, keyed("a", "k")).await, Published { id: first, duplicate: true });
        now.store(START_MS + 1000, Ordering::Relaxed);
        let second = publish(&hub, keyed("a", "k")).await;
        assert!(!second.duplicate && second.id > first);
        assert_eq!(publish(&hub, keyed("a", "k")).await, Published { id: second.id, duplicate: true });
    }

    #[tokio::test]
    async fn a_topic_that_is_forgotten_raises_the_floor() {
        let (hub, _signals, now) = hub(Options { topics_max: 2, ..options() }, usize::MAX);
        let first = publish(&hub, event("a", "x")).await.id;
        let start = hub.floors().await.unwrap()[0];
        for name in ["b", "c"] {
            now.fetch_add(1, Ordering::Relaxed);
            publish(&hub, event(name, "x")).await;
        }

        assert_eq!(hub.topic(topic("a")).await, Ok(None));
        assert!(start < first);
        assert_eq!(hub.floors().await.unwrap()[0], first);
        now.fetch_add(1, Ordering::Relaxed);
        publish(&hub, event("a", "again")).await;
        let read = hub.read(topic("a"), EventId::ZERO, 10).await.unwrap();
        assert!(read.events[0].prev() <= hub.floors().await.unwrap()[0], "{read:?}");
    }
}

fn options() -> Options {
    Options {
        partitions: Partitions::ONE,
        retention: Retention { events: 1000, age_ms: HOUR_MS },
        namespaces: Vec::new(),
        bytes_max: 1 << 30,
        topics_max: 1 << 20,
        idempotency_age_ms: HOUR_MS,
        idempotency_keys_max: 1 << 20,
    }
}

/// A hub whose clock stands until it is set.
fn hub(options: Options, signal_bytes_max: usize) -> (Embedded, Signals, Arc<AtomicU64>) {
    let now = Arc::new(AtomicU64::new(1_795_161_600_000));
    let clock = now.clone();
    let (hub, signals) = Embedded::new(options, signal_bytes_max, Arc::new(move || clock.load(Ordering::Relaxed)));
    (hub, signals, now)
}

/// What a future gives at once; a test that waited could wait for ever.
async fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
    let Poll::Ready(answer) = polled else { panic!("it has to wait") };
    answer
}

async fn follow_all(hub: &Embedded, signals: &mut Signals) -> Heads {
    at_once(hub.join(vec![selector("**")])).await.unwrap();
    let signals = at_once(signals.next(1)).await;
    let [Signal::Joined { heads, .. }] = &signals[..] else { panic!("an answer to the join, not {signals:?}") };
    *heads
}

async fn publish(hub: &Embedded, event: NewEvent) -> Published {
    at_once(hub.publish(vec![event])).await[0].clone().unwrap()
}

async fn is_pending<T>(answer: &mut Answer<'_, T>) -> bool {
    poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx).is_pending())).await
}

/// The data of the events of one signal.
async fn told(signals: &mut Signals) -> Vec<String> {
    let signals = at_once(signals.next(1)).await;
    let [Signal::Events(events, _)] = &signals[..] else { panic!("events, not {signals:?}") };
    events.iter().map(|event| event.data().to_owned()).collect()
}

async fn stored(hub: &Embedded, name: &str) -> usize {
    hub.read(topic(name), EventId::ZERO, 100).await.unwrap().events.len()
}

fn topic(text: &str) -> Topic {
    Topic::new(text).unwrap()
}

fn selector(text: &str) -> Selector {
    Selector::new(text).unwrap()
}

fn event(name: &str, data: &str) -> NewEvent {
    NewEvent { topic: topic(name), event_type: None, data: data.into(), idempotency_key: None, trace: None }
}

fn keyed(name: &str, key: &str) -> NewEvent {
    NewEvent { idempotency_key: Some(Name::new(key).unwrap()), ..event(name, "x") }
}
