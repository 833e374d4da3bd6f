//! The watchdog, by hubs in processes of their own, parts of which are made to stand still from inside.
//!
//! Each test runs this binary once more for itself alone, and that process becomes the hub: see [`process`].

mod process;

use std::{thread::sleep, time::Duration};

use self::process::{Answer, Hub, eventually};

/// The shortest that can be set, and room to see it before an exit.
const STALLED: &str = "2s";

const BLOCKED: Duration = Duration::from_secs(8);

#[test]
fn a_worker_that_stands_still_turns_health_red_until_it_goes_on() {
    let hub = Hub::start("a_worker_that_stands_still_turns_health_red_until_it_goes_on", STALLED, "0s");
    hub.block("worker", BLOCKED);
    // The connections of the one that stands still hang; the other answers.
    let problem = eventually("red", || match hub.get("/health") {
        Answer::Got(503, body) => Ok(body),
        other => Err(other),
    });
    assert!(problem.contains("application/problem+json") && problem.contains("worker "), "{problem}");
    assert!(problem.contains("stands still"), "{problem}");
    let ready = eventually("an answer", || match hub.get("/ready") {
        Answer::Got(status, body) => Ok((status, body)),
        other => Err(other),
    });
    assert_eq!(ready.0, 503, "{ready:?}");

    eventually("green on both workers", || {
        let answers: Vec<_> = (0..6).map(|_| hub.get("/health")).collect();
        if answers.iter().all(|answer| matches!(answer, Answer::Got(200, _))) { Ok(()) } else { Err(answers) }
    });
    assert_eq!(hub.metric(r#"towncrier_stalls_total{part="worker"}"#), 1.0);
    assert_eq!(hub.metric(r#"towncrier_stalled{part="worker"}"#), 0.0);
    eventually("a tick that came late", || {
        let late = hub.metric("towncrier_worker_delay_seconds_count")
            - hub.metric(r#"towncrier_worker_delay_seconds_bucket{le="3.2768"}"#);
        if late >= 1.0 { Ok(()) } else { Err(late) }
    });
    hub.has_logged("stands still");
    hub.has_logged("stood still and goes on");
}

#[test]
fn a_bridge_that_stands_still_is_named_and_streams_go_on_after_it() {
    let hub = Hub::start("a_bridge_that_stands_still_is_named_and_streams_go_on_after_it", STALLED, "0s");
    let mut stream = hub.subscribe("news");
    hub.block("bridge", BLOCKED);
    let problem = eventually("red", || match hub.get("/health") {
        Answer::Got(503, body) => Ok(body),
        other => Err(other),
    });
    assert!(problem.contains("the bridge stands still"), "{problem}");
    // Nobody takes it up, and whoever published it has gone.
    assert!(matches!(hub.try_to_publish("news", "meanwhile"), Answer::Nothing(_)));
    let waiting = hub.metric(r#"towncrier_mailbox_messages{actor="bridge"}"#);
    assert!(waiting >= 1.0, "{waiting} messages wait for the bridge");
    eventually("green", || match hub.get("/health") {
        Answer::Got(200, _) => Ok(()),
        other => Err(other),
    });
    hub.publish("news", "after");
    stream.wait_for("data: after");
    assert_eq!(hub.metric(r#"towncrier_stalls_total{part="bridge"}"#), 1.0);
    assert_eq!(hub.metric(r#"towncrier_stalls_total{part="worker"}"#), 0.0);
}

#[test]
fn so_is_the_thread_of_signals_and_of_redis() {
    let hub = Hub::start("so_is_the_thread_of_signals_and_of_redis", STALLED, "0s");
    hub.block("main", BLOCKED);
    let problem = eventually("red", || match hub.get("/health") {
        Answer::Got(503, body) => Ok(body),
        other => Err(other),
    });
    assert!(problem.contains("the main thread stands still"), "{problem}");
    eventually("green", || match hub.get("/health") {
        Answer::Got(200, _) => Ok(()),
        other => Err(other),
    });
}

#[test]
fn what_does_not_come_back_ends_the_process() {
    let mut hub = Hub::start("what_does_not_come_back_ends_the_process", STALLED, "3s");
    hub.block("history", Duration::from_secs(60));
    assert_eq!(hub.wait_for_exit(), Some(70));
    hub.has_logged("the history stands still, the process ends");
}

#[test]
fn even_if_nobody_takes_the_log() {
    let mut hub = Hub::start("even_if_nobody_takes_the_log", STALLED, "3s");
    hub.block("log", Duration::from_secs(60));
    hub.block("history", Duration::from_secs(60));
    assert_eq!(hub.wait_for_exit(), Some(70));
}

#[test]
fn a_process_that_stood_still_as_a_whole_goes_on_with_its_streams() {
    let hub = Hub::start("a_process_that_stood_still_as_a_whole_goes_on_with_its_streams", STALLED, "3s");
    let mut stream = hub.subscribe("news");
    hub.stand_still(Duration::from_secs(6));
    hub.publish("news", "after");
    stream.wait_for("data: after");
    // Had it been taken for a stall, it would be over by now.
    sleep(Duration::from_secs(2));
    assert!(matches!(hub.get("/health"), Answer::Got(200, _)), "{:?}", hub.get("/health"));
    for part in ["worker", "bridge", "history", "registry", "cluster", "main"] {
        assert_eq!(hub.metric(&format!("towncrier_stalls_total{{part=\"{part}\"}}")), 0.0, "{part}");
    }
}
