//! Child processes: the binary under test, and programs that print JSON lines.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::SOON;

/// Lines of a program that nobody has asked for yet; it waits when there are more.
const LINES_WAITING: usize = 10_000;

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The hub's binary: `TOWNCRIER_BIN`, or what cargo built beside this program or, for a test, one folder above.
fn binary() -> PathBuf {
    let beside = || {
        let folder = env::current_exe().ok()?.parent()?.to_owned();
        let folder = if folder.ends_with("deps") { folder.parent()?.to_owned() } else { folder };
        Some(folder.join("towncrier"))
    };
    let path = env::var_os("TOWNCRIER_BIN").map(PathBuf::from).or_else(beside).expect("a target folder");
    assert!(path.is_file(), "no hub at {}: run `cargo build -p towncrier` first, or tests/run", path.display());
    path
}

/// A run of the `towncrier` binary, in an empty folder and with no configuration but what the test gives.
#[derive(Debug)]
pub struct Towncrier {
    command: Command,
    folder: tempfile::TempDir,
}

impl Towncrier {
    /// With these arguments.
    #[must_use]
    pub fn new(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut command = Command::new(binary());
        command.args(args).current_dir(&folder).stdin(Stdio::null());
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TOWNCRIER__")) {
            command.env_remove(name);
        }
        Self { command, folder }
    }

    /// Sets a configuration key by its environment variable.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.command.env(variable(key), value);
        self
    }

    /// Writes a file into the folder that the process starts in.
    #[must_use]
    pub fn file(self, name: &str, text: &str) -> Self {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("in the folder")).expect("create the folder");
        std::fs::write(path, text).expect("write the file");
        self
    }

    /// Runs it to its end.
    #[track_caller]
    #[must_use]
    pub fn run(mut self) -> Finished {
        let mut child = self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start towncrier");
        let stdout = read_all(child.stdout.take().expect("piped"));
        let stderr = read_all(child.stderr.take().expect("piped"));
        let status = wait_exit(&mut child, SOON);
        if status.is_none() {
            child.kill().expect("kill");
        }
        let (stdout, stderr) = (stdout.join().expect("stdout"), stderr.join().expect("stderr"));
        let Some(status) = status else { panic!("{:?} did not end\n{stdout}\n{stderr}", self.command) };
        Finished { code: status.code(), stdout, stderr }
    }

    /// Starts it and follows the JSON lines that it prints.
    #[track_caller]
    #[must_use]
    pub fn follow(self) -> Lines {
        Lines::start(self.command, Some(self.folder))
    }

    /// The command itself, and the folder that it starts in, which goes away with its handle.
    #[must_use]
    pub fn into_parts(self) -> (Command, tempfile::TempDir) {
        (self.command, self.folder)
    }
}

/// The environment variable of a configuration key.
pub(crate) fn variable(key: &str) -> String {
    format!("TOWNCRIER__{}", key.replace('.', "__").to_uppercase())
}

/// A process that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

impl Finished {
    /// The keys and values that `towncrier check-config` says are changed.
    #[must_use]
    pub fn settings(&self) -> Vec<(String, String)> {
        let pairs = self.stdout.lines().filter_map(|line| line.split_once("  # ")?.0.split_once(" = "));
        pairs.map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned())).collect()
    }
}

/// A running program that prints one JSON value a line.
#[derive(Debug)]
pub struct Lines {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    program: String,
    _folder: Option<tempfile::TempDir>,
}

impl Lines {
    #[track_caller]
    pub(crate) fn start(mut command: Command, folder: Option<tempfile::TempDir>) -> Self {
        let program = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; tests/run installs what the tests need"));
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let stdin = child.stdin.take();
        let (line, lines) = mpsc::sync_channel(LINES_WAITING);
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|text| line.send(text)));
        Self { child, stdin, lines, program, _folder: folder }
    }

    /// The next line.
    ///
    /// # Panics
    /// When the program ends or says nothing for `within`.
    #[track_caller]
    pub fn next(&mut self, within: Duration) -> Value {
        match self.lines.recv_timeout(within) {
            Ok(text) => {
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text:?} of {}", self.program))
            }
            Err(RecvTimeoutError::Timeout) => {
                panic!("no line within {within:?} from {}", self.program)
            }
            Err(RecvTimeoutError::Disconnected) => {
                panic!("{:?} was the end of {}", self.child.wait(), self.program)
            }
        }
    }

    /// The first line from here on that `wanted` accepts.
    #[track_caller]
    pub fn find(&mut self, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let deadline = Instant::now() + SOON;
        loop {
            let line = self.next(deadline.saturating_duration_since(Instant::now()));
            if wanted(&line) {
                return line;
            }
        }
    }

    /// Sends a line to the program.
    pub(crate) fn tell(&mut self, line: &Value) {
        let stdin = self.stdin.as_mut().expect("piped");
        writeln!(stdin, "{line}").unwrap_or_else(|error| panic!("{error}: {}", self.program));
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        send(&self.child, signal);
    }

    /// Waits for the program to end.
    #[track_caller]
    pub fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        wait_exit(&mut self.child, within).unwrap_or_else(|| panic!("still running after {within:?}: {}", self.program))
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // A program that reads commands ends, and tidies up, when there are no more.
        self.stdin = None;
        if wait_exit(&mut self.child, Duration::from_secs(2)).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

pub(crate) fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process id");
    rustix::process::kill_process(pid, signal).expect("send a signal");
}

pub(crate) fn wait_exit(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + within;
    loop {
        match child.try_wait().expect("wait for a child") {
            None if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
            ended => return ended,
        }
    }
}

fn read_all(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        let _ = pipe.read_to_string(&mut text);
        text
    })
}
