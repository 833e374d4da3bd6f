//! What one stream gives.

use std::{sync::atomic::Ordering, time::Duration};

use towncrier_actors::{ListSessions, Who};
use towncrier_wire::{Name, Start, sse};

use crate::hub::{Reader, eventually, options, publish, spec, with_hub};

#[test]
fn a_stream_that_is_dropped_leaves_nothing_behind() {
    with_hub(options(), async |hub, _| {
        let worker = hub.worker();
        let reader = Reader::open(&worker, spec(&["news"], Start::Live)).await;
        drop(reader);
        eventually("unregistered", || match hub.metrics().registry_sessions.get() {
            0 => Ok(()),
            sessions => Err(sessions),
        })
        .await;
        eventually("no cohort", || match hub.metrics().cohorts.get() {
            0 => Ok(()),
            cohorts => Err(cohorts),
        })
        .await;
    });
}

#[test]
fn direct_events_beyond_the_queue_are_refused_and_told() {
    with_hub(options(), async |hub, _| {
        let worker = hub.worker();
        let mut anna = spec(&["news"], Start::Live);
        anna.user = Some(Name::new("anna").expect("name"));
        let mut reader = Reader::open(&worker, anna).await;
        let who = Who::User(Name::new("anna").expect("name"));
        let mut taken = 0;
        for number in 0..6 {
            let frame = sse::direct(None, &number.to_string());
            taken += hub.send_direct(who.clone(), frame).await.expect("sent").value.expect("known");
        }
        assert_eq!(taken, 4);
        reader.take(0..4).await;
        let gap = reader.next().await.expect("a gap");
        assert_eq!((gap.event.as_str(), gap.data.as_str()), ("gap", r#"{"reason":"dropped"}"#));
        assert_eq!(hub.metrics().drops.total(), 2);
    });
}

#[test]
fn a_session_that_is_ended_for_good_gets_what_was_delivered_and_is_told() {
    with_hub(options(), async |hub, _| {
        let worker = hub.worker();
        let mut reader = Reader::open(&worker, spec(&["news"], Start::Live)).await;
        publish(&hub, "news", 0..1).await;
        reader.take(0..1).await;
        let list = ListSessions { limit: 10, ..ListSessions::default() };
        let sessions = hub.sessions(list).await.expect("listed").value.items;
        let ended = hub.disconnect(Who::Session(sessions[0].id.clone())).await.expect("ended");
        assert_eq!(ended.value, Some(1));
        let close = reader.next().await.expect("a close");
        assert_eq!(close.data, r#"{"reason":"disconnected","reconnect":false}"#);
        assert_eq!(reader.cursor, "closed");
        assert_eq!(reader.next().await, None);
    });
}

#[test]
fn streams_have_an_age() {
    let mut options = options();
    options.max_lifetime = Duration::from_millis(400);
    with_hub(options, async |hub, _| {
        let mut reader = Reader::open(&hub.worker(), spec(&["news"], Start::Live)).await;
        let close = reader.next().await.expect("a close");
        assert_eq!(close.data, r#"{"reason":"max_lifetime","reconnect":true}"#);
    });
}

#[test]
fn heartbeats_of_sessions_that_came_at_once_are_spread() {
    let mut options = options();
    options.heartbeat = Duration::from_secs(2);
    with_hub(options, async |hub, _| {
        let worker = hub.worker();
        let mut readers = Vec::new();
        for _ in 0..40 {
            readers.push(Reader::open(&worker, spec(&["news"], Start::Live)).await);
        }
        publish(&hub, "news", 0..1).await;
        for reader in &mut readers {
            reader.take(0..1).await;
        }
        let began = std::time::Instant::now();
        let beating = readers.into_iter().map(|mut reader| {
            actix_rt::spawn(async move {
                let beat = std::future::poll_fn(|cx| reader.stream.poll_frames(cx)).await.expect("a heartbeat");
                assert!(beat.starts_with(b": ping\nid: "), "{beat:?}");
                began.elapsed().as_millis() / 100
            })
        });
        let mut ticks = std::collections::HashSet::new();
        for beat in beating.collect::<Vec<_>>() {
            ticks.insert(beat.await.expect("it beats"));
        }
        assert!(ticks.len() >= 3, "40 sessions beat at {ticks:?} tenths of a second");
    });
}

#[test]
fn the_first_block_is_first_whatever_is_sent_meanwhile() {
    with_hub(options(), async |hub, _| {
        let worker = hub.worker();
        let mut opening: Vec<_> = (0..20).map(|_| worker.subscribe(spec(&["news"], Start::Live))).collect();
        hub.send_direct(Who::Everyone, sse::direct(None, "early")).await.expect("sent");
        for stream in &mut opening {
            let first = std::future::poll_fn(|cx| stream.poll_frames(cx)).await.expect("frames");
            assert!(first.starts_with(b"retry: "), "{first:?}");
        }
    });
}

#[test]
fn a_refusal_of_direct_events_is_told_before_the_next() {
    with_hub(options(), async |hub, _| {
        let mut reader = Reader::open(&hub.worker(), spec(&["news"], Start::Live)).await;
        let send = async |number: u32| {
            let frame = sse::direct(None, &number.to_string());
            hub.send_direct(Who::Everyone, frame).await.expect("sent")
        };
        for number in 0..5 {
            send(number).await;
        }
        // All that waited leaves in one piece, as to a socket that takes no more for now.
        let frames = std::future::poll_fn(|cx| reader.stream.poll_frames(cx)).await.expect("frames");
        assert!(frames.ends_with(b"data: 3\n\n"), "{frames:?}");
        send(5).await;
        assert_eq!(reader.next().await.expect("a gap").event, "gap");
        reader.take(5..6).await;
    });
}

#[test]
fn a_stream_ends_when_its_token_expires() {
    let mut options = options();
    options.max_lifetime = Duration::from_secs(60);
    with_hub(options, async |hub, _| {
        let mut short = spec(&["news"], Start::Live);
        short.lifetime = Some(Duration::from_millis(400));
        let mut stays = Reader::open(&hub.worker(), spec(&["news"], Start::Live)).await;
        let mut ends = Reader::open(&hub.worker(), short).await;
        publish(&hub, "news", 0..1).await;
        ends.take(0..1).await;
        let close = ends.next().await.expect("a close");
        assert_eq!(close.data, r#"{"reason":"token_expired","reconnect":true}"#);
        assert_eq!(ends.next().await, None);
        stays.take(0..1).await;
    });
}

#[test]
fn what_the_backplane_counts_shows_among_the_metrics() {
    with_hub(options(), async |hub, backplane| {
        for healed in [3, 5] {
            backplane.healed.store(healed, Ordering::SeqCst);
            eventually("counted", || match hub.metrics().backplane_healed_events.get() {
                counted if counted == healed as u64 => Ok(()),
                counted => Err(counted),
            })
            .await;
        }
        assert_eq!(hub.metrics().backplane_losses.get(), 0);
    });
}
