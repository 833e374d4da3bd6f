//! A Redis of a test's own, and a node that writes down what it is told.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::TcpListener,
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use towncrier_backplane::{Backplane, Published, Signal, Signals};
use towncrier_backplane_redis::{Options, RedisBackplane, connect};
use towncrier_core::store::Retention;
use towncrier_wire::{Event, EventId, Heads, Name, NewEvent, Partitions, Selector, Topic};

pub const DEADLINE: Duration = Duration::from_secs(30);

/// A redis-server on a socket in a folder of its own. Killed when it is dropped, and also when the test process dies.
pub struct Redis {
    folder: TempDir,
    arguments: Vec<String>,
    /// A shell that waits for our end of its input to close, and the server's process id.
    running: Option<(Child, u32)>,
}

impl Redis {
    /// In memory only.
    pub fn start() -> Self {
        Self::with(&["--save", "", "--appendonly", "no"])
    }

    pub fn with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut redis = Self { folder, arguments, running: None };
        redis.run();
        redis
    }

    /// A Sentinel on a port, that watches a primary on another, by the name of `main`.
    pub fn sentinel(port: &str, primary: &str) -> Self {
        Self::sentinel_with(port, primary, "")
    }

    /// With more lines in its configuration.
    pub fn sentinel_with(port: &str, primary: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {primary} 1\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n{more}"
        );
        std::fs::write(folder.path().join("sentinel.conf"), config).expect("a file");
        let arguments = ["sentinel.conf", "--sentinel", "--port", port].map(str::to_owned).to_vec();
        let mut redis = Self { folder, arguments, running: None };
        redis.run();
        redis
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// Starts it, again with the same data if it keeps any.
    pub fn run(&mut self) {
        let script = "redis-server \"$@\" >redis.log 2>&1 & echo $!; cat >/dev/null; kill -9 $! 2>/dev/null";
        let _ = std::fs::remove_file(self.socket());
        if self.arguments.iter().any(|argument| argument == "users.acl") {
            // Redis wants the file to be there.
            let _ = std::fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("users.acl"));
        }
        let has_port = self.arguments.iter().any(|argument| argument == "--port");
        let port: &[&str] = if has_port { &[] } else { &["--port", "0"] };
        let mut shell = Command::new("sh")
            .args(["-c", script, "sh"])
            .args(&self.arguments)
            .args(port)
            .args(["--unixsocket", "s", "--dir", "."])
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let mut line = String::new();
        BufReader::new(shell.stdout.take().expect("its output")).read_line(&mut line).expect("a process id");
        self.running = Some((shell, line.trim().parse().expect("a process id")));
        let until = Instant::now() + DEADLINE;
        loop {
            let answer = self.try_ask(&["PING"]).unwrap_or_default();
            if answer.starts_with('+') || answer.starts_with("-NOAUTH") {
                return;
            }
            let log = || std::fs::read_to_string(self.folder.path().join("redis.log")).unwrap_or_default();
            assert!(Instant::now() < until, "redis-server does not start: {answer}\n{}", log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some((mut shell, pid)) = self.running.take() {
            signal(pid, "-KILL");
            drop(shell.stdin.take());
            let _ = shell.wait();
        }
    }

    /// Goes back to what was there at the last SAVE, as a server that wrote to its disk late.
    pub fn tear(&mut self) {
        self.kill();
        self.run();
    }

    /// Writes what there is now to a file of its own.
    pub fn copy(&self, name: &str) {
        assert!(self.ask(&["SAVE"]).starts_with("+OK"));
        std::fs::copy(self.folder.path().join("dump.rdb"), self.folder.path().join(name)).expect("a copy");
    }

    /// Goes back to such a copy.
    pub fn tear_to(&mut self, name: &str) {
        self.kill();
        std::fs::copy(self.folder.path().join(name), self.folder.path().join("dump.rdb")).expect("a copy");
        self.run();
    }

    pub fn freeze(&self) {
        signal(self.pid(), "-STOP");
    }

    pub fn thaw(&self) {
        signal(self.pid(), "-CONT");
    }

    fn pid(&self) -> u32 {
        self.running.as_ref().expect("it runs").1
    }

    /// One command on a connection of its own; the first bytes of the answer.
    pub fn ask(&self, command: &[&str]) -> String {
        self.try_ask(command).expect("an answer")
    }

    /// The same for a command that changes nothing. It is repeated where the connection ends: a Sentinel that gives the
    /// server another role has it end all of them.
    pub fn read(&self, command: &[&str]) -> String {
        let began = Instant::now();
        loop {
            match self.try_ask(command) {
                Err(error) if error.kind() != ErrorKind::WouldBlock && began.elapsed() < DEADLINE => {}
                answer => return answer.expect("an answer"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn try_ask(&self, command: &[&str]) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(DEADLINE))?;
        write!(stream, "*{}\r\n", command.len())?;
        for word in command {
            write!(stream, "${}\r\n{word}\r\n", word.len())?;
        }
        let mut buffer = vec![0; 64 * 1024];
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&buffer[..count]).into_owned())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill").args([name, &pid.to_string()]).stderr(Stdio::null()).status();
}

/// Free for now. Redis cannot be told to take any.
pub fn port() -> String {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").port().to_string()
}

pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < DEADLINE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn options(redis: &Redis, partitions: usize) -> Options {
    Options {
        retention: Retention { events: 100_000, age_ms: 3_600_000 },
        command_timeout: Duration::from_millis(1000),
        probe_interval: Duration::from_millis(200),
        ..Options::new(redis.url(), "test", Partitions::new(partitions).expect("a number"))
    }
}

/// What a node was told.
#[derive(Default)]
pub struct Heard {
    pub events: Vec<Arc<Event>>,
    pub joined: Vec<(Vec<Selector>, Heads)>,
    pub heads: Vec<Heads>,
    /// Up to where events were said to be lost, each time.
    pub lost: Vec<Heads>,
}

/// A node that listens.
pub struct Node {
    pub backplane: RedisBackplane,
    pub heard: Arc<Mutex<Heard>>,
    partitions: Partitions,
}

impl Node {
    pub async fn start(options: Options) -> Self {
        let (backplane, signals) = connect(options).await.expect("a connection");
        Self::of(backplane, signals)
    }

    /// Begins to listen.
    pub fn of(backplane: RedisBackplane, mut signals: Signals) -> Self {
        // What the node says is shown where a test fails.
        let _ = tracing_subscriber::fmt()
            .with_test_writer()
            .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
            .try_init();
        let partitions = backplane.partitions();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let node = Self { backplane, heard: heard.clone(), partitions };
        tokio::spawn(async move {
            loop {
                let signals = signals.next(256).await;
                if signals.is_empty() {
                    return;
                }
                let mut heard = heard.lock().expect("a lock");
                for signal in signals {
                    match signal {
                        Signal::Events(events, _) => heard.events.extend(events),
                        Signal::Joined { selectors, heads } => heard.joined.push((selectors, heads)),
                        Signal::Heads(heads) => heard.heads.push(heads),
                        Signal::Lost(heads) => heard.lost.push(heads),
                    }
                }
            }
        });
        node
    }

    pub async fn join(&self, name: &str) -> Heads {
        let before = self.heard.lock().expect("a lock").joined.len();
        self.backplane.join(vec![Selector::new(name).expect("a selector")]).await.expect("taken");
        wait("the answer to a join", || Some(self.heard.lock().expect("a lock").joined.get(before)?.1)).await
    }

    /// Publishes until it is stored, always with a key, as a good publisher does.
    pub async fn publish(&self, name: &str, data: &str) -> EventId {
        let key = format!("{name}/{data}");
        let until = Instant::now() + DEADLINE;
        loop {
            match self.try_publish(name, data, Some(&key)).await {
                Ok(published) => return published.id,
                Err(error) => assert!(Instant::now() < until, "not stored: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn try_publish(
        &self,
        name: &str,
        data: &str,
        key: Option<&str>,
    ) -> Result<Published, towncrier_backplane::BackplaneError> {
        self.backplane.publish(vec![event(name, data, key)]).await.remove(0)
    }

    /// Waits until so many events have come, and checks that each partition's came in order.
    pub async fn hears(&self, count: usize) -> Vec<Arc<Event>> {
        let events = || self.heard.lock().expect("a lock").events.clone();
        let until = Instant::now() + DEADLINE;
        while events().len() < count && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let events = events();
        assert!(events.len() >= count, "heard {} of {count}", events.len());
        self.in_order(&events);
        events
    }

    /// Waits until so many events have come, in order, and no more; and checks that no loss was told.
    pub async fn hears_all(&self, count: usize) -> Vec<Arc<Event>> {
        let events = self.hears(count).await;
        self.settle().await;
        let heard = self.heard.lock().expect("a lock");
        assert_eq!((heard.events.len(), &heard.lost[..]), (count, &[][..]), "told once each, and no loss");
        assert_eq!(self.backplane.losses(), 0);
        events
    }

    pub fn in_order(&self, events: &[Arc<Event>]) {
        let mut newest = Heads::default();
        for event in events {
            let newest = &mut newest[self.partitions.of(event.topic()).index()];
            assert!(event.id() > *newest, "{} of {} after {newest}", event.id(), event.topic());
            *newest = event.id();
        }
    }

    /// Waits until the heads have been announced that are asked for now.
    pub async fn settle(&self) -> Heads {
        let until = Instant::now() + DEADLINE;
        loop {
            let before = self.heard.lock().expect("a lock").heads.len();
            let _ = self.backplane.announce().await;
            let pause = Instant::now() + Duration::from_secs(2);
            while Instant::now() < pause {
                if let Some(heads) = self.heard.lock().expect("a lock").heads.get(before) {
                    return *heads;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(Instant::now() < until, "no heads are announced");
        }
    }
}

pub fn event(name: &str, data: &str, key: Option<&str>) -> NewEvent {
    NewEvent {
        topic: Topic::new(name).expect("a topic"),
        event_type: None,
        data: data.into(),
        idempotency_key: key.map(|key| Name::new(key).expect("a key")),
        trace: None,
    }
}

pub fn topic(name: &str) -> Topic {
    Topic::new(name).expect("a topic")
}

pub fn data(events: &[Arc<Event>]) -> Vec<String> {
    events.iter().map(|event| event.data().to_owned()).collect()
}

/// History has what was told.
pub fn same(held: &[Arc<Event>], told: &[Arc<Event>]) {
    let list = |events: &[Arc<Event>]| -> Vec<_> {
        events.iter().map(|event| format!("{} after {}: {}", event.id(), event.prev(), event.data())).collect()
    };
    let (held, told) = (list(held), list(told));
    let only = |one: &[String], other: &[String]| -> Vec<_> {
        one.iter().filter(|event| !other.contains(event)).cloned().collect()
    };
    assert!(held == told, "only held: {:?}, only told: {:?}", only(&held, &told), only(&told, &held));
}

pub async fn wait<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < until, "no {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
