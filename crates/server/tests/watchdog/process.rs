//! A hub in a process of its own, which obeys when it is told to stand still.

use std::{
    env,
    fmt::Debug,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio, exit},
    sync::{Arc, Mutex, PoisonError, mpsc::sync_channel},
    thread::{sleep, spawn},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Set for the process that is the hub: its configuration.
const CONFIG: &str = "TOWNCRIER_TEST_HUB_CONFIG";

/// How long anything may take that should happen: stalls are told after seconds.
const SOON: Duration = Duration::from_secs(30);

/// How long a probe waits: some are for a worker that stands still.
const PROBE: Duration = Duration::from_millis(500);

/// See the module. Ends with the test.
pub(crate) struct Hub {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    _folder: TempDir,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The status, and all that was answered, the head as well.
    Got(u16, String),
    /// No answer in time.
    Nothing(#[expect(dead_code, reason = "for messages")] String),
}

/// Becomes the hub and does not return, if that is what this process is for.
fn be_the_hub() {
    let Some(config) = env::var_os(CONFIG) else { return };
    let run = towncrier::faults::run(&[PathBuf::from(config)], |hub| {
        let (hub, (blocks, of_main)) = (hub.clone(), sync_channel(1));
        // On the thread that runs this.
        actix_rt::spawn(async move {
            loop {
                actix_rt::time::sleep(Duration::from_millis(20)).await;
                of_main.try_recv().into_iter().for_each(sleep);
            }
        });
        spawn(move || {
            for line in std::io::stdin().lines().map_while(Result::ok) {
                let (part, ms) = line.split_once(' ').expect("a part and a time");
                let time = Duration::from_millis(ms.parse().expect("a time in ms"));
                match part {
                    // Whoever writes a line now waits for this.
                    "log" => {
                        let held = move || {
                            let _lock = std::io::stderr().lock();
                            sleep(time);
                        };
                        spawn(held);
                    }
                    "main" => blocks.send(time).expect("it goes on"),
                    actor => hub.block(actor, time),
                }
            }
            // Whoever started it is gone.
            exit(0);
        });
    });
    match run {
        Ok(()) => exit(0),
        Err(error) => {
            eprintln!("{error}");
            exit(1);
        }
    }
}

impl Hub {
    /// Starts a hub with two workers for the test of this name, in which this stands first.
    pub(crate) fn start(test: &str, stalled: &str, exit: &str) -> Self {
        be_the_hub();
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("hub.toml");
        let text = format!(
            "[http]\nlisten = \"127.0.0.1:0\"\nworkers = 2\n[log]\nformat = \"json\"\n[watchdog]\nstalled = \"{stalled}\"\nexit = \"{exit}\"\n"
        );
        fs::write(&config, text).expect("a file");
        let mut child = Command::new(env::current_exe().expect("this binary"))
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(CONFIG, &config)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a process");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (stderr, lines) = (child.stderr.take().expect("a pipe"), log.clone());
        spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        let found = eventually("listening", || {
            let lines = log.lock().unwrap_or_else(PoisonError::into_inner);
            let address = |line: &String| line.split_once("\"address\":\"")?.1.split_once('"')?.0.parse().ok();
            lines.iter().find_map(address).ok_or_else(|| lines.clone())
        });
        Self { child, address: found, log, _folder: folder }
    }

    /// Makes a part of it stand still for so long: an actor, `worker`, `main`, or whoever writes to the `log`.
    pub(crate) fn block(&self, part: &str, time: Duration) {
        let mut stdin = self.child.stdin.as_ref().expect("a pipe");
        writeln!(stdin, "{part} {}", time.as_millis()).expect("it reads");
    }

    /// Makes all of it stand still for so long.
    pub(crate) fn stand_still(&self, time: Duration) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::STOP).expect("it is there");
        sleep(time);
        kill_process(pid, Signal::CONT).expect("it is there");
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, PROBE)?;
        stream.set_read_timeout(Some(PROBE))?;
        Ok(stream)
    }

    fn ask(&self, request: &str) -> Answer {
        let ask = || -> std::io::Result<String> {
            let mut stream = self.connect()?;
            stream.write_all(request.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = match ask() {
            Ok(answer) => answer,
            Err(error) => return Answer::Nothing(error.to_string()),
        };
        match answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()) {
            Some(status) => Answer::Got(status, answer),
            None => Answer::Nothing(answer),
        }
    }

    /// Asks, by a connection of its own.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address))
    }

    /// The value of a series, as soon as a worker answers.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let text = eventually("metrics", || match self.get("/metrics") {
            Answer::Got(200, text) => Ok(text),
            other => Err(other),
        });
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("{series} is not in {text}"))
    }

    /// Publishes an event.
    pub(crate) fn publish(&self, topic: &str, data: &str) {
        eventually("published", || match self.try_to_publish(topic, data) {
            Answer::Got(200, _) => Ok(()),
            other => Err(other),
        });
    }

    /// The same, once.
    pub(crate) fn try_to_publish(&self, topic: &str, data: &str) -> Answer {
        let body = format!("{{\"topic\":\"{topic}\",\"data\":\"{data}\"}}");
        let head = format!("POST /admin/v1/publish HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        let kind = format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        self.ask(&(head + &kind + &body))
    }

    /// Subscribes to a topic.
    pub(crate) fn subscribe(&self, topic: &str) -> Stream {
        let mut stream = self.connect().expect("a connection");
        let request = format!("GET /events?topic={topic} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).expect("sent");
        let mut stream = Stream { stream, text: String::new() };
        stream.wait_for("event: connected");
        stream
    }

    /// How the process ends.
    pub(crate) fn wait_for_exit(&mut self) -> Option<i32> {
        let child = &mut self.child;
        eventually("the end", || child.try_wait().expect("a child").ok_or("it runs")).code()
    }

    /// Waits until the log has a line with this.
    pub(crate) fn has_logged(&self, part: &str) {
        eventually(part, || {
            let lines = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.iter().any(|line| line.contains(part)) { Ok(()) } else { Err(lines.clone()) }
        });
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A subscriber.
pub(crate) struct Stream {
    stream: TcpStream,
    text: String,
}

impl Stream {
    /// Reads until this has come, by the connection that was made at first.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, part: &str) {
        let (stream, text) = (&mut self.stream, &mut self.text);
        eventually(part, || {
            if text.contains(part) {
                return Ok(());
            }
            let mut bytes = [0; 4096];
            match stream.read(&mut bytes) {
                Ok(0) => panic!("the stream has ended before {part}: {text}"),
                Ok(len) => text.push_str(&String::from_utf8_lossy(&bytes[..len])),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}, before {part}: {text}"),
            }
            Err(text.clone())
        });
    }
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn eventually<T, E: Debug>(what: &str, mut look: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if Instant::now() > deadline => panic!("not {what}: {seen:?}"),
            Err(_) => sleep(Duration::from_millis(20)),
        }
    }
}
