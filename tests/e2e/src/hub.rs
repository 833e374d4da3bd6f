//! A running hub.

use std::{
    env,
    fmt::Write as _,
    fs::{self, File},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Response, SOON, Subscribe, Subscriber, encode, eventually, http, ports, process};

const ATTEMPTS: usize = 5;

/// A hub about to start.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    arguments: &'static [&'static str],
    settings: Vec<(String, String)>,
    variables: Vec<(String, String)>,
    file: String,
}

impl Default for Builder {
    fn default() -> Self {
        Self { arguments: &["serve"], settings: Vec::new(), variables: Vec::new(), file: String::new() }
    }
}

impl Builder {
    /// Other arguments than `serve`.
    pub fn arguments(mut self, arguments: &'static [&'static str]) -> Self {
        self.arguments = arguments;
        self
    }

    /// Sets a configuration key.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Sets a variable of the environment that is no configuration key.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives it a configuration file, for what the environment cannot say.
    pub fn file(mut self, toml: &str) -> Self {
        toml.clone_into(&mut self.file);
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    #[track_caller]
    #[must_use]
    pub fn start(self) -> Hub {
        for _ in 0..ATTEMPTS {
            let mut hub = self.spawn();
            if hub.becomes_ready() {
                return hub;
            }
        }
        panic!("no free port in {ATTEMPTS} attempts");
    }

    fn spawn(&self) -> Hub {
        let addr = ports::free();
        let serve = process::Towncrier::new(self.arguments)
            .file("configs/towncrier.toml", &self.file)
            .set("http.listen", &addr.to_string())
            .set("http.workers", "2")
            .set("http.lean", &(!env::var("TOWNCRIER_TRANSPORT").is_ok_and(|own| own == "actix-http")).to_string());
        let serve = self.settings.iter().fold(serve, |serve, (key, value)| serve.set(key, value));
        let (mut command, folder) = serve.into_parts();
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let log = folder.path().join("log");
        let file = File::create(&log).expect("create the log");
        command.stdout(Stdio::from(file.try_clone().expect("a second handle"))).stderr(Stdio::from(file));
        let child = command.spawn().expect("start the hub");
        Hub { addr, child, log, settings: self.clone(), _folder: folder }
    }
}

/// A hub in a process of its own; it is killed when the test is over.
#[derive(Debug)]
pub struct Hub {
    addr: SocketAddr,
    child: Child,
    log: PathBuf,
    settings: Builder,
    _folder: TempDir,
}

impl Hub {
    /// A hub with the defaults.
    #[track_caller]
    #[must_use]
    pub fn start() -> Self {
        Builder::default().start()
    }

    /// A hub with other settings.
    pub fn with(key: &str, value: &str) -> Builder {
        Builder::default().set(key, value)
    }

    /// A new hub with the settings of this one, which is gone.
    #[track_caller]
    #[must_use]
    pub fn restart(mut self) -> Self {
        self.kill();
        self.settings.clone().start()
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A URL of this hub.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// A live stream of these topics.
    #[track_caller]
    #[must_use]
    pub fn subscribe(&self, selectors: &[&str]) -> Subscriber {
        self.subscription(selectors).open()
    }

    /// A subscription to these topics, not yet opened.
    pub fn subscription(&self, selectors: &[&str]) -> Subscribe {
        selectors.iter().fold(Subscribe::to(self.addr), |subscription, selector| subscription.topic(selector))
    }

    /// Publishes data to a topic and gives the event's id.
    #[track_caller]
    pub fn publish(&self, topic: &str, data: &str) -> String {
        let answer = self.send(&json!({"topic": topic, "data": data})).ok();
        assert_eq!(answer["topic"], topic, "{answer}");
        answer["id"].as_str().unwrap_or_else(|| panic!("no id: {answer}")).to_owned()
    }

    /// Publishes `count` numbered events and gives their data.
    #[track_caller]
    pub fn publish_numbers(&self, topic: &str, count: usize) -> Vec<String> {
        self.publish_each(topic, (1..=count).map(|number| number.to_string()).collect())
    }

    /// Publishes one event for each of these data.
    #[track_caller]
    pub fn publish_each(&self, topic: &str, data: Vec<String>) -> Vec<String> {
        for part in data.chunks(100) {
            let batch: Vec<Value> = part.iter().map(|data| json!({"topic": topic, "data": data})).collect();
            let answers = self.post("/admin/v1/publish/batch", &batch.into()).ok();
            let stored = answers.as_array().expect("a list").iter().all(|answer| answer["id"].is_string());
            assert!(stored, "{answers}");
        }
        data
    }

    /// Sends a publish request as it is.
    #[track_caller]
    #[must_use]
    pub fn send(&self, body: &Value) -> Response {
        self.post("/admin/v1/publish", body)
    }

    /// GET.
    #[track_caller]
    #[must_use]
    pub fn get(&self, target: &str) -> Response {
        http::request(self.addr, "GET", target, &[], b"")
    }

    /// A request with headers of its own.
    #[track_caller]
    #[must_use]
    pub fn request(&self, method: &str, target: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Response {
        http::request(self.addr, method, target, headers, body.as_ref())
    }

    /// DELETE.
    #[track_caller]
    #[must_use]
    pub fn delete(&self, target: &str) -> Response {
        http::request(self.addr, "DELETE", target, &[], b"")
    }

    /// POST of JSON.
    #[track_caller]
    #[must_use]
    pub fn post(&self, target: &str, body: &Value) -> Response {
        self.post_bytes(target, "application/json", body.to_string().as_bytes())
    }

    /// POST of anything.
    #[track_caller]
    #[must_use]
    pub fn post_bytes(&self, target: &str, content_type: &str, body: &[u8]) -> Response {
        http::request(self.addr, "POST", target, &[("Content-Type", content_type)], body)
    }

    /// The value of a metric, by the whole name of its series.
    #[track_caller]
    #[must_use]
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        let value = line.unwrap_or_else(|| panic!("no {series} in {text}"));
        value.parse().unwrap_or_else(|error| panic!("{error}: {series} {value}"))
    }

    /// The ids of the sessions that the registry knows for a topic.
    #[track_caller]
    #[must_use]
    pub fn sessions(&self, topic: &str) -> Vec<String> {
        let answer = self.get(&format!("/admin/v1/sessions?topic={}", encode(topic))).ok();
        let sessions = answer["sessions"].as_array().unwrap_or_else(|| panic!("no sessions: {answer}"));
        sessions.iter().map(|session| session["id"].as_str().expect("id").to_owned()).collect()
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The lines of its log that are JSON objects with this value of a key.
    #[must_use]
    pub fn lines(&self, key: &str, value: &str) -> Vec<Value> {
        let objects = self.log();
        let objects = objects.lines().filter_map(|line| line.parse::<Value>().ok());
        objects.filter(|line| line[key] == value).collect()
    }

    /// Waits for a line of its log with this message and this trace id.
    #[track_caller]
    pub fn said(&self, message: &str, trace_id: &str) -> Value {
        eventually("it is logged", SOON, || {
            let mut lines = self.lines("trace_id", trace_id);
            let found = lines.iter().position(|line| line["message"] == message);
            found.map(|at| lines.swap_remove(at)).ok_or_else(|| format!("{lines:#?}"))
        })
    }

    /// The memory that it has resident, in KiB.
    #[track_caller]
    #[must_use]
    pub fn rss_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the hub runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        process::send(&self.child, signal);
    }

    /// Ends it the hard way.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill the hub");
        self.child.wait().expect("wait for the hub");
    }

    /// Waits for it to end by itself.
    #[track_caller]
    pub fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        process::wait_exit(&mut self.child, within).unwrap_or_else(|| panic!("the hub still runs after {within:?}"))
    }

    /// False when another process took the port first.
    #[track_caller]
    fn becomes_ready(&mut self) -> bool {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for the hub") {
                let log = self.log();
                assert!(log.to_lowercase().contains("in use"), "the hub ended at once, {status}:\n{log}");
                return false;
            }
            if TcpStream::connect(self.addr).is_ok() && self.get("/ready").status() == 200 {
                return true;
            }
            assert!(Instant::now() < deadline, "the hub is not ready:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let mut tail = String::new();
            for line in &lines[lines.len().saturating_sub(40)..] {
                let _ = writeln!(tail, "    {line}");
            }
            eprintln!("the log of the hub at {} ends with:\n{tail}", self.addr);
        }
    }
}
