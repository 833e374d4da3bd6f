//! The log: its level while the hub runs, and lines that repeat.

use towncrier_e2e::{Hub, Response, SOON, Towncrier, Value, eventually, json};

fn put(hub: &Hub, body: &Value) -> Response {
    hub.request("PUT", "/admin/v1/log-level", &[("Content-Type", "application/json")], body.to_string())
}

/// Whether a request is told of at level debug.
#[track_caller]
fn is_told(hub: &Hub, number: u32) -> bool {
    let path = format!("/nowhere/{number}");
    assert_eq!(hub.get(&path).status(), 404);
    // Lines are written before the answer.
    !hub.lines("path", &path).is_empty()
}

#[test]
fn the_level_changes_while_the_hub_runs() {
    let hub = Hub::with("node.id", "one").start();
    let level = || hub.get("/admin/v1/log-level").ok();
    assert_eq!(level(), json!({ "node": "one", "level": "info", "for_s": null }));
    assert!(!is_told(&hub, 1));

    let filter = "info,towncrier_http=debug";
    assert_eq!(put(&hub, &json!({ "level": filter })).ok(), json!({ "node": "one", "level": filter, "for_s": null }));
    assert!(is_told(&hub, 2));
    let changed = &hub.lines("message", "the log's filter is changed")[0];
    assert_eq!((&changed["filter"], &changed["before"]), (&json!(filter), &json!("info")), "{changed}");
    assert_eq!(changed["target"], "towncrier::audit");
    assert!(changed["trace_id"].is_string(), "{changed}");

    for (body, field) in [
        (json!({ "level": "loud" }), "level"),
        (json!({ "level": "" }), "level"),
        (json!({ "level": "info,".repeat(300) }), "level"),
        (json!({ "level": 7 }), "level"),
        (json!({}), "level"),
        (json!({ "level": "debug", "for_s": 0 }), "for_s"),
        (json!({ "level": "debug", "for_s": 1.5 }), "for_s"),
        (json!({ "level": "debug", "for_s": "1" }), "for_s"),
        (json!({ "level": "debug", "for_s": 86_401 }), "for_s"),
        (json!({ "level": "debug", "node": "all" }), "node"),
    ] {
        assert_eq!(put(&hub, &body).problem(400)["field"], field, "{body}");
    }
    assert_eq!(hub.request("PUT", "/admin/v1/log-level", &[], r#"{"level":"debug"}"#).status(), 415);
    assert_eq!(hub.post("/admin/v1/log-level", &json!({ "level": "debug" })).status(), 405);
    assert_eq!(level()["level"], filter, "what is refused changes nothing");

    assert_eq!(put(&hub, &json!({ "level": "off" })).ok()["level"], "off");
    assert!(!is_told(&hub, 3));
}

#[test]
fn a_level_for_a_while_goes_back_to_the_configured_one() {
    let hub = Hub::with("log.level", "warn,towncrier::audit=info").start();
    put(&hub, &json!({ "level": "info" })).ok();
    let answer = put(&hub, &json!({ "level": "debug", "for_s": 1 })).ok();
    assert_eq!((&answer["level"], &answer["for_s"]), (&json!("debug"), &json!(1)));
    assert!(is_told(&hub, 1));
    eventually("it goes back", SOON, || {
        let level = hub.get("/admin/v1/log-level").ok();
        let is_back = level["level"] == "warn,towncrier::audit=info" && level["for_s"].is_null();
        if is_back { Ok(()) } else { Err(level) }
    });
    assert!(!is_told(&hub, 2));

    // Another change takes the place of the one that would have ended.
    put(&hub, &json!({ "level": "debug", "for_s": 1 })).ok();
    put(&hub, &json!({ "level": "info,towncrier_http=debug", "for_s": 3600 })).ok();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let level = hub.get("/admin/v1/log-level").ok();
    assert_eq!(level["level"], "info,towncrier_http=debug");
    assert!(level["for_s"].as_u64().is_some_and(|left| (3590..3600).contains(&left)), "{level}");
}

#[test]
fn only_administrators_may_change_it() {
    const SECRET: &str = "a secret of more than thirty-two bytes";
    let hub = Hub::with("auth.mode", "jwt").set("auth.hs256_secret", SECRET).start();
    let ask = |method: &str, options: &[&str]| {
        let run = Towncrier::new(&[&["token"], options].concat()).set("auth.hs256_secret", SECRET).run();
        let bearer = format!("Bearer {}", run.stdout.trim());
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        hub.request(method, "/admin/v1/log-level", &headers, r#"{"level":"debug"}"#).status()
    };
    assert_eq!(ask("GET", &["--publish", "**"]), 403);
    assert_eq!(ask("PUT", &["--admin", "read"]), 403);
    assert_eq!(ask("GET", &["--admin", "read"]), 200);
    assert_eq!(ask("PUT", &["--admin", "write"]), 200);
}

#[test]
fn lines_that_repeat_are_counted_and_told_once() {
    let hub =
        Hub::with("log.level", "info,towncrier_http=debug").set("log.repeats", "5").set("log.repeats_period", "2s");
    let hub = hub.start();
    // `becomes_ready` has asked some times; what counts is what is said from a new period on.
    let told = |hub: &Hub| -> u64 {
        let lines = hub.log();
        let repeated = lines.lines().filter_map(|line| {
            line.parse::<Value>().ok()?["message"]
                .as_str()?
                .strip_prefix("answered … repeated ")?
                .split(' ')
                .next()?
                .replace("once", "1")
                .parse::<u64>()
                .ok()
        });
        repeated.sum()
    };
    for number in 0..60 {
        assert_eq!(hub.get(&format!("/nowhere/{number}")).status(), 404);
    }
    eventually("all are written or counted", SOON, || {
        let written = hub.lines("message", "answered").len() as u64;
        let (counted, all) = (told(&hub), written + told(&hub));
        if all >= 60 && written < 40 && counted > 20 { Ok(()) } else { Err(format!("{written} and {counted}")) }
    });
}
