//! A hub's process, at an address that it keeps over its lives.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use towncrier_e2e::{Towncrier, free_address};

use crate::traffic;

/// How long a node may take to end after SIGTERM: `shutdown.timeout`, and some patience with a busy machine.
const STOPS_WITHIN: Duration = Duration::from_secs(15);
/// `shutdown.timeout`.
pub const SHUTDOWN: Duration = Duration::from_secs(5);
/// `backplane.redis.command_timeout`.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(1);
/// `backplane.redis.probe_interval`.
pub const PROBE_INTERVAL: Duration = Duration::from_millis(500);
/// A node that could not start, as Redis was away, is started again after so long.
const START_AGAIN: Duration = Duration::from_millis(300);
/// What a node says that cannot start because Redis is away, or one of a cluster is.
const REDIS_IS_AWAY: [&str; 3] =
    ["cannot reach Redis", "Redis answers: Invalid or missing cluster state", "Redis answers: CLUSTERDOWN"];
/// How many lines of a log tell the reason of an exit.
const TAIL_LINES: usize = 6;
/// Complaints about one node beyond this say nothing new.
const COMPLAINTS_MAX: usize = 5;

/// See the module.
#[derive(Debug)]
pub struct Node {
    name: String,
    addr: SocketAddr,
    redis_url: String,
    log: PathBuf,
    /// Where in the log its last life begins, in bytes.
    log_start: usize,
    running: Option<(Child, TempDir)>,
    wanted: bool,
    stopping: Option<Instant>,
    start_at: Instant,
    /// How often it was started.
    pub starts: u32,
    /// Ends that nobody asked for, and ends that took too long.
    pub complaints: Vec<String>,
}

impl Node {
    /// A node that is to run; [`Node::tend`] starts it. Its log goes into `folder`.
    #[must_use]
    pub fn new(number: usize, redis_url: String, folder: &Path) -> Self {
        Self {
            name: format!("node-{number}"),
            addr: free_address(),
            redis_url,
            log: folder.join(format!("node-{number}.log")),
            log_start: 0,
            running: None,
            wanted: true,
            stopping: None,
            start_at: Instant::now(),
            starts: 0,
            complaints: Vec::new(),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its process, if it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|(child, _)| child.id())
    }

    /// SIGKILL, and no new start until [`Node::want`].
    pub fn kill(&mut self) {
        self.wanted = false;
        self.stopping = None;
        if let Some((mut child, _)) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, and no new start until [`Node::want`].
    pub fn stop(&mut self) {
        self.wanted = false;
        self.stopping = self.running.is_some().then(Instant::now);
        self.signal(Signal::TERM);
    }

    /// It is to run.
    pub fn want(&mut self) {
        self.wanted = true;
    }

    /// Sends its process a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended this very moment, which the next look finds.
            let _ = kill_process(pid, signal);
        }
    }

    /// Looks whether it still runs as it should, and starts it where it does not.
    pub fn tend(&mut self) {
        let ended = self.running.as_mut().and_then(|(child, _)| child.try_wait().ok().flatten());
        if let Some(status) = ended {
            self.running = None;
            self.start_at = Instant::now() + START_AGAIN;
            let asked = self.stopping.take().is_some();
            let log = self.tail();
            // One that has not come up yet has nobody to say farewell to.
            if asked && !status.success() && self.listened() {
                self.complain(&format!("ended with {status} after SIGTERM"));
            } else if !asked && !REDIS_IS_AWAY.iter().any(|why| log.contains(why)) {
                self.complain(&format!("ended by itself with {status}: {log}"));
            }
        }
        if self.stopping.is_some_and(|since| since.elapsed() > STOPS_WITHIN) {
            self.complain("did not end after SIGTERM");
            self.kill();
            self.wanted = true;
        }
        if self.running.is_none() && self.wanted && Instant::now() >= self.start_at {
            self.start();
        }
    }

    fn complain(&mut self, what: &str) {
        if self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.push(format!("{}: {what}", self.name));
        }
    }

    /// What its last life has written.
    fn own_log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(bytes.get(self.log_start..).unwrap_or_default()).into_owned()
    }

    fn listened(&self) -> bool {
        self.own_log().contains("listening")
    }

    fn tail(&self) -> String {
        let own = self.own_log();
        let lines: Vec<&str> = own.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// Lines of its log that no node should ever write.
    #[must_use]
    pub fn panics(&self) -> Vec<String> {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let panics = log.lines().filter(|line| line.contains("panicked at"));
        panics.map(|line| format!("{}: {line}", self.name)).collect()
    }

    fn start(&mut self) {
        let ms = |time: Duration| format!("{}ms", time.as_millis());
        let settings = [
            ("http.listen", self.addr.to_string()),
            ("http.workers", "2".to_owned()),
            ("http.send_buffer", "16KiB".to_owned()),
            ("http.tcp_user_timeout", "5s".to_owned()),
            ("node.id", self.name.clone()),
            ("backplane.kind", "redis".to_owned()),
            ("backplane.redis.url", self.redis_url.clone()),
            ("backplane.redis.command_timeout", ms(COMMAND_TIMEOUT)),
            ("backplane.redis.probe_interval", ms(PROBE_INTERVAL)),
            ("backplane.partitions", crate::ids::PARTITIONS.to_string()),
            ("publish.timeout", "2s".to_owned()),
            ("history.events", "1000000".to_owned()),
            ("history.bytes", "1GiB".to_owned()),
            ("session.heartbeat", "1s".to_owned()),
            ("session.retry", "100ms".to_owned()),
            ("session.outbox_bytes", "80KiB".to_owned()),
            ("limits.data_bytes", "16KiB".to_owned()),
            ("publish.idempotency_age", "1h".to_owned()),
            ("publish.idempotency_keys", "10000000".to_owned()),
            ("shutdown.timeout", ms(SHUTDOWN)),
            ("log.format", "human".to_owned()),
        ];
        let serve = Towncrier::new(&["serve"]).file("configs/towncrier.toml", &traffic::namespaces());
        let serve = settings.iter().fold(serve, |serve, (key, value)| serve.set(key, value));
        let (mut command, folder) = serve.into_parts();
        let log = File::options().create(true).append(true).open(&self.log).expect("open the log");
        self.log_start = log.metadata().map_or(0, |log| usize::try_from(log.len()).unwrap_or(usize::MAX));
        command.stdout(Stdio::from(log.try_clone().expect("a second handle"))).stderr(Stdio::from(log));
        self.running = Some((command.spawn().expect("start the hub"), folder));
        self.starts += 1;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
