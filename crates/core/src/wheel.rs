//! A hashed timing wheel: one timer for everything that a worker has to do at a time.

/// Things that are due at a time, in ticks of the caller's choosing. Nothing is ever cancelled: whoever inserted a key
/// ignores it when it comes and is no longer wanted.
#[derive(Debug)]
pub struct Wheel<K> {
    slots: Vec<Vec<(u64, K)>>,
    /// The next tick to be looked at.
    now: u64,
    len: usize,
}

impl<K> Wheel<K> {
    /// A wheel with so many slots, at the given tick. More slots make fewer keys be looked at before their time.
    #[must_use]
    pub fn new(slots: usize, now: u64) -> Self {
        Self { slots: (0..slots.max(1)).map(|_| Vec::new()).collect(), now, len: 0 }
    }

    /// How many keys it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes a key due at a tick; one that it has passed is due at the next.
    pub fn insert(&mut self, tick: u64, key: K) {
        let tick = tick.max(self.now);
        let slot = (tick % self.slots.len() as u64) as usize;
        self.slots[slot].push((tick, key));
        self.len += 1;
    }

    /// Goes on to `tick` and gives all keys that are due at or before it, in no order within a tick.
    pub fn advance(&mut self, tick: u64, due: &mut Vec<K>) {
        let slots = self.slots.len() as u64;
        // A jump of more than a whole turn looks at each slot once.
        let from = self.now.max((tick + 1).saturating_sub(slots));
        for now in from..=tick {
            let slot = &mut self.slots[(now % slots) as usize];
            let before = slot.len();
            due.extend(slot.extract_if(.., |(at, _)| *at <= tick).map(|(_, key)| key));
            self.len -= before - slot.len();
            if slot.is_empty() && slot.capacity() > 64 {
                *slot = Vec::new();
            }
        }
        self.now = self.now.max(tick + 1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Every key comes once, at the first advance that reaches its tick.
        #[test]
        fn each_key_comes_once_and_in_time(
            slots in 1..20_usize,
            steps in prop::collection::vec((1..40_u64, prop::collection::vec(0..100_u64, 0..5)), 1..40),
        ) {
            let mut wheel = Wheel::new(slots, 0);
            let mut waiting: Vec<(u64, usize)> = Vec::new();
            let (mut now, mut passed, mut key) = (0, 0, 0);
            for (step, delays) in steps {
                for delay in delays {
                    wheel.insert(now + delay, key);
                    waiting.push(((now + delay).max(passed), key));
                    key += 1;
                }
                now += step;
                let mut due = Vec::new();
                wheel.advance(now, &mut due);
                passed = now + 1;
                due.sort_unstable();
                let mut expected: Vec<_> = waiting.extract_if(.., |(at, _)| *at <= now).map(|(_, key)| key).collect();
                expected.sort_unstable();
                prop_assert_eq!(due, expected);
                prop_assert_eq!(wheel.len(), waiting.len());
            }
        }
    }
}
