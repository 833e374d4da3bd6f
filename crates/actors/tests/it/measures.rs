//! What a hub measures of itself is what happened.

use std::{future::poll_fn, time::Duration};

use tokio::time::sleep;
use towncrier_actors::{Hub, SessionSpec};
use towncrier_telemetry::{Actor, Operation, ReplaySource};
use towncrier_wire::Start;

use crate::hub::{Reader, SOON, after, eventually, options, publish, spec, with_hub};

/// Longer than a worker's tick.
const WHILE: Duration = Duration::from_millis(300);

/// Longer than what is done meanwhile.
const LONG: Duration = Duration::from_secs(2);

fn holds(what: bool, seen: impl std::fmt::Debug) -> Result<(), String> {
    if what { Ok(()) } else { Err(format!("{seen:?}")) }
}

#[test]
fn latency_is_from_the_publish_to_the_write() {
    with_hub(options(), async |hub, _| {
        let mut reader = Reader::open(&hub.worker(), spec(&["news"], Start::Live)).await;
        let metrics = hub.metrics();
        publish(&hub, "news", 0..1).await;
        // It lies in the outbox meanwhile, as its client does not read.
        sleep(WHILE).await;
        assert_eq!(metrics.delivery_seconds.count(), 0, "nothing was written yet");
        reader.take(0..1).await;
        eventually("measured", || {
            let (delivery, age) = (&metrics.delivery_seconds, &metrics.event_age_seconds);
            let long = WHILE.as_secs_f64()..SOON.as_secs_f64();
            let counted = delivery.count() == 1 && age.count() == 1;
            holds(counted && long.contains(&delivery.sum()) && long.contains(&age.sum()), (delivery, age))
        })
        .await;
        eventually("fanned out", || holds(metrics.fanout_seconds.count() == 1, &metrics.fanout_seconds)).await;
        let publishes = metrics.backplane_seconds.of(Operation::Publish);
        assert_eq!((publishes.count(), metrics.backplane_seconds.of(Operation::Join).count()), (1, 1));
    });
}

#[test]
fn of_many_writes_few_are_samples() {
    with_hub(options(), async |hub, _| {
        let mut reader = Reader::open(&hub.worker(), spec(&["news"], Start::Live)).await;
        for number in 0..500 {
            publish(&hub, "news", number..number + 1).await;
            reader.take(number..number + 1).await;
        }
        let metrics = hub.metrics();
        eventually("counted", || holds(metrics.deliveries.get() == 500, &metrics.deliveries)).await;
        // One in 61, and one for each tick, of which there are ten a second.
        let samples = metrics.delivery_seconds.count();
        assert!((8..250).contains(&samples), "{samples} samples");
    });
}

#[test]
fn who_leaves_something_unread_is_seen_lagging() {
    with_hub(options(), async |hub, _| {
        let worker = hub.worker();
        let mut slow = Reader::open(&worker, spec(&["news"], Start::Live)).await;
        let mut quick = Reader::open(&worker, spec(&["news"], Start::Live)).await;
        publish(&hub, "news", 0..3).await;
        quick.take(0..3).await;
        let metrics = hub.metrics();
        let seen = || {
            let worst = metrics.worker_outbox_bytes_max(0).get();
            (metrics.sessions_lagging.get(), metrics.outbox_bytes.get(), worst)
        };
        eventually("behind", || holds(seen().1 > 0 && seen().2 == seen().1, seen())).await;
        eventually("lagging", || holds(seen().0 == 1 && seen().1 > 0, seen())).await;
        slow.take(0..3).await;
        eventually("caught up", || holds(seen() == (0, 0, 0), seen())).await;
    });
}

#[test]
fn a_replay_is_counted_once_with_its_size_and_source() {
    with_hub(options(), async |hub, _| {
        let worker = hub.worker();
        let mut first = Reader::open(&worker, spec(&["news"], Start::Live)).await;
        let beginning = first.cursor.clone();
        publish(&hub, "news", 0..1200).await;
        first.take(0..1200).await;
        let metrics = hub.metrics();
        // What came while somebody listened lies in this node's ring. It is more than a page.
        let mut again = Reader::open(&worker, spec(&["news"], after(&beginning))).await;
        again.take(0..1200).await;
        let ring = (metrics.replay_events.of(ReplaySource::Ring), metrics.replay_seconds.of(ReplaySource::Ring));
        eventually("counted", || holds(ring.0.count() == 1 && ring.0.sum() == 1200.0 && ring.1.count() == 1, ring))
            .await;

        publish(&hub, "quiet", 0..7).await;
        let mut late = Reader::open(&worker, spec(&["quiet"], after("1-0"))).await;
        // The first block told of a gap: nobody knows what the cursor is of.
        while late.cursor.is_empty() {
            late.next().await.expect("a block");
        }
        let source = metrics.replay_events.of(ReplaySource::Backplane);
        eventually("read of the backplane", || holds(source.count() == 1, source)).await;
        assert_eq!(metrics.replays.total(), 2);
        assert!(metrics.backplane_seconds.of(Operation::Read).count() >= 1);
    });
}

#[test]
fn all_bytes_are_counted_once() {
    with_hub(options(), async |hub, _| {
        publish(&hub, "news", 0..5).await;
        let mut bytes = 0;
        let spec = SessionSpec { heartbeat_events: true, ..spec(&["news"], Start::Last(5)) };
        let mut stream = hub.worker().subscribe(spec);
        let mut text = String::new();
        let mut published = false;
        while !text.contains("data: 9\n") {
            let frames = poll_fn(|cx| stream.poll_frames(cx)).await.expect("it goes on");
            bytes += frames.len() as u64;
            text.push_str(std::str::from_utf8(&frames).expect("whole frames"));
            if text.contains("data: 4\n") && !std::mem::replace(&mut published, true) {
                publish(&hub, "news", 5..10).await;
            }
        }
        let delivered = &hub.metrics().delivered_bytes;
        eventually("all bytes", || holds(delivered.get() == bytes, (delivered.get(), bytes))).await;
        hub.end_sessions();
        while let Some(frames) = poll_fn(|cx| stream.poll_frames(cx)).await {
            bytes += frames.len() as u64;
        }
        eventually("those of the end too", || holds(delivered.get() == bytes, (delivered.get(), bytes))).await;
    });
}

#[test]
fn namespaces_that_want_it_are_counted_by_themselves() {
    let options = towncrier_actors::Options { counted_namespaces: vec!["orders/".into()], ..options() };
    with_hub(options, async |hub, _| {
        let worker = hub.worker();
        let mut readers = Vec::new();
        for _ in 0..3 {
            readers.push(Reader::open(&worker, spec(&["orders/**", "news"], Start::Live)).await);
        }
        publish(&hub, "orders/1", 0..4).await;
        publish(&hub, "news", 4..6).await;
        for reader in &mut readers {
            reader.take(0..6).await;
        }
        let [orders] = hub.namespaces().all() else { panic!("one namespace") };
        eventually("counted", || holds(orders.deliveries.get() == 12, orders)).await;
        assert_eq!(hub.metrics().deliveries.get(), 18);
        assert!(orders.delivered_bytes.get() > 12 * 8, "{orders:?}");
        assert!(orders.delivered_bytes.get() < hub.metrics().delivered_bytes.get());
    });
}

#[test]
fn mail_that_waits_is_seen_and_a_late_tick_too() {
    with_hub(options(), async |hub, _| {
        let metrics = hub.metrics().clone();
        let waiting = |actor| metrics.mailbox_messages.of(actor).get();
        hub.block("registry", LONG);
        let _reader = Reader::open(&hub.worker(), spec(&["news"], Start::Live)).await;
        assert!(waiting(Actor::Registry) >= 1, "it was told of the session");
        eventually("taken up", || holds(waiting(Actor::Registry) == 0, waiting(Actor::Registry))).await;
        let others = || [Actor::Session, Actor::Bridge, Actor::History].map(waiting);
        eventually("none elsewhere", || holds(others() == [0, 0, 0], others())).await;

        let delay = &metrics.worker_delay_seconds;
        let before = delay.sum();
        // This thread is the worker.
        std::thread::sleep(WHILE);
        let late = WHILE.as_secs_f64() / 2.0;
        eventually("late", || holds(delay.sum() - before > late, delay.sum())).await;
    });
}

#[test]
fn mail_of_an_actor_that_has_ended_does_not_wait() {
    with_hub(options(), async |hub: Hub, _| {
        hub.block("history", LONG);
        hub.panic("history");
        for _ in 0..5 {
            hub.block("history", Duration::ZERO);
        }
        let waiting = || hub.metrics().mailbox_messages.of(Actor::History).get();
        assert!(waiting() >= 5, "{}", waiting());
        hub.failed().await;
        eventually("gone", || holds(waiting() == 0, waiting())).await;
    });
}
