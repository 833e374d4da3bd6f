//! What the processes say, line by line, with the name of each before it, on standard error.
//!
//! A process that logs must never wait for a terminal that does not scroll: lines that find the queue full are counted
//! in place of being shown.

use std::{
    collections::VecDeque,
    env,
    fmt::Display,
    io::{self, BufRead as _, BufReader, IsTerminal as _, PipeReader, Read as _, Write as _},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// Lines of processes that may wait to be shown.
const LINES_MAX: usize = 4096;
/// Lines of our own that may wait beyond those: few, and none may be lost to others' talk.
const OWN_LINES_MAX: usize = LINES_MAX + 256;
/// Longest line, in bytes; the rest of a longer one is shown as the next.
const LINE_BYTES_MAX: u64 = 16 << 10;

const NAME_WIDTH: usize = 8;
/// Those that can be read on dark and on light, for one process after the other; red is for what is wrong.
const COLOURS: [u8; 5] = [36, 33, 35, 34, 32];
const RED: u8 = 31;
const BOLD: u8 = 1;

/// The log of all.
#[derive(Clone, Debug)]
pub(super) struct Logs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    colours: bool,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<String>,
    /// Lines that were not taken since the last that was.
    unseen: u64,
    /// Pipes that have not ended.
    followed: usize,
    closed: bool,
    written: bool,
}

impl Logs {
    /// Begins to show.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(super) fn start() -> io::Result<Self> {
        let colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none();
        let logs = Self(Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new(), colours }));
        let shared = logs.0.clone();
        thread::Builder::new().name("log".into()).spawn(move || shared.write())?;
        Ok(logs)
    }

    /// Shows what comes out of a pipe until it ends. Processes with different numbers differ in colour.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(super) fn follow(&self, name: impl Display, number: usize, pipe: PipeReader) -> io::Result<()> {
        let prefix = self.prefix(name, COLOURS[number % COLOURS.len()]);
        let followed = Followed::new(self.0.clone());
        thread::Builder::new().name("log".into()).spawn(move || {
            let shared = &followed.0;
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while matches!(pipe.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line), Ok(1..)) {
                shared.push(format!("{prefix}{}\n", String::from_utf8_lossy(&line).trim_end()), LINES_MAX);
                line.clear();
            }
        })?;
        Ok(())
    }

    /// Shows something of our own.
    pub(super) fn say(&self, text: impl Display) {
        self.0.push(format!("{}{text}\n", self.prefix("cluster", BOLD)), OWN_LINES_MAX);
    }

    /// Shows something of our own that is wrong.
    pub(super) fn warn(&self, text: impl Display) {
        let text = self.painted(RED, text);
        self.say(text);
    }

    /// Waits until all that was said is shown, but for its end and its display no longer than `within` each.
    pub(super) fn close(&self, within: Duration) {
        let mut queue = self.0.wait(self.0.queue(), within, |queue| queue.followed > 0);
        queue.closed = true;
        self.0.changed.notify_all();
        drop(self.0.wait(queue, within, |queue| !queue.written));
    }

    fn prefix(&self, name: impl Display, colour: u8) -> String {
        let name = format!("{name:<NAME_WIDTH$} |");
        format!("{} ", self.painted(colour, name))
    }

    fn painted(&self, colour: u8, text: impl Display) -> String {
        if self.0.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_string() }
    }
}

impl Shared {
    fn push(&self, line: String, most: usize) {
        let mut queue = self.queue();
        if queue.lines.len() < most && !queue.closed {
            if queue.unseen > 0 {
                let unseen = std::mem::take(&mut queue.unseen);
                queue.lines.push_back(format!("... {unseen} lines were not shown\n"));
            }
            queue.lines.push_back(line);
            self.changed.notify_all();
        } else {
            queue.unseen += 1;
        }
    }

    fn write(&self) {
        loop {
            let waited = self.changed.wait_while(self.queue(), |queue| queue.lines.is_empty() && !queue.closed);
            let mut queue = waited.unwrap_or_else(PoisonError::into_inner);
            let Some(line) = queue.lines.pop_front() else {
                queue.written = true;
                self.changed.notify_all();
                return;
            };
            drop(queue);
            // Nobody may be reading any more, which is no reason to stop.
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }

    fn wait<'a>(
        &self,
        queue: MutexGuard<'a, Queue>,
        within: Duration,
        condition: impl Fn(&Queue) -> bool,
    ) -> MutexGuard<'a, Queue> {
        let waited = self.changed.wait_timeout_while(queue, within, |queue| condition(queue));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a pipe until it has ended.
#[derive(Debug)]
struct Followed(Arc<Shared>);

impl Followed {
    fn new(shared: Arc<Shared>) -> Self {
        shared.queue().followed += 1;
        Self(shared)
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.0.queue().followed -= 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_not_taken_are_counted_and_own_lines_still_are() {
        let shared = Shared { queue: Mutex::default(), changed: Condvar::new(), colours: false };
        for number in 0..LINES_MAX + 3 {
            shared.push(number.to_string(), LINES_MAX);
        }
        shared.push("own".into(), OWN_LINES_MAX);
        let queue = shared.queue();
        assert_eq!(queue.lines.len(), LINES_MAX + 2);
        assert_eq!(queue.lines[LINES_MAX], "... 3 lines were not shown\n");
        assert_eq!(queue.lines[LINES_MAX + 1], "own");
    }
}
