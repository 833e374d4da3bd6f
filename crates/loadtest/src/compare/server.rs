//! The servers that `compare` starts: child processes on one core, killed when dropped.

use std::ffi::OsString;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::args::{CompareArgs, Subject};
use crate::sys::Pinned;
use crate::{Error, sys};

/// Until a server that was just started must be ready.
const READY_WITHIN: Duration = Duration::from_secs(20);
const READY_POLL: Duration = Duration::from_millis(20);
/// For one look at `/ready`.
const READY_ANSWER: Duration = Duration::from_millis(500);
/// Connections that the hub is told to allow.
const HUB_CONNECTIONS_MAX: &str = "30000";

/// How to start a server.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) name: &'static str,
    program: PathBuf,
    kind: Subject,
    /// What stands before our own scenario's name on the command line: nothing, or the sub-command that leads here.
    prefix: Vec<OsString>,
    core: usize,
}

impl Launch {
    /// The yardstick.
    pub(super) fn floor(args: &CompareArgs) -> Result<Self, Error> {
        Self::new(args, Subject::Floor)
    }

    /// What is held against it.
    pub(super) fn subject(args: &CompareArgs) -> Result<Self, Error> {
        Self::new(args, args.subject)
    }

    fn new(args: &CompareArgs, kind: Subject) -> Result<Self, Error> {
        let this = || std::env::current_exe().map_err(Error::io("own executable"));
        let (name, program) = match kind {
            Subject::Hub => ("hub", args.hub.clone().map_or_else(this, Ok)?),
            Subject::Coalesce => ("coalescing floor", this()?),
            Subject::Floor => ("floor", this()?),
        };
        // This process was started with `[prefix…] compare …`, so `[prefix…] floor` starts the floor.
        let prefix = std::env::args_os().skip(1).take_while(|arg| arg != "compare").collect();
        Ok(Self { name, program, kind, prefix, core: args.server_core })
    }

    /// Starts the server on its core and waits until it is ready.
    pub(super) fn start(&self) -> Result<Server, Error> {
        let address = free_address()?;
        let mut command = Command::new(&self.program);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        if self.kind == Subject::Hub {
            command
                .arg("serve")
                .env("TOWNCRIER__HTTP__LISTEN", address.to_string())
                .env("TOWNCRIER__HTTP__WORKERS", "1")
                .env("TOWNCRIER__HTTP__MAX_CONNECTIONS", HUB_CONNECTIONS_MAX)
                .env("TOWNCRIER__LOG__LEVEL", "warn");
        } else {
            command.args(&self.prefix).arg("floor").arg("--listen").arg(address.to_string());
            if self.kind == Subject::Coalesce {
                command.arg("--coalesce");
            }
        }
        sys::raise_file_limit();
        // A child starts on the cores of the thread that starts it.
        let pinned = Pinned::to(self.core)?;
        let child = command.spawn().map_err(Error::io(format!("cannot start {}", self.program.display())))?;
        drop(pinned);
        let mut server = Server { child, address };
        server.wait_until_ready(self.name)?;
        Ok(server)
    }
}

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddrV4,
}

impl Server {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_ready(&mut self, name: &str) -> Result<(), Error> {
        let started = Instant::now();
        while started.elapsed() < READY_WITHIN {
            if let Some(status) = self.child.try_wait().map_err(Error::io("wait for a child"))? {
                return Err(Error::ServerEnded { name: name.to_owned(), status });
            }
            // Not listening yet, or not ready yet: both are what this loop waits for.
            if is_ready(self.address).unwrap_or(false) {
                return Ok(());
            }
            sleep(READY_POLL);
        }
        Err(Error::Deadline { what: format!("GET /ready of the {name}"), limit: READY_WITHIN })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
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
fn free_address() -> Result<SocketAddrV4, Error> {
    let failed = || Error::io("cannot find a free port");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed())?;
    let port = listener.local_addr().map_err(failed())?.port();
    Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}
