//! A Redis of a test's own: alone, as one of a primary and its replica, or as the Sentinel that watches them.

use std::{
    fs::File,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{SOON, eventually, ports, process};

/// How long one of its commands may take: a Redis that is frozen does not answer.
const ANSWER: Duration = Duration::from_secs(2);
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// What keeps on disk whatever was acknowledged.
const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// A `redis-server` process; it is killed when the test is over.
#[derive(Debug)]
pub struct Redis {
    addr: SocketAddr,
    arguments: Vec<String>,
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
        Self::with(&[])
    }

    /// One that has on disk whatever it has acknowledged.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn durable() -> Self {
        Self::with(&DURABLE)
    }

    /// A durable one that follows another. It is told so only now: when it starts again, it may have become the primary.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn replica_of(primary: &Self) -> Self {
        let replica = Self::durable();
        let answer = replica.command(&format!("REPLICAOF 127.0.0.1 {}", primary.addr.port()));
        assert!(answer.starts_with("+OK"), "{answer}");
        replica
    }

    /// A durable one that will be part of a cluster.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn clustered() -> Self {
        let bus = ports::free().port().to_string();
        let cluster = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", &bus];
        Self::with(&[&DURABLE[..], &cluster].concat())
    }

    /// A Sentinel that watches a primary by the name of `main`, and replaces it after half a second.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn sentinel(primary: &Self) -> Self {
        let (addr, watched) = (ports::free(), primary.addr.port());
        let config = format!(
            "sentinel monitor main 127.0.0.1 {watched} 1\nsentinel down-after-milliseconds main 500\n\
             sentinel failover-timeout main 3000\n"
        );
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::write(folder.path().join("sentinel.conf"), config).expect("write the configuration");
        let arguments = ["sentinel.conf", "--sentinel"].map(str::to_owned).to_vec();
        let mut sentinel = Self { addr, arguments, child: None, folder };
        sentinel.restart();
        sentinel
    }

    /// One with other arguments.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let arguments = ["--save", ""].iter().chain(arguments).map(|&argument| argument.to_owned()).collect();
        let mut redis = Self { addr: ports::free(), arguments, child: None, folder };
        redis.restart();
        redis
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// For `backplane.redis.url`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// For `backplane.redis.url`, if this is a Sentinel.
    #[must_use]
    pub fn sentinel_url(&self) -> String {
        format!("redis-sentinel://{}/0?sentinelServiceName=main", self.addr)
    }

    /// Where it writes its log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Says something to it, and gives the beginning of the answer as it is on the wire.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn command(&self, line: &str) -> String {
        self.try_command(line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// The same for one that may be away or frozen.
    ///
    /// # Errors
    /// Those of the connection; `TimedOut` or `WouldBlock` after two seconds.
    pub fn try_command(&self, line: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.addr, ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.write_all(format!("{line}\r\n").as_bytes())?;
        let mut answer = vec![0; ANSWER_BYTES_MAX];
        let count = stream.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..count]).into_owned())
    }

    /// Waits until it has all that its primary has, if it is a replica.
    ///
    /// # Panics
    /// When that does not happen.
    pub fn catches_up(&self) {
        eventually("the replica follows its primary", SOON, || {
            let info = self.try_command("INFO replication").map_err(|error| error.to_string())?;
            if info.contains("master_link_status:up") { Ok(()) } else { Err(info) }
        });
    }

    /// Keeps a replica from following its primary, while it answers everybody else: it falls behind.
    ///
    /// # Errors
    /// Those of [`Redis::try_command`].
    pub fn stop_following(&self) -> std::io::Result<()> {
        self.try_command("CONFIG SET masterauth none")?;
        self.try_command("CLIENT KILL TYPE master").map(drop)
    }

    /// Lets it follow again.
    ///
    /// # Errors
    /// Those of [`Redis::try_command`].
    pub fn follow_again(&self) -> std::io::Result<()> {
        self.try_command("CONFIG SET masterauth \"\"").map(drop)
    }

    /// Keeps it from doing anything, without closing a connection.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            process::send(child, signal);
        }
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

    /// Whether it runs, frozen or not.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// Starts it again where it was, with what it has on disk.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        let log = File::options().create(true).append(true).open(self.log()).expect("open the log");
        let mut command = Command::new("redis-server");
        command.args(&self.arguments).args(["--bind", "127.0.0.1", "--port", &self.addr.port().to_string()]);
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(log).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("redis-server is installed"));
        eventually("redis answers", SOON, || match self.try_command("PING") {
            Ok(answer) if answer.starts_with("+PONG") => Ok(()),
            Ok(answer) => Err(answer),
            Err(error) => Err(error.to_string()),
        });
    }
}

/// Joins them to a cluster in which each has its part of the slots.
///
/// # Panics
/// When it does not come up.
pub fn join_cluster(parts: &[Redis]) {
    const SLOTS: usize = 16_384;
    for (index, part) in parts.iter().enumerate() {
        let (first, end) = (index * SLOTS / parts.len(), (index + 1) * SLOTS / parts.len());
        assert!(part.command(&format!("CLUSTER ADDSLOTSRANGE {first} {}", end - 1)).starts_with("+OK"));
        if index == 0 {
            continue;
        }
        let bus = part.arguments.last().expect("the cluster's port");
        let meet = format!("CLUSTER MEET 127.0.0.1 {} {bus}", part.addr.port());
        assert!(parts[0].command(&meet).starts_with("+OK"));
    }
    let known = format!("cluster_known_nodes:{}\r", parts.len());
    for part in parts {
        eventually("the cluster is whole", SOON, || {
            let info = part.try_command("CLUSTER INFO").map_err(|error| error.to_string())?;
            if info.contains("cluster_state:ok") && info.contains(&known) { Ok(()) } else { Err(info) }
        });
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
