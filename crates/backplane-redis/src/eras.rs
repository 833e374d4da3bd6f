//! Which era of each partition this node knows: see `lua/prelude.lua`.
//!
//! An answer of Redis counts only in the era in which it was asked for. Otherwise a publish that an old server stored could
//! be acknowledged after this node has handed in what it holds, and be lost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use towncrier_wire::limits::PARTITIONS_MAX;

#[derive(Debug, Default)]
pub(crate) struct Eras {
    state: Mutex<[Standing; PARTITIONS_MAX]>,
}

#[derive(Debug, Clone, Default)]
struct Standing {
    era: Option<Arc<str>>,
    /// Whether this node may use it: not while it takes part in a census.
    entered: bool,
    /// Whether a script was refused in it.
    refused: bool,
}

impl Eras {
    fn state(&self) -> MutexGuard<'_, [Standing; PARTITIONS_MAX]> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The era that this node is in, if it is in one.
    pub(crate) fn current(&self, partition: usize) -> Option<Arc<str>> {
        let state = &self.state()[partition];
        state.era.clone().filter(|_| state.entered)
    }

    /// The last one that it was in.
    pub(crate) fn last(&self, partition: usize) -> Option<Arc<str>> {
        self.state()[partition].era.clone()
    }

    /// From here on no answer of the last era counts.
    pub(crate) fn leave(&self, partition: usize) {
        self.state()[partition].entered = false;
    }

    pub(crate) fn enter(&self, partition: usize, era: &str) {
        self.state()[partition] = Standing { era: Some(era.into()), entered: true, refused: false };
    }

    /// Takes in that a script was refused in an era. Gives whether that is news.
    pub(crate) fn refuse(&self, partition: usize, era: &str) -> bool {
        let standing = &mut self.state()[partition];
        let current = standing.entered && standing.era.as_deref() == Some(era);
        current && !std::mem::replace(&mut standing.refused, true)
    }

    /// Whether an era is over that this node thinks itself in.
    pub(crate) fn is_refused(&self) -> bool {
        self.state().iter().any(|standing| standing.entered && standing.refused)
    }

    /// Does something if this node is still in an era, and gives whether it is; the era does not end meanwhile.
    pub(crate) fn within(&self, partition: usize, era: &str, act: impl FnOnce()) -> bool {
        let state = self.state();
        let standing = &state[partition];
        let within = standing.entered && standing.era.as_deref() == Some(era);
        if within {
            act();
        }
        within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_only_in_its_era() {
        let eras = Eras::default();
        assert_eq!((eras.current(0), eras.last(0)), (None, None));
        eras.enter(0, "a:1");
        assert!(eras.within(0, "a:1", || ()) && !eras.within(0, "a:2", || panic!()) && !eras.within(1, "a:1", || ()));
        eras.leave(0);
        assert!(!eras.within(0, "a:1", || panic!()));
        assert_eq!((eras.current(0), eras.last(0).as_deref()), (None, Some("a:1")));
        eras.enter(0, "a:2");
        assert!(eras.within(0, "a:2", || ()));
        assert!(!eras.refuse(0, "a:1") && !eras.is_refused());
        assert!(eras.refuse(0, "a:2") && !eras.refuse(0, "a:2") && eras.is_refused());
        eras.enter(0, "a:3");
        assert!(!eras.is_refused());
    }
}
