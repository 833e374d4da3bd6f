//! What lies in the outboxes, at no cost to members: a look at the cohorts that got something lately.

use super::Rooms;

/// To how many members an event went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Members whose outbox it was put into, each time.
    pub members: u64,
    /// Bytes of its frame, for each of them.
    pub bytes: u64,
}

impl Delivered {
    pub(super) fn add(&mut self, members: usize, frame_len: usize) {
        self.members += members as u64;
        self.bytes += members as u64 * frame_len as u64;
    }
}

/// What members have yet to take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fill {
    /// Bytes in the outboxes of all cohorts.
    pub bytes: usize,
    /// Bytes in the fullest of them: so far is its slowest member behind.
    pub bytes_max: usize,
    /// Members that have left unread what had come before the time that was asked for.
    pub behind: usize,
}

impl<T> Rooms<T> {
    /// What lies in the outboxes, and who has not read what came before `before_us`. Looks at each cohort that got something
    /// since this was last asked, or has not been read.
    pub fn fill(&mut self, before_us: u64) -> Fill {
        let mut fill = Fill::default();
        let cohorts = &mut self.cohorts;
        self.filled.retain(|id| {
            let Some(cohort) = cohorts.get_mut(id.0) else { return false };
            let bytes = cohort.outbox.bytes();
            let behind = cohort.outbox.behind(before_us);
            fill.bytes += bytes;
            fill.bytes_max = fill.bytes_max.max(bytes);
            fill.behind += behind;
            cohort.filled = bytes > 0 || behind > 0;
            cohort.filled
        });
        fill
    }
}
