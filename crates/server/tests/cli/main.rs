//! The client sub-commands and `check-config`, as processes, against a hub that answers by script.

mod fake_hub;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use self::fake_hub::{FakeHub, Step};

const CONNECTED: &str =
    "retry: 10\n\nid: 1-0\nevent: connected\ndata: {\"session\":\"s\",\"node\":\"n\",\"resumed\":false}\n\n";
const CLOSED: &str = "id: closed\nevent: close\ndata: {\"reason\":\"disconnected\",\"reconnect\":false}\n\n";

fn towncrier(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_towncrier"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in ["TOWNCRIER_URL", "TOWNCRIER_TOKEN"] {
        command.env_remove(name);
    }
    command
}

fn run(args: &[&str], hub: &FakeHub) -> Output {
    towncrier(args).env("TOWNCRIER_URL", hub.url()).output().expect("the binary runs")
}

#[track_caller]
fn assert_exit(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("output is UTF-8")
}

/// Waits for the end, but not for ever.
#[track_caller]
fn wait(mut child: Child) -> Output {
    let deadline = Instant::now() + Duration::from_secs(10);
    while child.try_wait().expect("a child can be waited for").is_none() {
        if Instant::now() > deadline {
            child.kill().expect("a child can be killed");
            panic!("still running: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().expect("a child has output")
}

#[test]
fn publish_tries_again_with_the_same_idempotency_key() {
    let answer = r#"{"id":"1-0","topic":"a"}"#;
    let hub = FakeHub::start([
        Step::status(503, r#"{"title":"Service Unavailable","status":503}"#),
        Step::Drop,
        Step::status(200, answer),
    ]);
    let output = run(&["publish", "--topic", "a", "--event", "e", "--token", "t", "hello"], &hub);
    assert_exit(&output, 0);
    assert_eq!(text(&output.stdout), format!("{answer}\n"));

    let requests = hub.requests();
    assert_eq!(requests.len(), 3);
    assert_eq!(requests[0].body, requests[1].body);
    assert_eq!(requests[0].body, requests[2].body);
    assert_eq!(requests[0].line, "POST /admin/v1/publish HTTP/1.1");
    assert_eq!(requests[0].header("authorization"), Some("Bearer t"));
    assert_eq!(requests[0].header("content-type"), Some("application/json"));
    let body: serde_json::Value = serde_json::from_str(&requests[0].body).expect("JSON");
    assert_eq!((&body["topic"], &body["event"], &body["data"]), (&"a".into(), &"e".into(), &"hello".into()));
    assert_eq!(body["idempotency_key"].as_str().map(str::len), Some(32));
}

#[test]
fn publish_takes_several_topics_a_key_and_data_from_standard_input() {
    let hub = FakeHub::start([Step::status(200, "{}")]);
    let args = ["publish", "--topic", "a", "--topic", "b", "--idempotency-key", "k", "-"];
    let mut child =
        towncrier(&args).env("TOWNCRIER_URL", hub.url()).stdin(Stdio::piped()).spawn().expect("the binary runs");
    child.stdin.take().expect("piped").write_all("zwei\nZeilen ü".as_bytes()).expect("it reads");
    assert_exit(&wait(child), 0);
    assert_eq!(hub.requests()[0].body, r#"{"topics":["a","b"],"data":"zwei\nZeilen ü","idempotency_key":"k"}"#);
}

#[test]
fn publish_does_not_repeat_what_the_hub_refuses() {
    let hub = FakeHub::start([Step::status(400, r#"{"title":"Bad Request","detail":"topic: must not be empty"}"#)]);
    let output = run(&["publish", "--topic", "", "x"], &hub);
    assert_exit(&output, 1);
    assert_eq!(text(&output.stderr), "towncrier: not published: topic: must not be empty (400)\n");
    assert_eq!(hub.requests().len(), 1);
}

#[test]
fn publish_gives_up_in_time_and_says_with_which_key() {
    let hub = FakeHub::start([]);
    let started = Instant::now();
    let output = run(&["publish", "--topic", "a", "--timeout", "500ms", "--idempotency-key", "k7", "x"], &hub);
    assert_exit(&output, 1);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(text(&output.stderr).contains("(idempotency key k7)"), "{output:?}");
}

#[test]
fn subscribe_resumes_where_it_was() {
    let hub = FakeHub::start([
        Step::stream([CONNECTED, "id: 1-1\nevent: created\ndata: a\ndata: b\n\n", ": ping\nid: 1-5\n\n"]),
        Step::Drop,
        Step::status(503, ""),
        Step::stream([
            "id: 1-5\nevent: connected\ndata: {\"node\":\"n2\",\"resumed\":true}\n\n",
            "id: 1-6\ndata: c\n\n",
            "event: gap\nid: 1-7\ndata: {\"reason\":\"expired\",\"topics\":[\"t\"]}\n\n",
            "event: direct\ndata: d\n\n",
            CLOSED,
        ]),
    ]);
    let output = run(&["subscribe", "--topic", "a/*", "--topic", "ü", "--last", "3", "--json"], &hub);
    assert_exit(&output, 0);
    let expected = [
        r#"{"id":"1-1","event":"created","data":"a\nb"}"#,
        r#"{"id":"1-6","event":null,"data":"c"}"#,
        r#"{"id":null,"event":"direct","data":"d"}"#,
    ];
    assert_eq!(text(&output.stdout).lines().collect::<Vec<_>>(), expected);
    for part in ["connected to node n as session s", "n2", "resumed", "events of t were lost (expired)", "for good"] {
        assert!(text(&output.stderr).contains(part), "{part}: {output:?}");
    }

    let requests = hub.requests();
    let cursors: Vec<_> = requests.iter().map(|request| request.header("last-event-id")).collect();
    assert_eq!(cursors, [None, Some("1-5"), Some("1-5"), Some("1-5")]);
    assert_eq!(requests[0].line, "GET /events?topic=a%2F*&topic=%C3%BC&last=3 HTTP/1.1");
    assert_eq!(requests[1].line, "GET /events?topic=a%2F*&topic=%C3%BC HTTP/1.1");
    assert_eq!(requests[0].header("accept"), Some("text/event-stream"));
}

#[test]
fn subscribe_begins_at_a_cursor_and_stops_after_a_count() {
    let hub = FakeHub::start([Step::stall([CONNECTED, "id: 1-1\ndata: a\n\n", "id: 1-2\ndata: b\n\n"])]);
    let output = run(&["subscribe", "--topic", "a", "--cursor", "earliest", "--count", "1"], &hub);
    assert_exit(&output, 0);
    assert_eq!(text(&output.stdout), "1-1 - a\n");
    assert_eq!(hub.requests()[0].header("last-event-id"), Some("earliest"));
}

#[test]
fn subscribe_leaves_a_connection_that_has_gone_quiet() {
    let hub = FakeHub::start([Step::stall([CONNECTED]), Step::stream([CLOSED])]);
    let output = run(&["subscribe", "--topic", "a", "--idle-timeout", "200ms"], &hub);
    assert_exit(&output, 0);
    assert!(text(&output.stderr).contains("nothing came for 0.2 s; reconnecting in "), "{output:?}");
    assert_eq!(hub.requests().len(), 2);
}

#[test]
fn subscribe_stops_at_what_will_not_get_better() {
    let hub = FakeHub::start([Step::status(204, "")]);
    assert_exit(&run(&["subscribe", "--topic", "a"], &hub), 0);

    let hub = FakeHub::start([Step::status(400, r#"{"detail":"topic: must not be empty"}"#)]);
    let output = run(&["subscribe", "--topic", ""], &hub);
    assert_exit(&output, 1);
    assert_eq!(text(&output.stderr), "towncrier: not subscribed: topic: must not be empty (400)\n");

    let hub = FakeHub::start([Step::status(200, "<html>")]);
    let output = run(&["subscribe", "--topic", "a"], &hub);
    assert_exit(&output, 1);
    assert!(text(&output.stderr).contains("not an event stream"), "{output:?}");
}

#[test]
fn subscribe_ends_quietly_when_nobody_reads_it_any_more() {
    let events = ["id: 1-1\ndata: a\n\n"; 10_000].concat();
    let hub = FakeHub::start([Step::stall([CONNECTED, &events])]);
    let mut child =
        towncrier(&["subscribe", "--topic", "a"]).env("TOWNCRIER_URL", hub.url()).spawn().expect("the binary runs");
    let mut line = String::new();
    BufReader::with_capacity(16, child.stdout.take().expect("piped")).read_line(&mut line).expect("a line comes");
    assert_eq!(line, "1-1 - a\n");
    let output = wait(child);
    assert_exit(&output, 0);
    assert_eq!(text(&output.stderr).lines().count(), 1, "{output:?}");
}

#[test]
fn subscribe_ends_well_on_a_signal() {
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        let hub = FakeHub::start([Step::stall([CONNECTED])]);
        let mut child =
            towncrier(&["subscribe", "--topic", "a"]).env("TOWNCRIER_URL", hub.url()).spawn().expect("the binary runs");
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        stderr.read_line(&mut line).expect("a note comes");
        assert!(line.contains("connected"), "{line}");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, signal).expect("it runs");
        assert_exit(&wait(child), 0);
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).expect("it is UTF-8");
        assert_eq!(rest, "");
    }
}

#[test]
fn addresses_that_cannot_be_used_are_refused_at_once() {
    let output = towncrier(&["subscribe", "--topic", "a", "--url", "https://hub"]).output().expect("the binary runs");
    assert_exit(&output, 2);
    assert!(text(&output.stderr).contains("https is not in this build"), "{output:?}");
}

#[test]
fn check_config_tells_what_is_wrong_and_what_differs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let check = |variable: (&str, &str), args: &[&str]| {
        let mut command = towncrier(&["check-config"]);
        command.args(args).env(variable.0, variable.1).current_dir(folder.path()).output().expect("the binary runs")
    };
    let events = ("TOWNCRIER__HISTORY__EVENTS", "7");

    let output = check(("NOTHING", ""), &[]);
    assert_exit(&output, 0);
    assert_eq!(text(&output.stdout), "ok\n");

    std::fs::create_dir(folder.path().join("configs")).expect("a writable folder");
    std::fs::write(folder.path().join("configs/towncrier.toml"), "history.age = \"2h\"").expect("writable");
    std::fs::write(folder.path().join("other.toml"), "history.agee = \"2h\"").expect("writable");
    let output = check(events, &[]);
    assert_exit(&output, 0);
    assert_eq!(
        text(&output.stdout),
        "ok\nhistory.events = 7  # environment variable TOWNCRIER__HISTORY__EVENTS\n\
         history.age = \"2h\"  # configs/towncrier.toml\n"
    );

    let output = check(("TOWNCRIER__HISTORY__EVENTS", "0"), &["--config", "other.toml"]);
    assert_exit(&output, 2);
    assert_eq!(text(&output.stdout), "");
    assert_eq!(
        text(&output.stderr),
        "history.agee: unknown key; did you mean `history.age`? (other.toml)\n\
         history.events: must be a whole number from 1 to 1000000, not \"0\" \
         (environment variable TOWNCRIER__HISTORY__EVENTS)\n"
    );

    let output = check(("TOWNCRIER__HISTORY__EVENTS", "0"), &["--default"]);
    assert_exit(&output, 0);
    std::fs::write(folder.path().join("default.toml"), &output.stdout).expect("writable");
    assert_eq!(text(&check(("NOTHING", ""), &["--config", "default.toml"]).stdout), "ok\n");
}
