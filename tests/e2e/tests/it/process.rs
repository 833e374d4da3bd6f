//! The process: its configuration, its logs, its end.

use std::time::{Duration, Instant};

use towncrier_e2e::{Builder, Hub, SOON, Signal, Towncrier, Value};

#[test]
fn a_good_configuration_is_good() {
    let checked = Towncrier::new(&["check-config"]).set("session.heartbeat", "10s").set("history.bytes", "64MiB").run();
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

#[test]
fn every_error_is_told_at_once_by_its_name() {
    let checked = Towncrier::new(&["check-config"])
        .set("session.heartbeat", "soon")
        .set("session.slow", "sulk")
        .set("history.events", "-1")
        .set("history.bytes", "lots")
        .set("http.listen", "nowhere")
        .set("http.nonsense", "1")
        .set("nonsense.at_all", "1")
        .run();

    assert_ne!(checked.code, Some(0), "{checked:?}");
    let told = checked.stderr + &checked.stdout;
    for key in [
        "session.heartbeat",
        "session.slow",
        "history.events",
        "history.bytes",
        "http.listen",
        "http.nonsense",
        "nonsense",
    ] {
        assert!(told.contains(key), "{key} is not named in:\n{told}");
    }
    assert!(!told.contains("panicked"), "{told}");
}

#[test]
fn numbers_out_of_range_are_refused() {
    for (key, value) in [
        ("backplane.partitions", "0"),
        ("backplane.partitions", "9"),
        ("session.heartbeat", "0s"),
        ("history.events", "0"),
        ("backplane.kind", "carrier-pigeon"),
        ("auth.mode", "maybe"),
    ] {
        let checked = Towncrier::new(&["check-config"]).set(key, value).run();
        assert_ne!(checked.code, Some(0), "{key} = {value}");
        assert!((checked.stderr + &checked.stdout).contains(key), "{key} = {value}");
    }
}

#[test]
fn a_file_is_read_by_its_name_or_where_it_is_looked_for() {
    let file = "[session]\nheartbeat = \"soon\"\n[http]\nnonsense = 1\n";
    let given = Towncrier::new(&["check-config", "--config", "own.toml"]).file("own.toml", file).run();
    let found = Towncrier::new(&["check-config"]).file("configs/towncrier.toml", file).run();
    let missing = Towncrier::new(&["check-config", "--config", "missing.toml"]).run();

    for checked in [given, found] {
        assert_ne!(checked.code, Some(0), "{checked:?}");
        let told = checked.stderr + &checked.stdout;
        assert!(told.contains("session.heartbeat") && told.contains("http.nonsense"), "{told}");
    }
    assert_ne!(missing.code, Some(0));
    assert!((missing.stderr + &missing.stdout).contains("missing.toml"));
}

#[test]
fn the_environment_wins_over_a_file() {
    let check = || {
        Towncrier::new(&["check-config", "--config", "own.toml"])
            .file("own.toml", "[http]\nlisten = \"0.0.0.0:9000\"\n")
    };

    let by_file = check().run();
    let by_environment = check().set("http.listen", "127.0.0.1:9000").run();

    assert_ne!(by_file.code, Some(0), "{by_file:?}");
    assert_eq!(by_environment.code, Some(0), "{by_environment:?}");
}

#[test]
fn a_hub_with_a_bad_configuration_does_not_start() {
    let refused = Towncrier::new(&["serve"]).set("session.hartbeat", "10s").run();
    assert!(matches!(refused.code, Some(1..)), "{refused:?}");
    assert!((refused.stderr + &refused.stdout).contains("session.hartbeat"));
}

#[test]
fn an_open_hub_stays_off_the_network_unless_told_otherwise() {
    for address in ["0.0.0.0:18080", "[::]:18080"] {
        let refused = Towncrier::new(&["serve"]).set("http.listen", address).run();
        assert!(matches!(refused.code, Some(1..)), "{refused:?}");
        let told = refused.stderr + &refused.stdout;
        assert!(told.contains("auth.open_to_network"), "what to do is not told:\n{told}");
    }
    let allowed =
        Towncrier::new(&["check-config"]).set("http.listen", "0.0.0.0:18080").set("auth.open_to_network", "true").run();
    assert_eq!(allowed.code, Some(0), "{allowed:?}");
}

#[test]
fn a_port_that_is_taken_is_a_plain_error() {
    let hub = Hub::start();
    let second = Towncrier::new(&["serve"]).set("http.listen", &hub.addr().to_string()).run();
    assert!(matches!(second.code, Some(1..)), "{second:?}");
    let told = second.stderr + &second.stdout;
    assert!(told.contains(&hub.addr().to_string()) && !told.contains("panicked"), "{told}");
}

#[test]
fn serve_is_what_it_does_without_a_command() {
    let hub = Builder::default().arguments(&[]).start();
    let mut session = hub.subscribe(&["news"]);
    hub.publish("news", "hello");
    assert_eq!(session.event().data, "hello");
}

#[test]
fn help_names_the_commands_and_nonsense_is_refused() {
    let help = Towncrier::new(&["--help"]).run();
    assert_eq!(help.code, Some(0), "{help:?}");
    for command in ["serve", "publish", "subscribe", "check-config", "loadtest"] {
        assert!(help.stdout.contains(command), "{}", help.stdout);
    }
    assert_eq!(Towncrier::new(&["--version"]).run().stdout.trim(), format!("towncrier {}", env!("CARGO_PKG_VERSION")));
    assert_eq!(Towncrier::new(&["nonsense"]).run().code, Some(2));
}

#[test]
fn sigterm_ends_every_stream_cleanly() {
    ends_cleanly(Signal::TERM);
}

#[test]
fn so_does_sigint() {
    ends_cleanly(Signal::INT);
}

#[track_caller]
fn ends_cleanly(signal: Signal) {
    let mut hub = Hub::with("shutdown.timeout", "5s").start();
    let mut sessions: Vec<_> = (0..30).map(|_| hub.subscribe(&["news"])).collect();
    hub.publish("news", "the last");
    let signalled = Instant::now();

    hub.signal(signal);

    for session in &mut sessions {
        assert_eq!(session.event().data, "the last");
        assert_eq!(session.closed("shutdown").json()["reconnect"], true);
    }
    let status = hub.wait_exit(Duration::from_secs(10));
    assert_eq!(status.code(), Some(0), "{}", hub.log());
    assert!(signalled.elapsed() < Duration::from_secs(10), "{:?}", signalled.elapsed());
}

#[test]
fn a_client_that_reads_nothing_cannot_hold_up_the_end() {
    let mut hub =
        Hub::with("shutdown.timeout", "2s").set("http.send_buffer", "16KiB").set("http.body_bytes", "16MiB").start();
    let _stalled = hub.subscription(&["news"]).small_buffer().open();
    hub.publish_each("news", vec!["x".repeat(10_000); 200]);
    let mut polling = towncrier_e2e::Connection::open(hub.addr());
    polling.send("GET /poll?topic=quiet&cursor=earliest&wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("send");

    hub.signal(Signal::TERM);

    let status = hub.wait_exit(Duration::from_secs(10));
    assert_eq!(status.code(), Some(0), "{}", hub.log());
}

#[test]
fn clients_come_back_to_the_next_process_after_a_clean_end() {
    let mut hub = Hub::start();
    let mut session = hub.subscribe(&["news"]);
    hub.publish("news", "1");
    hub.signal(Signal::TERM);
    assert_eq!(session.event().data, "1");
    session.closed("shutdown");
    hub.wait_exit(SOON);

    let hub = hub.restart();
    let mut back = hub.subscription(&["news"]).last_event_id(&session.cursor).open();
    hub.publish("news", "2");

    back.gap("backplane_lost");
    assert_eq!(back.event().data, "2");
}

#[test]
fn logs_are_json_where_nobody_looks_at_a_terminal() {
    let mut hub = Hub::with("log.level", "debug").start();
    let session = hub.subscribe(&["news"]);
    hub.publish("news", "secret data");
    drop(session);
    hub.signal(Signal::TERM);
    hub.wait_exit(SOON);

    let log = hub.log();
    assert!(!log.is_empty());
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(entry["level"].is_string() && entry["timestamp"].is_string(), "{line}");
    }
    assert!(!log.contains("secret data"), "what users publish stays out of the log:\n{log}");
    assert!(log.contains(&hub.addr().to_string()), "where it listens is told:\n{log}");
}
