//! The servers that scenarios start: child processes on one core, killed when dropped.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::sys::Pinned;
use crate::{Error, sys};

/// Until a server that was just started must be ready.
const READY_WITHIN: Duration = Duration::from_secs(20);
const READY_POLL: Duration = Duration::from_millis(20);
/// For one look at `/ready`.
const READY_ANSWER: Duration = Duration::from_millis(500);
/// Connections that the hub is told to allow.
const HUB_CONNECTIONS_MAX: &str = "30000";
/// Until a program that was asked to end is made to.
const END_WITHIN: Duration = Duration::from_secs(3);

/// A hub of this binary on an address, with one worker, ready for many connections.
pub(crate) fn hub(program: &Path, address: SocketAddrV4) -> Command {
    let mut command = Command::new(program);
    command
        .arg("serve")
        .env("TOWNCRIER__HTTP__LISTEN", address.to_string())
        .env("TOWNCRIER__HTTP__WORKERS", "1")
        .env("TOWNCRIER__HTTP__MAX_CONNECTIONS", HUB_CONNECTIONS_MAX)
        .env("TOWNCRIER__LOG__LEVEL", "warn");
    command
}

/// Makes a hub a node of those that this Redis joins.
pub(crate) fn join(command: &mut Command, redis: SocketAddrV4) {
    command
        .env("TOWNCRIER__BACKPLANE__KIND", "redis")
        .env("TOWNCRIER__BACKPLANE__REDIS__URL", format!("redis://{redis}"));
}

/// A Redis of one's own on a core, which keeps nothing on disk.
pub(crate) fn redis(core: usize) -> Result<Server, Error> {
    let address = free_address()?;
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", "", "--appendonly", "no"]);
    let mut server = Server::start(command, address, core)?;
    server.wait_until_listening("redis-server")?;
    Ok(server)
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// It may have started others, and must end them.
    has_children: bool,
    pub(crate) address: SocketAddrV4,
}

impl Server {
    /// Starts it on a core.
    pub(crate) fn start(mut command: Command, address: SocketAddrV4, core: usize) -> Result<Self, Error> {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        sys::raise_file_limit();
        // A child starts on the cores of the thread that starts it.
        let pinned = Pinned::to(core)?;
        let program = Path::new(command.get_program()).display().to_string();
        let child = command.spawn().map_err(Error::io(format!("cannot start {program}")))?;
        drop(pinned);
        Ok(Self { child, has_children: false, address })
    }

    /// Asks it to end, and only then makes it, since it may have started others.
    pub(crate) fn with_children(mut self) -> Self {
        self.has_children = true;
        self
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its process and those that it started.
    pub(crate) fn pids(&self) -> Result<Vec<u32>, Error> {
        sys::family(self.pid())
    }

    /// Waits until it answers `GET /ready` with 200.
    pub(crate) fn wait_until_ready(&mut self, name: &str) -> Result<(), Error> {
        self.wait_until(name, |address| is_ready(address).unwrap_or(false))
    }

    /// Waits until it takes connections.
    pub(crate) fn wait_until_listening(&mut self, name: &str) -> Result<(), Error> {
        self.wait_until(name, |address| TcpStream::connect_timeout(&address.into(), READY_ANSWER).is_ok())
    }

    fn wait_until(&mut self, name: &str, look: impl Fn(SocketAddrV4) -> bool) -> Result<(), Error> {
        let started = Instant::now();
        while started.elapsed() < READY_WITHIN {
            if let Some(status) = self.child.try_wait().map_err(Error::io("wait for a child"))? {
                return Err(Error::ServerEnded { name: name.to_owned(), status });
            }
            // Not listening yet, or not ready yet: both are what this loop waits for.
            if look(self.address) {
                return Ok(());
            }
            sleep(READY_POLL);
        }
        Err(Error::Deadline { what: format!("the {name} to be ready"), limit: READY_WITHIN })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        if self.has_children {
            let _ = Pid::from_raw(self.pid().cast_signed()).map(|pid| kill_process(pid, Signal::TERM));
            let asked = Instant::now();
            while asked.elapsed() < END_WITHIN && matches!(self.child.try_wait(), Ok(None)) {
                sleep(READY_POLL);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_ready(address: SocketAddrV4) -> std::io::Result<bool> {
    const OK: &[u8] = b"HTTP/1.1 200";
    let mut stream = TcpStream::connect_timeout(&address.into(), READY_ANSWER)?;
    stream.set_read_timeout(Some(READY_ANSWER))?;
    stream.write_all(format!("GET /ready HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut status = [0; OK.len()];
    match stream.read_exact(&mut status) {
        Ok(()) => Ok(status == OK),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// A port that was free a moment ago. Another process could take it first: then the server says so and ends.
pub(crate) fn free_address() -> Result<SocketAddrV4, Error> {
    let failed = || Error::io("cannot find a free port");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed())?;
    let port = listener.local_addr().map_err(failed())?.port();
    Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}
