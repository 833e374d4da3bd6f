//! Sessions that come back.

use std::sync::atomic::Ordering;

use actix_rt::Arbiter;
use tokio::sync::oneshot;
use towncrier_actors::messages::AskTopic;
use towncrier_wire::{Start, Topic};

use crate::hub::{Reader, after, eventually, options, publish, spec, with_hub};

#[test]
fn many_that_come_back_at_once_read_a_topic_once() {
    with_hub(options(), async |hub, backplane| {
        let worker = hub.worker();
        let start = Reader::open(&worker, spec(&["other"], Start::Live)).await;
        publish(&hub, "news", 0..100).await;
        let reading: Vec<_> = (0..200)
            .map(|_| {
                let (worker, cursor) = (worker.clone(), start.cursor.clone());
                actix_rt::spawn(async move {
                    let mut reader = Reader::open(&worker, spec(&["news"], after(&cursor))).await;
                    reader.take(0..100).await;
                })
            })
            .collect();
        for reader in reading {
            reader.await.expect("it got all");
        }
        assert_eq!(backplane.reads.load(Ordering::SeqCst), 1);
    });
}

/// Each of thousands has a cursor of its own, on one of many topics, and publishing goes on.
#[test]
fn a_storm_of_sessions_costs_the_backplane_few_reads() {
    const TOPICS: usize = 50;
    const EVENTS: u32 = 40;
    const SESSIONS: usize = 5000;
    with_hub(options(), async |hub, backplane| {
        let worker = hub.worker();
        let mut cursors = Vec::new();
        for number in 0..EVENTS {
            for topic in 0..TOPICS {
                publish(&hub, &format!("t/{topic}"), number..number + 1).await;
            }
            let newest = hub.bridge().send(AskTopic(Topic::new(&format!("t/{}", TOPICS - 1)).expect("a topic"))).await;
            cursors.push(newest.expect("asked").expect("answered").expect("known").last_id.to_string());
        }
        // Nobody has followed the topics: it all has to be read.
        let storm: Vec<_> = (0..SESSIONS)
            .map(|session| {
                let (worker, number) = (worker.clone(), fastrand::usize(0..cursors.len()));
                let cursor = cursors[number].clone();
                actix_rt::spawn(async move {
                    let topic = format!("t/{}", session % TOPICS);
                    let mut reader = Reader::open(&worker, spec(&[&topic], after(&cursor))).await;
                    reader.take(number as u32 + 1..EVENTS + 5).await;
                })
            })
            .collect();
        for number in EVENTS..EVENTS + 5 {
            for topic in 0..TOPICS {
                publish(&hub, &format!("t/{topic}"), number..number + 1).await;
            }
        }
        for session in storm {
            session.await.expect("it got all");
        }
        let [reads, floors] = [&backplane.reads, &backplane.floors].map(|count| count.load(Ordering::SeqCst));
        let most = backplane.reading[1].load(Ordering::SeqCst);
        println!("{SESSIONS} sessions: {reads} reads, {most} at a time, {floors} questions for floors");
        // At worst one for each cursor of a topic; fewer, as who waits finds what others have read.
        assert!(reads < TOPICS * EVENTS as usize / 2, "{reads} reads");
        assert!(most <= 16, "{most} at a time");
        assert!(floors < SESSIONS / 5, "{floors} questions for floors");
    });
}

#[test]
fn a_cursor_from_a_faster_worker_is_taken_up() {
    with_hub(options(), async |hub, _| {
        // The other worker follows the topic, and learns of the events in its own time.
        let other = Arbiter::new();
        let (opened, is_open) = oneshot::channel();
        let (send_cursor, cursor) = oneshot::channel::<String>();
        let (done, finished) = oneshot::channel();
        let theirs = hub.clone();
        let there = move || async move {
            let worker = theirs.worker();
            let mut before = Reader::open(&worker, spec(&["news"], Start::Live)).await;
            let _ = opened.send(());
            let cursor = cursor.await.expect("a cursor");
            let mut reader = Reader::open(&worker, spec(&["news"], after(&cursor))).await;
            before.take(0..20).await;
            reader.take(10..20).await;
            let _ = done.send(());
        };
        other.spawn_fn(move || drop(actix_rt::spawn(there())));
        is_open.await.expect("open");

        let worker = hub.worker();
        let mut reader = Reader::open(&worker, spec(&["news"], Start::Live)).await;
        publish(&hub, "news", 0..10).await;
        reader.take(0..10).await;
        send_cursor.send(reader.cursor.clone()).expect("sent");
        publish(&hub, "news", 10..20).await;
        finished.await.expect("the other worker's sessions got all, each once");
        other.stop();
    });
}

#[test]
fn a_topic_that_was_left_and_joined_again_misses_nothing() {
    let mut options = options();
    options.linger = std::time::Duration::ZERO;
    with_hub(options, async |hub, _| {
        let worker = hub.worker();
        let mut reader = Reader::open(&worker, spec(&["news"], Start::Live)).await;
        publish(&hub, "news", 0..5).await;
        reader.take(0..5).await;
        let cursor = reader.cursor.clone();
        drop(reader);
        eventually("left", || match hub.metrics().rooms.get() {
            0 => Ok(()),
            rooms => Err(rooms),
        })
        .await;
        publish(&hub, "news", 5..10).await;
        let mut again = Reader::open(&worker, spec(&["news"], after(&cursor))).await;
        again.take(5..10).await;
        publish(&hub, "news", 10..12).await;
        again.take(10..12).await;
    });
}

#[test]
fn a_long_replay_goes_over_into_live_while_publishing_goes_on() {
    with_hub(options(), async |hub, _| {
        let worker = hub.worker();
        let start = Reader::open(&worker, spec(&["other"], Start::Live)).await;
        publish(&hub, "news", 0..5_000).await;
        let publisher = hub.clone();
        let publishing = actix_rt::spawn(async move {
            for number in 5_000..6_000 {
                publish(&publisher, "news", number..number + 1).await;
            }
        });
        let mut reader = Reader::open(&worker, spec(&["news"], after(&start.cursor))).await;
        reader.take(0..6_000).await;
        publishing.await.expect("published");
    });
}

#[test]
fn topics_that_are_left_and_joined_at_once_stay_followed() {
    let mut options = options();
    options.linger = std::time::Duration::ZERO;
    with_hub(options, async |hub, _| {
        let worker = hub.worker();
        let topics: Vec<_> = (0..100).map(|number| format!("t/{number}")).collect();
        for _ in 0..3 {
            let mut readers = Vec::new();
            for topic in &topics {
                readers.push((topic, Reader::open(&worker, spec(&[topic], Start::Live)).await));
            }
            for (topic, reader) in &mut readers {
                publish(&hub, topic, 0..1).await;
                reader.take(0..1).await;
            }
            drop(readers);
            // The linger is over at a full second: some topics are being left while others are joined again.
            let left = |rooms| if rooms < 100 { Ok(()) } else { Err(rooms) };
            eventually("left", || left(hub.metrics().rooms.get())).await;
        }
    });
}
