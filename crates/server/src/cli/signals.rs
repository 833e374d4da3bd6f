//! Ending a client's sub-command by a signal.

use std::{
    future::poll_fn,
    io, process,
    sync::{Mutex, TryLockError},
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

/// How long a signal waits for the line that is being written.
const LINE_WAIT: Duration = Duration::from_millis(500);

/// From now on SIGINT and SIGTERM end the process with success, between two lines of output: `output` is held while a
/// line is written. A reader of the output that does not read cannot hold the end up.
///
/// # Errors
/// If the system refuses a handler.
pub(super) fn exit_on_signal(output: &'static Mutex<()>) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(poll_fn(|context| {
            let either = interrupt.poll_recv(context).is_ready() || terminate.poll_recv(context).is_ready();
            if either { Poll::Ready(()) } else { Poll::Pending }
        }));
        let deadline = Instant::now() + LINE_WAIT;
        while matches!(output.try_lock(), Err(TryLockError::WouldBlock)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        process::exit(0);
    })?;
    Ok(())
}
