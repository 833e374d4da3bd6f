//! Workers and clients that do not keep up.

use std::{num::NonZeroU32, sync::mpsc::sync_channel};

use actix_rt::Arbiter;
use towncrier_core::rooms::{Over, Rate, Slow};
use towncrier_wire::Start;

use crate::hub::{Reader, SOON, after, eventually, options, publish, spec, with_hub};

#[test]
fn a_worker_that_does_not_keep_up_makes_its_sessions_resume() {
    let mut options = options();
    options.worker_bytes_max = 1;
    with_hub(options, async |hub, _| {
        let worker = hub.worker();
        let mut reader = Reader::open(&worker, spec(&["news"], Start::Live)).await;
        publish(&hub, "news", 0..1).await;
        reader.take(0..1).await;

        // This thread, which is the worker, stands still while another one publishes.
        let (publisher, busy) = (hub.clone(), Arbiter::new());
        let (done, is_done) = sync_channel(1);
        busy.spawn(async move {
            for number in 1..100 {
                publish(&publisher, "news", number..number + 1).await;
            }
            let _ = done.send(());
        });
        is_done.recv_timeout(SOON).expect("published");

        let mut next = 1;
        let end = loop {
            let block = reader.next().await.expect("a close before the end");
            if block.event == "close" {
                break block;
            }
            assert_eq!(block.data, next.to_string(), "in order, nothing left out");
            next += 1;
        };
        assert_eq!(end.data, r#"{"reason":"resync","reconnect":true}"#);
        assert!(next < 100, "the worker was behind");
        assert!(hub.metrics().drops.total() > 0, "what was not handed over is counted");
        assert_eq!(reader.next().await, None);

        let mut resumed = Reader::open(&worker, spec(&["news"], after(&reader.cursor))).await;
        resumed.take(next..100).await;
        busy.stop();
    });
}

#[test]
fn a_client_that_does_not_read_is_ended_and_resumes() {
    let mut options = options();
    options.policies.fallback.lag_events = 10;
    with_hub(options, async |hub, _| {
        let worker = hub.worker();
        let mut slow = Reader::open(&worker, spec(&["news"], Start::Live)).await;
        let mut fast = Reader::open(&worker, spec(&["news"], Start::Live)).await;
        publish(&hub, "news", 0..1).await;
        slow.take(0..1).await;
        for number in 0..50 {
            if number > 0 {
                publish(&hub, "news", number..number + 1).await;
            }
            fast.take(number..number + 1).await;
        }
        eventually("ended", || match hub.metrics().lagging.get() {
            1 => Ok(()),
            lagging => Err(lagging),
        })
        .await;
        assert_eq!(slow.next().await.expect("a close").data, r#"{"reason":"slow","reconnect":true}"#);
        let mut resumed = Reader::open(&worker, spec(&["news"], after(&slow.cursor))).await;
        resumed.take(1..50).await;
    });
}

#[test]
fn a_conflating_client_gets_the_newest_and_a_gap() {
    let mut options = options();
    options.policies.fallback.lag_events = 10;
    options.policies.fallback.slow = Slow::Conflate;
    with_hub(options, async |hub, _| {
        let worker = hub.worker();
        let mut slow = Reader::open(&worker, spec(&["a", "b", "c"], Start::Live)).await;
        let mut fast = Reader::open(&worker, spec(&["a", "b", "c"], Start::Live)).await;
        for number in 0..20 {
            for topic in ["a", "b"] {
                publish(&hub, topic, number..number + 1).await;
                fast.take(number..number + 1).await;
            }
        }
        publish(&hub, "c", 7..8).await;
        fast.take(7..8).await;

        let gap = slow.next().await.expect("a gap");
        assert_eq!((gap.event.as_str(), gap.data.as_str()), ("gap", r#"{"reason":"dropped","topics":["a","b"]}"#));
        slow.take(19..20).await;
        slow.take(19..20).await;
        slow.take(7..8).await;
        publish(&hub, "a", 20..21).await;
        slow.take(20..21).await;
    });
}

#[test]
fn a_burst_that_its_readers_can_take_makes_nobody_slow() {
    let mut options = options();
    options.policies.fallback.lag_bytes = 400 * 1024;
    with_hub(options, async |hub, _| {
        let worker = hub.worker();
        let mut readers = Vec::new();
        for _ in 0..20 {
            readers.push(Reader::open(&worker, spec(&["news"], Start::Live)).await);
        }
        let reading: Vec<_> = readers
            .into_iter()
            .map(|mut reader| actix_rt::spawn(async move { reader.take(0..20_000).await }))
            .collect();
        // Far more than any outbox may hold, in one go.
        publish(&hub, "news", 0..20_000).await;
        for reader in reading {
            reader.await.expect("it got all");
        }
        assert_eq!(hub.metrics().lagging.get(), 0);
    });
}

#[test]
fn a_session_gets_no_more_events_a_second_than_it_may() {
    let mut options = options();
    let events_per_second = NonZeroU32::new(5).expect("a rate");
    options.policies.fallback.rate = Some(Rate { events_per_second, over: Over::Conflate });
    with_hub(options, async |hub, _| {
        let worker = hub.worker();
        let mut limited = Reader::open(&worker, spec(&["a", "b"], Start::Live)).await;
        publish(&hub, "a", 0..20).await;
        publish(&hub, "b", 7..8).await;
        limited.take(0..5).await;
        let before = limited.cursor.clone();
        // Nothing more is published: it comes by the clock alone.
        let gap = limited.next().await.expect("a gap");
        assert_eq!((gap.event.as_str(), gap.data.as_str()), ("gap", r#"{"reason":"dropped","topics":["a"]}"#));
        limited.take(19..20).await;
        limited.take(7..8).await;
        assert_eq!(hub.metrics().drops.total(), 14);

        let mut resumed = Reader::open(&worker, spec(&["a", "b"], after(&before))).await;
        resumed.take(5..20).await;
        resumed.take(7..8).await;
    });
}
