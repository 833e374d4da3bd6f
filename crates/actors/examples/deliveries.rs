//! Delivers events to sessions of one worker, one after the other and without sockets, to count what a delivery costs in
//! instructions. Build it with `--release`;
//!
//! `valgrind --tool=callgrind --callgrind-out-file=/dev/null deliveries SESSIONS EVENTS` tells the instructions of a whole
//! run; the difference of two runs with other numbers of events, divided by that of their deliveries, is that of one.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use actix::System;
use tokio::sync::Notify;
use towncrier_actors::{Hub, Options, Policies, SessionSpec};
use towncrier_backplane::{Embedded, Ends};
use towncrier_core::{
    rooms::{Policy, Slow},
    store::{self, Retention},
};
use towncrier_telemetry::{Metrics, spans::Tracer};
use towncrier_wire::{NewEvent, Partitions, Selectors, Start, Topic};

fn options() -> Options {
    let fallback = Policy { slow: Slow::Disconnect, lag_bytes: 64 << 20, lag_events: 1_000_000, rate: None };
    Options {
        node: "bench".into(),
        version: "0".into(),
        heartbeat: Duration::from_secs(3600),
        retry: Duration::from_secs(3),
        max_lifetime: Duration::ZERO,
        ends_per_second: 1000,
        end_window: Duration::from_secs(5),
        direct_events_max: 4,
        policies: Policies { fallback, namespaces: Vec::new() },
        counted_namespaces: Vec::new(),
        worker_bytes_max: 64 << 20,
        cache_bytes_max: 64 << 20,
        cache_topic_events_max: 100,
        cache_namespaces: Vec::new(),
        cache_topics_max: 100,
        linger: Duration::from_secs(10),
        publish_bytes_max: 64 << 20,
        publish_timeout: Duration::from_secs(60),
        tracer: Tracer::default(),
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>().expect("a number"));
    let (Some(sessions), Some(events)) = (arguments.next(), arguments.next()) else {
        panic!("deliveries SESSIONS EVENTS");
    };
    System::new().block_on(async {
        let store = store::Options {
            partitions: Partitions::ONE,
            retention: Retention { events: 100, age_ms: 3_600_000 },
            namespaces: Vec::new(),
            bytes_max: 64 << 20,
            topics_max: 100,
            idempotency_age_ms: 1000,
            idempotency_keys_max: 1000,
        };
        let now = || std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis() as u64;
        let (embedded, signals) = Embedded::new(store, 64 << 20, Arc::new(now));
        let metrics = Arc::new(Metrics::new("bench"));
        let hub = Hub::start(options(), Ends::alone(Arc::new(embedded), signals), metrics);
        let worker = hub.worker();
        let topic = Topic::new("news").expect("a topic");
        // How many have taken the event that was published last.
        let (taken, all) = (Rc::new(Cell::new(0)), Rc::new(Notify::new()));
        for _ in 0..sessions {
            let spec = SessionSpec {
                selectors: Selectors::new(["news"], 1).expect("selectors"),
                start: Start::Live,
                user: None,
                remote: None,
                heartbeat_events: false,
                lifetime: None,
                trace: None,
            };
            let mut stream = worker.subscribe(spec);
            std::future::poll_fn(|cx| stream.poll_frames(cx)).await.expect("a first block");
            let (taken, all) = (taken.clone(), all.clone());
            actix_rt::spawn(async move {
                while std::future::poll_fn(|cx| stream.poll_frames(cx)).await.is_some() {
                    taken.set(taken.get() + 1);
                    if taken.get() == sessions {
                        all.notify_one();
                    }
                }
            });
        }
        for _ in 0..events {
            let event = NewEvent {
                topic: topic.clone(),
                event_type: None,
                data: "x".repeat(100).into(),
                idempotency_key: None,
                trace: None,
            };
            taken.set(0);
            let published = hub.publish(vec![event]).await;
            assert!(published.iter().all(Result::is_ok), "{published:?}");
            all.notified().await;
        }
        println!("{} deliveries", sessions * events);
        hub.stop();
    });
}
