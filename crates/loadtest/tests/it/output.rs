//! What the tool leaves behind: an exit code, JSON and a page.

use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;
use towncrier_loadtest::{Args, Audience, FanoutArgs, Scenario, Target, run};

use crate::faulty::{Fault, FaultyServer};
use crate::servers::{RunningFloor, short, target};

/// The exit code of a small run, as text since codes cannot be compared, and its files.
fn small_run(mut target: Target, name: &str) -> (String, Value, String) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (json, html) = (folder.join(format!("{name}.json")), folder.join(format!("{name}.html")));
    target.output.json = Some(json.clone());
    target.output.html = Some(html.clone());
    let args = FanoutArgs { target, traffic: short(), audience: Audience::new(5, 1), rate: 100.0 };
    let code = run(Args { scenario: Scenario::Fanout(args) }).expect("it runs");
    let read = |path| std::fs::read_to_string(path).expect("the file");
    (format!("{code:?}"), serde_json::from_str(&read(json)).expect("JSON"), read(html))
}

#[test]
fn a_good_run_passes_and_leaves_its_figures() {
    let floor = RunningFloor::start(false);
    let (code, json, html) = small_run(floor.target(), "good");
    assert_eq!(code, format!("{:?}", ExitCode::SUCCESS));
    assert_eq!((&json["passed"], &json["result"]["published"]), (&true.into(), &40.into()), "{json}");
    assert!(json["machine"]["cores"].as_u64().is_some_and(|cores| cores > 0), "{json}");
    assert!(html.starts_with("<!doctype html>") && html.contains("publish to receipt"), "{html}");
    assert!(!html.contains("FAILED"), "{html}");
}

#[test]
fn a_bad_run_fails_and_says_why() {
    let server = FaultyServer::start(Fault::Drop(7));
    let (code, json, html) = small_run(target(server.port()), "bad");
    assert_eq!(code, format!("{:?}", ExitCode::FAILURE));
    assert_eq!((&json["passed"], &json["result"]["faults"]["lost"]), (&false.into(), &5.into()), "{json}");
    assert!(html.contains("FAILED: 5 lost"), "{html}");
}
