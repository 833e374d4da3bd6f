//! The watchdog: a thread of its own that looks whether the others go on.
//!
//! What stands still is said by `/health`, the log and the metrics. What does not come back ends the process, so that
//! whoever supervises it starts it anew; its clients resume elsewhere. Nothing here may wait for what may stand still, so
//! lines for the log, which may be a pipe that nobody reads, are written by one more thread.

use std::{
    io, process,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use towncrier_actors::{Change, Hub};

/// What the process ends with when something stands still: an internal error, in the codes of sysexits.h.
pub(crate) const EXIT_STALLED: i32 = 70;

/// How often it looks, at least and at most.
const LOOKS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Lines that wait to be written; more are left out.
const LINES_MAX: usize = 64;

/// How long the last line may take.
const LAST_LINE_WAIT: Duration = Duration::from_secs(1);

/// Looks for as long as it is kept.
pub(super) struct Watchdog {
    _alive: SyncSender<()>,
}

enum Line {
    Changed(Change),
    /// The last one, after which the process ends: told when it is written.
    Last(String, Duration, SyncSender<()>),
}

impl Watchdog {
    /// Starts it: after `stalled` an actor is said to stand still, after `exit` the process ends.
    ///
    /// # Errors
    /// If there can be no more threads.
    pub(super) fn start(hub: &Hub, stalled: Duration, exit: Option<Duration>) -> io::Result<Self> {
        let mut watch = hub.watch(stalled);
        let period = (stalled / 8).clamp(LOOKS.0, LOOKS.1);
        let (alive, ended) = sync_channel(1);
        let (lines, to_write) = sync_channel(LINES_MAX);
        thread::Builder::new().name("watchdog-log".into()).spawn(move || write(&to_write))?;
        thread::Builder::new().name("watchdog".into()).spawn(move || {
            while ended.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                let look = watch.look(period);
                for change in look.changes {
                    // One that does not fit is left out: the metrics have it.
                    let _ = lines.try_send(Line::Changed(change));
                }
                if let Some((name, quiet)) = look.worst
                    && exit.is_some_and(|exit| quiet >= exit)
                {
                    end(&lines, name, quiet);
                }
            }
        })?;
        Ok(Self { _alive: alive })
    }
}

fn end(lines: &SyncSender<Line>, name: String, quiet: Duration) -> ! {
    let (written, wait) = sync_channel(1);
    if lines.try_send(Line::Last(name, quiet, written)).is_ok() {
        let _ = wait.recv_timeout(LAST_LINE_WAIT);
    }
    process::exit(EXIT_STALLED)
}

fn write(lines: &Receiver<Line>) {
    for line in lines {
        match line {
            Line::Changed(Change::Stalled(name)) => tracing::error!("{name} stands still"),
            Line::Changed(Change::GoesOn(name, quiet)) => {
                tracing::warn!(seconds = quiet.as_secs_f64(), "{name} stood still and goes on");
            }
            Line::Last(name, quiet, written) => {
                let seconds = quiet.as_secs_f64();
                tracing::error!(seconds, code = EXIT_STALLED, "{name} stands still, the process ends");
                let _ = written.try_send(());
            }
        }
    }
}
