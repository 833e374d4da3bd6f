//! Ending all sessions of a worker, not all at once: those who come back must not come back all at once.

use std::time::Duration;

use towncrier_wire::CloseReason;

use super::{Rooms, tell};
use crate::messages::{End, SessionKey};

/// Sessions that are yet to end.
#[derive(Debug)]
pub(super) struct Ending {
    /// In the order in which they end, the first one last.
    keys: Vec<SessionKey>,
    per_tick: usize,
    reason: CloseReason,
}

impl Rooms {
    /// Begins to end all sessions, one of so many workers'.
    pub(super) fn end_all(&mut self, reason: CloseReason, workers: usize) {
        let mut keys: Vec<_> = self.local.sessions.borrow().iter().map(|(_, shared)| shared.key).collect();
        fastrand::shuffle(&mut keys);
        let options = &self.local.options;
        let a_second = Self::ticks(Duration::from_secs(1));
        let (window, count) = (Self::ticks(options.end_window), keys.len() as u64);
        let share = u64::from(options.ends_per_second).div_ceil(workers.max(1) as u64).max(1);
        let at_rate = share.div_ceil(a_second);
        let per_tick = at_rate.max(count.div_ceil(window));
        // What does not fit into the window at the rate that others can bear, clients wait for at home.
        let late = (count / share).saturating_sub(options.end_window.as_secs());
        self.local.retry_spread.set(Duration::from_secs(late));
        self.ending = Some(Ending { keys, per_tick: usize::try_from(per_tick).unwrap_or(usize::MAX), reason });
        self.end_some();
    }

    /// The next ones; at the end, whoever has come meanwhile.
    pub(super) fn end_some(&mut self) {
        let Some(ending) = &mut self.ending else { return };
        let from = ending.keys.len().saturating_sub(ending.per_tick);
        let now: Vec<_> = ending.keys.drain(from..).collect();
        let (reason, over) = (ending.reason, ending.keys.is_empty());
        for shared in now.into_iter().filter_map(|key| self.local.session(key)) {
            tell(&shared, End(reason));
        }
        if over {
            self.local.sessions.borrow().iter().for_each(|(_, shared)| tell(shared, End(reason)));
        }
    }
}
