//! Many sessions, many events.

use std::thread;

use towncrier_e2e::{Hub, Subscriber, json};

const SESSIONS: usize = 200;
const EVENTS: usize = 500;
const TOPICS: [&str; 3] = ["fan/a", "fan/b", "fan/c"];

#[test]
fn everyone_gets_everything_once_and_in_order() {
    let hub = Hub::with("history.events", "1000").set("session.outbox_bytes", "16MiB").start();
    // Half of them share their selectors, the others see the same events through a pattern.
    let sessions: Vec<_> = (0..SESSIONS)
        .map(|number| if number % 2 == 0 { hub.subscribe(&TOPICS) } else { hub.subscribe(&["fan/*"]) })
        .collect();

    thread::scope(|scope| {
        let readers: Vec<_> = sessions.into_iter().map(|session| scope.spawn(move || read(session))).collect();
        for start in (0..EVENTS).step_by(20) {
            let batch: Vec<_> = (start..start + 20)
                .flat_map(|number| TOPICS.map(|topic| json!({"topic": topic, "data": format!("{topic} {number:03}")})))
                .collect();
            hub.post("/admin/v1/publish/batch", &batch.into()).ok();
        }
        for reader in readers {
            reader.join().expect("a session that got everything");
        }
    });
}

/// Reads one session to the end of the story.
fn read(mut session: Subscriber) {
    let mut got = session.data(EVENTS * TOPICS.len());
    // Topics may interleave as their partitions do; each keeps its order.
    got.sort_by_key(|data| data[..5].to_owned());
    let expected: Vec<_> =
        TOPICS.iter().flat_map(|topic| (0..EVENTS).map(move |number| format!("{topic} {number:03}"))).collect();
    assert!(got == expected, "{} got something else: {got:?}", session.session);
}
