//! The processes of a cluster: started so that they do not outlive this one, and ended without leaving any behind.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, io,
    path::PathBuf,
    process::{self, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::{
    process::Command,
    task::{AbortHandle, JoinSet},
    time::{Instant, timeout_at},
};

use super::logs::Logs;

/// How long the kernel may take to end what was killed.
const KILL_END: Duration = Duration::from_secs(5);

/// What a process is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Redis,
    /// A node, counted from 0.
    Node(usize),
    Proxy,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redis => f.pad("redis"),
            Self::Node(index) => f.pad(&format!("node-{}", index + 1)),
            Self::Proxy => f.pad("nginx"),
        }
    }
}

/// A program with all that it is given.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<OsString>,
    /// Environment variables beside ours.
    pub(super) variables: Vec<(String, String)>,
}

/// Those that run.
#[derive(Debug)]
pub(super) struct Processes {
    towncrier: PathBuf,
    logs: Logs,
    ends: JoinSet<(Role, Pid, io::Result<ExitStatus>)>,
    running: BTreeMap<Role, (Pid, AbortHandle)>,
}

impl Processes {
    pub(super) fn new(towncrier: PathBuf, logs: Logs) -> Self {
        Self { towncrier, logs, ends: JoinSet::new(), running: BTreeMap::new() }
    }

    /// Starts a process. To be called on the main thread: the kernel ends a process when the *thread* that started it does.
    ///
    /// # Errors
    /// If the system refuses a process, a pipe or a thread.
    pub(super) fn start(&mut self, role: Role, program: &Program) -> io::Result<()> {
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new(&self.towncrier);
        command
            .args(["tether", "--parent", &process::id().to_string(), "--"])
            .arg(&program.path)
            .args(&program.arguments)
            .envs(program.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            // A Ctrl-C of the terminal goes to a whole group, but they are to stop one after the other.
            .process_group(0);
        let mut child = command.spawn()?;
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).expect("it was not waited for yet");
        let number = match role {
            Role::Redis => 0,
            Role::Proxy => 1,
            Role::Node(index) => 2 + index,
        };
        let end = self.ends.spawn(async move { (role, pid, child.wait().await) });
        self.running.insert(role, (pid, end));
        self.logs.follow(role, number, reader)
    }

    /// The next that ends, and how. Waits for ever when none runs.
    pub(super) async fn ended(&mut self) -> (Role, String) {
        let Some(ended) = self.ends.join_next().await else { return std::future::pending().await };
        let (role, pid, status) = ended.expect("waiting does not panic and is not aborted");
        self.running.remove(&role);
        // An nginx that was killed leaves its workers. The group is theirs as long as there are any.
        let _ = kill_process_group(pid, Signal::KILL);
        (role, status.map_or_else(|error| error.to_string(), |status| status.to_string()))
    }

    pub(super) fn runs(&self, role: impl Fn(Role) -> bool) -> bool {
        self.running.keys().any(|running| role(*running))
    }

    /// Sends a signal to each of these.
    pub(super) fn signal(&self, roles: impl Fn(Role) -> bool, signal: Signal) {
        for (_, (pid, _)) in self.running.iter().filter(|(role, process)| roles(**role) && is_ours(process)) {
            let _ = kill_process(*pid, signal);
        }
    }

    /// Waits for these to end; whether they did within the time.
    pub(super) async fn wait(&mut self, roles: impl Fn(Role) -> bool, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        while self.runs(&roles) {
            if timeout_at(deadline, self.ended()).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Ends those of these that are left the hard way, and gives what they were.
    pub(super) async fn kill(&mut self, roles: impl Fn(Role) -> bool) -> Vec<Role> {
        let left: Vec<Role> = self.running.keys().copied().filter(|role| roles(*role)).collect();
        for (pid, _) in left.iter().filter_map(|role| self.running.get(role)).filter(|process| is_ours(process)) {
            let _ = kill_process_group(*pid, Signal::KILL);
        }
        self.wait(roles, KILL_END).await;
        left
    }
}

/// Whether a process's number is still its own: it is until the process has been waited for.
fn is_ours((_, end): &(Pid, AbortHandle)) -> bool {
    !end.is_finished()
}
