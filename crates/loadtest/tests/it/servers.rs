//! The floor in a thread, and targets at it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use towncrier_loadtest::{Floor, Target, Traffic};

/// A floor server in a thread, stopped when dropped.
pub(crate) struct RunningFloor {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl RunningFloor {
    pub(crate) fn start(coalesce: bool) -> Self {
        let floor = Floor::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), coalesce).expect("a free port");
        let mut floor = floor.remember(1_000);
        let port = floor.port().expect("the port");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || floor.run(Duration::from_secs(60), &stopped).expect("the floor runs"));
        Self { port, stop, thread: Some(thread) }
    }

    pub(crate) fn target(&self) -> Target {
        target(self.port)
    }
}

impl Drop for RunningFloor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))), "the floor thread panicked");
    }
}

/// A server of this process.
pub(crate) fn target(port: u16) -> Target {
    let mut target = Target::new(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    target.server_pid = vec![std::process::id()];
    target.sources = 2;
    target.connect_timeout = Duration::from_secs(10);
    target.output.quiet = true;
    target
}

/// A third of a second of it, with room for all of its publishes: however slow the machine, each goes out.
pub(crate) fn short() -> Traffic {
    Traffic {
        seconds: Duration::from_millis(300),
        warmup: Duration::from_millis(100),
        publishers: 2,
        pipeline: 64,
        ..Traffic::default()
    }
}
