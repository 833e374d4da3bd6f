//! One topic of one subscriber: what has come of it, and what is still to come.

use super::sequence::{Sequence, Verdict};

/// See the module. 32 bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Track {
    pub(crate) topic: u32,
    /// It began in the middle: what was in flight then may come or not.
    joining: bool,
    /// The hub admitted to a loss: what is missing before the next delivery is accounted for.
    excused: bool,
    sequence: Sequence,
    /// What must have come before the subscriber has caught up; 0 once it has.
    goal: u64,
}

impl Track {
    /// Of a topic of which everything is to come.
    pub(crate) fn new(topic: u32) -> Self {
        Self { topic, joining: false, excused: false, sequence: Sequence::new(), goal: 0 }
    }

    /// Starts again at the newest event, whose number is `published`.
    pub(crate) fn join(&mut self, published: u64) {
        self.joining = true;
        self.excused = false;
        self.sequence = Sequence::after(published);
        self.goal = 0;
    }

    /// Takes in a delivery.
    #[inline]
    pub(crate) fn observe(&mut self, number: u64) -> Verdict {
        if self.joining || self.excused {
            if self.joining && number < self.sequence.next() || self.excused && number > self.sequence.next() {
                self.sequence = Sequence::after(number.saturating_sub(1));
            }
            (self.joining, self.excused) = (false, false);
        }
        self.sequence.observe(number)
    }

    /// The hub told of a loss.
    pub(crate) fn excuse(&mut self) {
        self.excused = true;
    }

    /// Events that should have come by now and have not, if `published` is the newest.
    pub(crate) fn behind(&self, published: u64) -> u64 {
        if self.excused { 0 } else { (published + 1).saturating_sub(self.sequence.next()) }
    }

    /// What must come before it has caught up; whether anything must.
    pub(crate) fn aim(&mut self, published: u64) -> bool {
        self.goal = if self.behind(published) > 0 { published } else { 0 };
        self.goal > 0
    }

    /// Whether the goal has been reached just now.
    #[inline]
    pub(crate) fn arrives(&mut self) -> bool {
        let arrives = self.goal > 0 && self.sequence.next() > self.goal;
        if arrives {
            self.goal = 0;
        }
        arrives
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_joins_may_get_what_was_in_flight() {
        for (first, verdict) in
            [(4, Verdict::InOrder), (5, Verdict::InOrder), (6, Verdict::InOrder), (7, Verdict::Ahead { missing: 1 })]
        {
            let mut track = Track::new(0);
            track.join(5);
            assert_eq!(track.behind(6), 1);
            assert_eq!(track.observe(first), verdict, "{first}");
            assert_eq!(track.observe(first + 1), Verdict::InOrder);
            assert_eq!(track.observe(first + 1), Verdict::Duplicate);
        }
    }

    #[test]
    fn a_loss_that_was_told_is_none_but_what_follows_counts() {
        let mut track = Track::new(0);
        track.observe(1);
        track.excuse();
        assert_eq!(track.behind(9), 0);
        assert_eq!(track.observe(5), Verdict::InOrder);
        assert_eq!(track.behind(9), 4);
        assert_eq!(track.observe(7), Verdict::Ahead { missing: 1 });
        track.excuse();
        assert_eq!(track.observe(7), Verdict::Duplicate);
    }

    #[test]
    fn a_goal_is_reached_once() {
        let mut track = Track::new(0);
        assert!(!track.aim(0));
        assert!(track.aim(2));
        track.observe(1);
        assert!(!track.arrives());
        track.observe(2);
        assert!(track.arrives() && !track.arrives());
    }
}
