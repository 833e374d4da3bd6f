//! The load tool against a real hub: every scenario, small, with each delivery checked.

use std::fs;

use towncrier_e2e::{Hub, Towncrier, Value, json};

const TRAFFIC: &[&str] = &["--seconds", "0.5", "--warmup", "0.1", "--pipeline", "16"];

/// Runs the tool with files for its results; the exit code, the JSON and the page.
#[track_caller]
fn loadtest(args: &[&str]) -> (Option<i32>, Value, String) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let [json, html] = ["result.json", "result.html"].map(|name| folder.path().join(name).display().to_string());
    let finished =
        Towncrier::new(&[&["loadtest"], args, &["--quiet", "--json", &json, "--html", &html]].concat()).run();
    let read = |path| fs::read_to_string(path).unwrap_or_else(|error| panic!("{error}: {finished:?}"));
    let json = serde_json::from_str(&read(json)).expect("JSON");
    (finished.code, json, read(html))
}

/// A run on this hub in which nothing may go wrong; its figures.
#[track_caller]
fn measure(hub: &Hub, args: &[&str]) -> Value {
    let (target, pid) = (hub.addr().to_string(), hub.pid().to_string());
    let (code, json, html) = loadtest(&[args, &["--target", &target, "--server-pid", &pid]].concat());
    assert_eq!((code, &json["passed"]), (Some(0), &true.into()), "{json:#}\n{}", hub.log());
    assert!(html.contains("<table>") && !html.contains("FAILED"), "{html}");
    json["result"].clone()
}

#[track_caller]
fn more_than(least: f64, value: &Value) {
    assert!(value.as_f64().is_some_and(|value| value > least), "{value} is not more than {least}");
}

#[test]
fn fanout() {
    let args = ["fanout", "--subscribers", "30", "--topics", "10", "--topics-each", "3"];
    let result = measure(&Hub::start(), &[&args, TRAFFIC].concat());
    // 60 events to 9 subscribers each on average.
    assert_eq!(result["acknowledged"], 60, "{result:#}");
    more_than(0.0, &result["latency"]["p999_ms"]);
}

#[test]
fn max() {
    let args = ["max", "--subscribers", "10", "--steps", "2", "--seconds", "0.4", "--warmup", "0.1"];
    let result = measure(&Hub::start(), &args);
    more_than(500.0, &result["deliveries_per_s"]);
}

#[test]
fn idle() {
    let hub = Hub::with("session.heartbeat", "200ms").start();
    let args = ["idle", "--subscribers", "20", "--seconds", "1", "--events", "5", "--rounds", "2"];
    let result = measure(&hub, &args);
    assert_eq!(result["memory"].as_array().map(Vec::len), Some(5), "{result:#}");
    more_than(20.0, &result["heartbeats_per_s"]);
}

#[test]
fn storm() {
    let args =
        ["storm", "--subscribers", "30", "--topics", "3", "--missed", "40", "--live-rate", "100", "--rounds", "2"];
    let result = measure(&Hub::start(), &args);
    for round in result["rounds"].as_array().expect("rounds") {
        assert_eq!((&round["missing"], &round["caught_up"]), (&30.into(), &30.into()), "{result:#}");
        more_than(0.0, &round["counters"][0]["by"]);
    }
}

#[test]
fn a_storm_that_the_history_does_not_hold_fails() {
    let hub = Hub::with("history.events", "5").start();
    let target = hub.addr().to_string();
    let (code, json, html) = loadtest(&["storm", "--subscribers", "5", "--missed", "50", "--target", &target]);
    assert_eq!((code, &json["passed"]), (Some(1), &false.into()), "{json:#}");
    assert_eq!(json["result"]["faults"]["gaps"], 5, "{json:#}");
    assert!(html.contains("FAILED"), "{html}");
}

#[test]
fn churn() {
    for resume in [&[][..], &["--resume"]] {
        let args = ["churn", "--subscribers", "20", "--churn", "50", "--rate", "50"];
        let result = measure(&Hub::start(), &[&args, TRAFFIC, resume].concat());
        more_than(10.0, &result["connects_per_s"]);
    }
}

#[test]
fn slow() {
    let hub = Hub::with("session.outbox_bytes", "4MiB").set("http.send_buffer", "16KiB").start();
    let load = ["--rate", "100", "--size", "20000", "--seconds", "3", "--warmup", "0.1", "--pipeline", "16"];
    let result = measure(&hub, &[&["slow", "--subscribers", "10", "--stalled", "0.3"], &load[..]].concat());
    assert_eq!(result["stalled"]["subscribers"], 3, "{result:#}");
    // 6 MB are more than the hub keeps for anybody, with the buffers of both kernels; and who reads has 2 s to do it.
    more_than(2.0, &result["stalled"]["ended"]);
}

#[test]
fn topics() {
    let args = ["topics", "--subscribers", "20", "--counts", "1,20,100", "--deliveries", "500"];
    let result = measure(&Hub::start(), &[&args, TRAFFIC].concat());
    assert_eq!(result["rows"].as_array().map(Vec::len), Some(3), "{result:#}");
}

#[test]
fn publish() {
    let result = measure(&Hub::start(), &[&["publish", "--subscribers", "4"], TRAFFIC].concat());
    assert_eq!(result["published"], result["acknowledged"], "{result:#}");
    more_than(10.0, &result["publishes_per_s"]);
}

#[test]
fn cluster() {
    let args =
        ["cluster", "--nodes", "3", "--subscribers", "10", "--repeat", "1", "--seconds", "0.5", "--warmup", "0.2"];
    let (code, json, _) = loadtest(&args);
    assert_eq!(code, Some(0), "{json:#}");
    more_than(0.0, &json["result"]["cluster_p99_ms"][0]);
    // It is counted in steps of 10 ms, which so little may not reach.
    assert!(json["result"]["redis_us"][0].as_f64().is_some_and(|us| us >= 0.0), "{json:#}");
}

#[test]
fn compare() {
    let sizes = ["--smaller", "100", "--repeat", "1", "--seconds", "0.4", "--warmup", "0.1"];
    let (code, json, html) =
        loadtest(&[&["compare", "--subject", "redis", "--parts", "sets,storm"], &sizes[..]].concat());
    assert_eq!(code, Some(0), "{json:#}");
    assert_eq!(json["result"]["servers"], json!(["floor", "hub with Redis"]), "{json:#}");
    assert_eq!(json["result"]["fanout"].as_array().map(Vec::len), Some(1), "{json:#}");
    assert!(html.contains("All are cut and resume") && html.matches("<svg").count() >= 3, "{html}");
}
