//! A Redis of a test's own.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{SOON, eventually, ports};

/// A `redis-server` process; it is killed when the test is over.
#[derive(Debug)]
pub struct Redis {
    addr: SocketAddr,
    durable: bool,
    child: Option<Child>,
    folder: TempDir,
}

impl Redis {
    /// One that keeps nothing across a restart.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::with(false)
    }

    /// One that has on disk whatever it has acknowledged.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn durable() -> Self {
        Self::with(true)
    }

    fn with(durable: bool) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut redis = Self { addr: ports::free(), durable, child: None, folder };
        redis.restart();
        redis
    }

    /// For `backplane.redis.url`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// Says something to it, and gives the first line of the answer.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn command(&self, line: &str) -> String {
        let mut stream = TcpStream::connect(self.addr).expect("connect to redis");
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        stream.write_all(format!("{line}\r\n").as_bytes()).expect("send");
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).expect("an answer");
        answer
    }

    /// Ends it the hard way.
    ///
    /// # Panics
    /// When it was not running.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("running");
        child.kill().expect("kill redis-server");
        child.wait().expect("its end");
    }

    /// Starts it again where it was, with what it has on disk.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        let log = File::create(self.folder.path().join("log")).expect("create the log");
        let port = self.addr.port().to_string();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port, "--save", ""]).current_dir(&self.folder);
        if self.durable {
            command.args(["--appendonly", "yes", "--appendfsync", "always"]);
        }
        command.stdin(Stdio::null()).stdout(log).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("redis-server is installed"));
        eventually("redis answers", SOON, || TcpStream::connect(self.addr).map(drop));
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
