//! The judges: SSE clients that others wrote, as programs in `tests/judges`.

use std::{env, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};

use crate::{
    Event, eventually,
    process::{Lines, root},
};

/// How long a judge may take to start or to see something.
const PATIENCE: Duration = Duration::from_secs(60);

fn program(name: &str) -> Command {
    let judges = root().join("tests/judges");
    let interpreter = match Path::new(name).extension().and_then(|extension| extension.to_str()) {
        Some("py") => env::var_os("TOWNCRIER_PYTHON").unwrap_or_else(|| root().join(".tools/venv/bin/python").into()),
        _ => "node".into(),
    };
    let mut command = Command::new(interpreter);
    command.arg(judges.join(name));
    command
}

/// Starts a judge of its own kind, with arguments of its own.
#[track_caller]
#[must_use]
pub fn judge(name: &str, arguments: &[&str]) -> Lines {
    let mut command = program(name);
    command.args(arguments);
    Lines::start(command, None)
}

/// A client that prints the events it is given.
#[derive(Debug)]
pub struct Judge {
    lines: Lines,
}

impl Judge {
    /// Starts a judge that is to see `count` events of these types besides untyped ones, and waits until it is connected.
    #[track_caller]
    #[must_use]
    pub fn start(name: &str, url: &str, count: usize, types: &[&str]) -> Self {
        let mut command = program(name);
        command.arg(url).args(["--count", &count.to_string(), "--deadline", &PATIENCE.as_secs().to_string()]);
        if !types.is_empty() {
            command.args(["--types", &types.join(",")]);
        }
        let mut judge = Self { lines: Lines::start(command, None) };
        let connected = judge.event();
        assert_eq!(connected.kind.as_deref(), Some("connected"), "{connected:?}");
        judge
    }

    /// The next `count` events of publishers; the hub's own are passed over, but a `gap` fails the test.
    #[track_caller]
    #[must_use]
    pub fn events(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < count {
            let event = self.event();
            match event.kind.as_deref() {
                Some("connected" | "close" | "heartbeat") => {}
                Some("gap") => panic!("{event:?} after {} events", events.len()),
                _ => events.push(event),
            }
        }
        events
    }

    /// The next event; lines that tell of the judge's state are passed over.
    #[track_caller]
    fn event(&mut self) -> Event {
        loop {
            let line = self.lines.next(PATIENCE);
            if line.get("data").is_some() {
                return event(&line);
            }
        }
    }
}

/// An event as a judge prints it. An untyped one is a `message` in the words of an `EventSource`.
fn event(line: &Value) -> Event {
    let text = |key: &str| line[key].as_str().map(str::to_owned);
    Event { id: text("id"), kind: text("type").filter(|kind| kind != "message"), data: text("data").expect("data") }
}

/// A page in headless Chromium.
#[derive(Debug)]
pub struct Page {
    browser: Lines,
}

/// A row of the demo page's list of events.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row {
    /// `event`, `gap`, `reconnect`, `resumed`, `close` or `note`.
    pub kind: String,
    /// The event's type.
    pub event: Option<String>,
    /// The data shown.
    pub data: Option<String>,
}

impl Page {
    /// Opens a browser on a page.
    #[track_caller]
    #[must_use]
    pub fn open(url: &str) -> Self {
        let mut page = Self { browser: Lines::start(program("browser.mjs"), None) };
        assert_eq!(page.browser.next(PATIENCE)["ok"], "ready");
        page.tell(json!({"do": "open", "url": url}));
        page
    }

    /// Types into a field.
    #[track_caller]
    pub fn fill(&mut self, id: &str, value: &str) {
        self.tell(json!({"do": "fill", "id": id, "value": value}));
    }

    /// Presses a button.
    #[track_caller]
    pub fn click(&mut self, id: &str) {
        self.tell(json!({"do": "click", "id": id}));
    }

    /// Waits for the status badge.
    #[track_caller]
    pub fn status(&mut self, state: &str) {
        self.tell(json!({"do": "status", "is": state}));
    }

    /// What an element shows.
    #[track_caller]
    pub fn text(&mut self, id: &str) -> String {
        self.tell(json!({"do": "text", "id": id})).as_str().unwrap_or_default().trim().to_owned()
    }

    /// Errors that scripts threw or the console showed.
    #[track_caller]
    pub fn complaints(&mut self) -> Value {
        self.tell(json!({"do": "complaints"}))
    }

    /// Waits until the list shows what `wanted` looks for, and gives that.
    #[track_caller]
    pub fn rows<T>(&mut self, what: &str, wanted: impl Fn(&[Row]) -> Option<T>) -> T {
        eventually(what, PATIENCE, || {
            let rows = self.tell(json!({"do": "rows"}));
            let rows: Vec<Row> = rows.as_array().expect("rows").iter().map(row).collect();
            wanted(&rows).ok_or_else(|| format!("{rows:#?}"))
        })
    }

    /// Opens a native `EventSource` and waits until it is connected.
    #[track_caller]
    pub fn listen(&mut self, url: &str, types: &[&str]) {
        self.tell(json!({"do": "listen", "url": url, "types": types}));
        self.heard("the native EventSource is connected", |events| !events.is_empty());
    }

    /// Opens a native `EventSource` that sends credentials along, whatever becomes of it.
    #[track_caller]
    pub fn listen_with_credentials(&mut self, url: &str) {
        self.tell(json!({"do": "listen", "url": url, "types": [], "withCredentials": true}));
    }

    /// Sends a request of JSON with credentials by `fetch`; gives the status, or nothing if the browser keeps the answer
    /// from the page.
    #[track_caller]
    pub fn post(&mut self, url: &str, body: &Value) -> Option<u64> {
        self.tell(json!({"do": "post", "url": url, "body": body.to_string()})).as_u64()
    }

    /// Waits until the native `EventSource` has dispatched what `wanted` looks for, and gives all that it has.
    #[track_caller]
    pub fn heard(&mut self, what: &str, wanted: impl Fn(&[Event]) -> bool) -> Vec<Event> {
        eventually(what, PATIENCE, || {
            let heard = self.tell(json!({"do": "heard"}));
            let events: Vec<Event> = heard.as_array().expect("events").iter().map(event).collect();
            if wanted(&events) { Ok(events) } else { Err(format!("{} events, {:?}", events.len(), events.last())) }
        })
    }

    /// Waits until the native `EventSource` has given up for good.
    #[track_caller]
    pub fn stopped(&mut self) {
        eventually("the native EventSource is closed", PATIENCE, || match self.tell(json!({"do": "state"})) {
            state if state == "closed" => Ok(()),
            state => Err(state),
        });
    }

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "commands are written in place")]
    fn tell(&mut self, command: Value) -> Value {
        self.browser.tell(&command);
        let mut answer = self.browser.next(PATIENCE);
        assert!(answer.get("error").is_none(), "{command}: {answer}");
        answer["ok"].take()
    }
}

fn row(row: &Value) -> Row {
    let text = |key: &str| row[key].as_str().map(str::to_owned);
    Row { kind: text("kind").expect("kind"), event: text("type"), data: text("data") }
}
