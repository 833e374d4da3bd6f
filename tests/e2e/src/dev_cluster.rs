//! `towncrier cluster`, and the processes below it.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Finished, Response, SOON, Subscribe, Towncrier, eventually, http, process};

/// How long a cluster may take to start on a busy machine.
const START_WITHIN: Duration = Duration::from_secs(90);
const LINES_WAITING: usize = 1000;

/// A process by its number and the moment of its start, so that another with the same number is not taken for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Process {
    pid: i32,
    parent: i32,
    started: String,
    /// Its command line.
    pub command: String,
    /// The node's name, if it is one.
    pub node: Option<String>,
}

impl Process {
    /// Whether it still runs; a zombie does not.
    #[must_use]
    pub fn runs(&self) -> bool {
        Self::read(self.pid).is_some_and(|now| now.started == self.started)
    }

    /// Ends it the hard way.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Sends it a signal, if it still runs.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.runs()) {
            let _ = kill_process(pid, signal);
        }
    }

    fn read(pid: i32) -> Option<Self> {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let stat = fs::read_to_string(folder.join("stat")).ok()?;
        // After the name in brackets, which may itself hold anything: state, parent, ... and the start as the 20th.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        if fields[0] == "Z" {
            return None;
        }
        let text = |name: &str| {
            let bytes = fs::read(folder.join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', "\n")
        };
        let environment = text("environ");
        let node = environment.lines().find_map(|line| line.strip_prefix("TOWNCRIER__NODE__ID="));
        Some(Self {
            pid,
            parent: fields[1].parse().ok()?,
            started: fields[19].to_owned(),
            command: text("cmdline").trim().replace('\n', " "),
            node: node.map(str::to_owned),
        })
    }

    fn all() -> Vec<Self> {
        let entries = fs::read_dir("/proc").expect("/proc");
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter_map(Self::read).collect()
    }
}

/// Runs `towncrier` to its end where no program can be found but those in a folder.
///
/// # Panics
/// When it does not end.
#[track_caller]
#[must_use]
pub fn run_with_path(path: &Path, arguments: &[&str]) -> Finished {
    let (mut command, folder) = Towncrier::new(arguments).into_parts();
    let files = ["stdout", "stderr"].map(|name| folder.path().join(name));
    let [stdout, stderr] = files.each_ref().map(|file| File::create(file).expect("create a file"));
    let mut child = command.env("PATH", path).stdout(stdout).stderr(stderr).spawn().expect("start towncrier");
    let status = process::wait_exit(&mut child, SOON);
    if status.is_none() {
        child.kill().expect("kill");
    }
    let [stdout, stderr] = files.map(|file| fs::read_to_string(file).expect("UTF-8"));
    let Some(status) = status else { panic!("{command:?} did not end\n{stdout}\n{stderr}") };
    Finished { code: status.code(), stdout, stderr }
}

/// A `towncrier cluster` about to start.
#[derive(Debug)]
#[must_use]
pub struct DevClusterBuilder {
    arguments: Vec<String>,
    settings: Vec<(String, String)>,
}

impl DevClusterBuilder {
    /// More arguments.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Sets a configuration key by its environment variable.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Starts it and waits until it says that it is ready.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    #[must_use]
    pub fn start(self) -> DevCluster {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let towncrier = self.settings.iter().fold(Towncrier::new(&arguments), |run, (key, value)| run.set(key, value));
        let (mut command, folder) = towncrier.into_parts();
        let temporary = folder.path().join("temporary");
        fs::create_dir(&temporary).expect("a folder");
        let log = folder.path().join("log");
        command.env("TMPDIR", &temporary).stdout(Stdio::piped()).stderr(File::create(&log).expect("create the log"));
        let mut child = command.spawn().expect("start the cluster");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (line, lines) = mpsc::sync_channel(LINES_WAITING);
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|text| line.send(text)));

        let mut cluster =
            DevCluster { child, temporary, log, hub: None, nodes: Vec::new(), redis: String::new(), _folder: folder };
        let deadline = Instant::now() + START_WITHIN;
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(text) if text.starts_with("Ctrl-C") => return cluster,
                Ok(text) => cluster.learn(&text),
                Err(RecvTimeoutError::Timeout) => panic!("the cluster is not ready"),
                Err(RecvTimeoutError::Disconnected) => panic!("the cluster ended: {:?}", cluster.child.wait()),
            }
        }
    }
}

/// A `towncrier cluster` that is ready; it and all below it are killed when the test is over.
#[derive(Debug)]
pub struct DevCluster {
    child: Child,
    temporary: PathBuf,
    log: PathBuf,
    hub: Option<SocketAddr>,
    nodes: Vec<SocketAddr>,
    redis: String,
    _folder: TempDir,
}

impl DevCluster {
    /// One with a port of its own.
    pub fn builder() -> DevClusterBuilder {
        Self::bare().arguments(&["--listen", "127.0.0.1:0"])
    }

    /// One with no arguments yet.
    pub fn bare() -> DevClusterBuilder {
        DevClusterBuilder { arguments: vec!["cluster".to_owned()], settings: Vec::new() }
    }

    fn learn(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let (Some(name), Some(url)) = (words.next(), words.next()) else { return };
        let address = || {
            let text = url.strip_prefix("http://")?.strip_suffix('/')?;
            text.parse::<SocketAddr>().ok()
        };
        match name {
            "hub" => self.hub = address(),
            "redis" => url.clone_into(&mut self.redis),
            _ => self.nodes.extend(address()),
        }
    }

    /// Where nginx listens.
    #[track_caller]
    #[must_use]
    pub fn hub(&self) -> SocketAddr {
        self.hub.expect("there is a proxy")
    }

    /// Whether there is a proxy.
    #[must_use]
    pub fn has_hub(&self) -> bool {
        self.hub.is_some()
    }

    /// Where each node listens.
    #[must_use]
    pub fn nodes(&self) -> &[SocketAddr] {
        &self.nodes
    }

    /// The URL of its Redis.
    #[must_use]
    pub fn redis(&self) -> &str {
        &self.redis
    }

    /// A subscription through nginx.
    #[track_caller]
    pub fn subscription(&self, selectors: &[&str]) -> Subscribe {
        selectors.iter().fold(Subscribe::to(self.hub()), |subscription, selector| subscription.topic(selector))
    }

    /// Publishes through nginx.
    #[track_caller]
    pub fn publish(&self, topic: &str, data: &str) {
        self.post("/admin/v1/publish", &json!({"topic": topic, "data": data})).ok();
    }

    /// POST of JSON through nginx.
    #[track_caller]
    #[must_use]
    pub fn post(&self, target: &str, body: &Value) -> Response {
        let headers = [("Content-Type", "application/json")];
        http::request(self.hub(), "POST", target, &headers, body.to_string().as_bytes())
    }

    /// GET from any of its addresses.
    #[track_caller]
    #[must_use]
    pub fn get(&self, address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Response {
        http::request(address, "GET", target, headers, b"")
    }

    /// All processes below it.
    #[must_use]
    pub fn processes(&self) -> Vec<Process> {
        let all = Process::all();
        let own = i32::try_from(self.child.id()).expect("a process id");
        let mut found: Vec<Process> = Vec::new();
        loop {
            let before = found.len();
            for process in &all {
                let below = process.parent == own || found.iter().any(|parent| parent.pid == process.parent);
                if below && !found.contains(process) {
                    found.push(process.clone());
                }
            }
            if found.len() == before {
                return found;
            }
        }
    }

    /// The one process below it whose command line has this in it.
    #[track_caller]
    #[must_use]
    pub fn process(&self, part: &str) -> Process {
        let all = self.processes();
        let found: Vec<&Process> = all.iter().filter(|process| process.command.contains(part)).collect();
        assert_eq!(found.len(), 1, "{part} in {all:#?}");
        found[0].clone()
    }

    /// The process of a node.
    #[track_caller]
    #[must_use]
    pub fn node(&self, name: &str) -> Process {
        let all = self.processes();
        let found = all.iter().find(|process| process.node.as_deref() == Some(name));
        found.unwrap_or_else(|| panic!("{name} in {all:#?}")).clone()
    }

    /// Waits until a node is ready.
    #[track_caller]
    pub fn ready(&self, node: SocketAddr) {
        eventually("the node is ready", SOON, || {
            // Between two lives of the node nobody listens.
            std::net::TcpStream::connect(node).map_err(|error| error.to_string())?;
            match self.get(node, "/ready", &[]) {
                answer if answer.status() == 200 => Ok(()),
                answer => Err(answer.text()),
            }
        });
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        process::send(&self.child, signal);
    }

    /// Waits for it to end by itself.
    #[track_caller]
    pub fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        let ended = process::wait_exit(&mut self.child, within);
        ended.unwrap_or_else(|| panic!("the cluster still runs after {within:?}"))
    }

    /// What all of it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// What is in its temporary folder.
    #[must_use]
    pub fn temporary_files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.temporary).expect("the folder");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    }
}

/// Waits until none of these runs.
///
/// # Panics
/// When one still does.
#[track_caller]
pub fn gone(processes: &[Process], within: Duration) {
    eventually("all processes are gone", within, || {
        match processes.iter().filter(|process| process.runs()).collect::<Vec<_>>() {
            left if left.is_empty() => Ok(()),
            left => Err(format!("{left:#?}")),
        }
    });
}

impl Drop for DevCluster {
    fn drop(&mut self) {
        let below = self.processes();
        let _ = self.child.kill();
        let _ = self.child.wait();
        // They end with it, which is tested where it is not left to chance.
        for process in below {
            process.kill();
        }
        if thread::panicking() {
            eprintln!("the log of the cluster:\n{}", self.log());
        }
    }
}
