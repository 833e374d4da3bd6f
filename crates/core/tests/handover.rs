//! The hand-over from replay to live, under any interleaving.

mod bench;

use bench::{Anew, Bench, Op, Setup};
use proptest::{prelude::*, sample::select};
use towncrier_core::{
    cache,
    rooms::{CohortKey, Policy, Slow},
    store::{self, Retention},
};
use towncrier_wire::{Partitions, Selectors, Topic};

const TOPICS: [&str; 4] = ["a", "a/1", "a/2", "b/1"];

const SELECTORS: [&[&str]; 9] =
    [&["a/1"], &["a/1"], &["a/1", "b/1"], &["a/*"], &["**"], &["a/**", "a/1"], &["*/1", "a"], &["a", "b/1"], &["a/2", "a/*"]];

/// Small more often than not, so that the bound is met; else none.
fn bound(small: std::ops::Range<usize>) -> impl Strategy<Value = usize> {
    prop_oneof![2 => small, 1 => Just(usize::MAX)]
}

fn retention() -> impl Strategy<Value = Retention> {
    (bound(1..5), prop_oneof![1 => 1..30_u64, 2 => Just(u64::MAX)]).prop_map(|(events, age_ms)| Retention { events, age_ms })
}

fn client() -> impl Strategy<Value = CohortKey> {
    let slow = prop_oneof![Just(Slow::Disconnect), Just(Slow::Conflate)];
    (select(&SELECTORS[..]), slow, bound(1..500), bound(0..5)).prop_map(|(texts, slow, lag_bytes, lag_events)| CohortKey {
        selectors: Selectors::new(texts.iter().copied(), 100).expect("selectors"),
        policy: Policy { slow, lag_bytes, lag_events },
    })
}

prop_compose! {
    fn setup()(
        partitions in prop_oneof![2 => Just(1_usize), 3 => 2..=3_usize, 1 => 4..=8_usize],
        workers in 1..=3_usize,
        (retention, of_a) in (retention(), retention()),
        (store_bytes, store_topics) in (prop_oneof![1 => 1_000..4_000_usize, 3 => Just(usize::MAX)], prop_oneof![1 => 1..4_usize, 3 => Just(usize::MAX)]),
        (topic_events_max, cache_bytes, cache_topics) in (bound(1..4), bound(500..3_000), bound(1..4)),
        read_limit in bound(1..4),
        clients in prop::collection::vec(client(), 1..4),
    ) -> Setup {
        let partitions = Partitions::new(partitions).expect("a number of partitions");
        let store = store::Options {
            partitions,
            retention,
            namespaces: vec![("a/".to_owned(), of_a)],
            bytes_max: store_bytes,
            topics_max: store_topics,
            idempotency_age_ms: 0,
            idempotency_keys_max: 0,
        };
        let cache = cache::Options { partitions, topic_events_max, bytes_max: cache_bytes, topics_max: cache_topics };
        let topics = TOPICS.iter().map(|text| Topic::new(text).expect("a topic")).collect();
        Setup { partitions, workers, store, cache, read_limit, topics, clients }
    }
}

fn anew() -> impl Strategy<Value = Anew> {
    prop_oneof![
        2 => Just(Anew::Live),
        3 => Just(Anew::Earliest),
        2 => (1..4_u32).prop_map(Anew::Last),
        1 => Just(Anew::Unknown),
        3 => (0..8_usize).prop_map(Anew::AfterEvent),
        1 => Just(Anew::Ahead),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let (client, worker, topic) = (0..3_usize, 0..3_usize, 0..TOPICS.len());
    prop_oneof![
        10 => (topic.clone(), 1..4_usize).prop_map(|(topic, count)| Op::Publish { topic, count }),
        1 => topic.prop_map(|topic| Op::Clear { topic }),
        2 => (1..20_u64).prop_map(|ms| Op::Clock { ms }),
        6 => (1..6_usize).prop_map(|signals| Op::Bridge { signals }),
        6 => worker.clone().prop_map(|worker| Op::Request { worker }),
        6 => (worker.clone(), 1..6_usize).prop_map(|(worker, count)| Op::Deliver { worker, count }),
        2 => worker.clone().prop_map(|worker| Op::LeaveIdle { worker }),
        3 => (client.clone(), worker.clone(), anew())
            .prop_map(|(client, worker, start)| Op::Connect { client, worker, start }),
        4 => (client.clone(), worker).prop_map(|(client, worker)| Op::Resume { client, worker }),
        1 => client.clone().prop_map(|client| Op::Disconnect { client }),
        10 => (client.clone(), 1..6_usize).prop_map(|(client, count)| Op::Step { client, count }),
        2 => client.clone().prop_map(|client| Op::Heartbeat { client }),
        8 => (client, 1..6_usize).prop_map(|(client, count)| Op::Read { client, count }),
    ]
}

fn cases() -> u32 {
    std::env::var("TOWNCRIER_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(4_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, max_shrink_iters: 50_000, ..ProptestConfig::default() })]

    #[test]
    fn every_session_gets_each_event_once_or_is_told(setup in setup(), ops in prop::collection::vec(op(), 1..80)) {
        let mut bench = Bench::new(setup);
        for op in ops {
            bench.apply(op);
        }
        bench.finish();
    }
}

#[test]
fn dbg1() {
    let partitions = Partitions::ONE;
    let key = |texts: &[&str]| CohortKey { selectors: Selectors::new(texts.iter().copied(), 100).unwrap(), policy: Policy { slow: Slow::Disconnect, lag_bytes: 1, lag_events: 0 } };
    let setup = Setup { partitions, workers: 2, store: store::Options { partitions, retention: Retention { events: 1, age_ms: 1 }, namespaces: vec![("a/".into(), Retention { events: 1, age_ms: 1 })], bytes_max: 1000, topics_max: 1, idempotency_age_ms: 0, idempotency_keys_max: 0 },
        cache: cache::Options { partitions, topic_events_max: 1, bytes_max: 500, topics_max: 1 }, read_limit: 1,
        topics: TOPICS.iter().map(|t| Topic::new(t).unwrap()).collect(), clients: vec![key(&["a", "b/1"]), key(&["a/1"])] };
    use Op::*;
    let mut bench = Bench::new(setup);
    let p = |topic, count| Publish { topic, count };
    for op in [p(0,1), Connect { client: 0, worker: 1, start: Anew::Live }, p(0, 2), Request { worker: 1 }, Connect { client: 2, worker: 2, start: Anew::AfterEvent(1) }, p(0, 1), Request { worker: 2 }, Bridge { signals: 3 }, Deliver { worker: 2, count: 2 }, Step { client: 2, count: 3 }, p(3, 2)] {
        eprintln!("{op:?}");
        bench.apply(op);
    }
    bench.finish();
}
