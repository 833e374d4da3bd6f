//! The hand-over from replay to live, under any interleaving.
//!
//! A whole hub is driven step by step: publishes, trims, joins, lagging workers, broken connections, resumes with the last
//! `id:` that a client really read, slow readers. Every client judges what it reads: each event of its selectors after its
//! start comes once, in the order of its partition, or a gap said before that it would not; and a gap is told only where
//! something was lost. `TOWNCRIER_CASES` sets how many cases run.
//!
//! A test that cannot fail is worth nothing, so these mistakes were made in the sources, one at a time, to see it fail. In
//! the hand-over: heads of an attach one too old or too new; replay up to the heads without the last; beginning before all
//! joins are answered; taking the answer to an earlier join for one's own; no closing read; a detached session that goes
//! live; a cursor ahead of everything taken as it is, or refused at once; a partition that the cursor lacks read from the
//! start; losses told twice, never again, or to sessions that started after them. In pages: the floor ignored, or raised
//! over what is retained; a cut read overtaken, or taken for the last; a loss unsaid, made up, or off by one. In the outbox
//! and the rooms: no seal on attach or before conflated events; a batch's readers one too few or too many; no dedupe stamp;
//! frames or replays whose cursor moves only its own partition; checkpoints for members that lack something; a conflated
//! member's cursor at its end, or its dropped topics off by one. In the cache: rings kept though unfollowed, events of what
//! is not followed taken in, stale answers taken in, what was let go of not remembered.
//!
//! Four more cannot be reached from here at all, or too rarely, and fail `ring.rs`, `cache.rs`, `rooms.rs` and `replay.rs`:
//! a ring that does not see a hole, a selector left while an answer is under way, an event delivered twice, and a cursor
//! that goes up to the floor although more pages come.

mod bench;

use std::num::NonZeroU32;

use bench::{Anew, Bench, Op, Setup};
use proptest::{prelude::*, sample::select};
use towncrier_core::{
    cache,
    rooms::{CohortKey, Over, Policy, Rate, Slow},
    store::{self, Retention},
};
use towncrier_wire::{Partitions, Selectors, Topic};

const TOPICS: [&str; 4] = ["a", "a/1", "a/2", "b/1"];

const SELECTORS: [&[&str]; 9] = [
    &["a/1"],
    &["a/1"],
    &["a/1", "b/1"],
    &["a/*"],
    &["**"],
    &["a/**", "a/1"],
    &["*/1", "a"],
    &["a", "b/1"],
    &["a/2", "a/*"],
];

/// Small more often than not, so that the bound is met; else none.
fn bound(small: std::ops::Range<usize>) -> impl Strategy<Value = usize> {
    prop_oneof![2 => small, 1 => Just(usize::MAX)]
}

fn retention() -> impl Strategy<Value = Retention> {
    (bound(1..5), prop_oneof![1 => 1..30_u64, 2 => Just(u64::MAX)])
        .prop_map(|(events, age_ms)| Retention { events, age_ms })
}

fn client() -> impl Strategy<Value = CohortKey> {
    let slow = prop_oneof![Just(Slow::Disconnect), Just(Slow::Conflate)];
    let over = prop_oneof![Just(Over::Drop), Just(Over::Conflate)];
    let rate = (1..4_u32, over)
        .prop_map(|(events, over)| Rate { events_per_second: NonZeroU32::new(events).expect("some"), over });
    let policy = (slow, bound(1..500), bound(0..5), proptest::option::weighted(0.3, rate));
    (select(&SELECTORS[..]), policy).prop_map(|(texts, (slow, lag_bytes, lag_events, rate))| CohortKey {
        selectors: Selectors::new(texts.iter().copied(), 100).expect("selectors"),
        policy: Policy { slow, lag_bytes, lag_events, rate },
    })
}

prop_compose! {
    fn setup()(
        partitions in prop_oneof![2 => Just(1_usize), 3 => 2..=3_usize, 1 => 4..=8_usize],
        workers in 1..=3_usize,
        (retention, of_a) in (retention(), retention()),
        store_bytes in prop_oneof![1 => 1_000..4_000_usize, 2 => Just(usize::MAX)],
        store_topics in prop_oneof![1 => 1..4_usize, 1 => Just(usize::MAX)],
        (topic_events_max, cache_bytes, cache_topics) in (bound(1..4), bound(500..3_000), bound(1..4)),
        read_limit in bound(1..4),
        clients in clients(),
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
        let cache = cache::Options {
            partitions,
            topic_events_max,
            namespaces: Vec::new(),
            bytes_max: cache_bytes,
            topics_max: cache_topics,
        };
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
        1 => (0..8_usize).prop_map(Anew::AfterEventAlone),
        1 => Just(Anew::Ahead),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let (client, worker, topic) = (0..3_usize, 0..3_usize, 0..TOPICS.len());
    let some = || prop_oneof![3 => 1..4_usize, 1 => Just(50)];
    prop_oneof![
        12 => (topic.clone(), 1..4_usize).prop_map(|(topic, count)| Op::Publish { topic, count }),
        2 => topic.prop_map(|topic| Op::Clear { topic }),
        1 => Just(Op::Announce),
        2 => (1..20_u64).prop_map(|ms| Op::Clock { ms }),
        6 => some().prop_map(|signals| Op::Bridge { signals }),
        6 => (worker.clone(), 1..4_usize).prop_map(|(worker, count)| Op::Request { worker, count }),
        6 => (worker.clone(), some()).prop_map(|(worker, count)| Op::Deliver { worker, count }),
        5 => worker.clone().prop_map(|worker| Op::Seal { worker }),
        3 => (worker.clone(), 0..1_500_u64).prop_map(|(worker, ms)| Op::Tick { worker, ms }),
        5 => worker.clone().prop_map(|worker| Op::Flow { worker }),
        1 => worker.clone().prop_map(|worker| Op::Behind { worker }),
        3 => worker.clone().prop_map(|worker| Op::LeaveIdle { worker }),
        3 => (client.clone(), worker.clone(), anew())
            .prop_map(|(client, worker, start)| Op::Connect { client, worker, start }),
        4 => (client.clone(), worker).prop_map(|(client, worker)| Op::Resume { client, worker }),
        2 => client.clone().prop_map(|client| Op::Disconnect { client }),
        12 => (client.clone(), some()).prop_map(|(client, count)| Op::Step { client, count }),
        2 => client.clone().prop_map(|client| Op::Heartbeat { client }),
        8 => (client, some()).prop_map(|(client, count)| Op::Read { client, count }),
    ]
}

/// Clients of one kind more often than not, so that they share a cohort.
fn clients() -> impl Strategy<Value = Vec<CohortKey>> {
    prop::collection::vec((client(), prop::bool::weighted(0.6)), 1..4).prop_map(|clients| {
        let first = clients[0].0.clone();
        clients.into_iter().map(|(own, alike)| if alike { first.clone() } else { own }).collect()
    })
}

fn cases() -> u32 {
    std::env::var("TOWNCRIER_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(8_000)
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
