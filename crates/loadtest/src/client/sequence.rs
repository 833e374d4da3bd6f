//! Checks that one subscriber gets every event of its topic once and in order, in 16 bytes a subscriber.

/// What a sequence number says about the delivery that carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The one that was due.
    InOrder,
    /// A later one: these many in between are missing so far.
    Ahead {
        /// How many.
        missing: u64,
    },
    /// One that had been counted as missing: out of order, not lost.
    Late,
    /// One that had come before.
    Duplicate,
}

/// What one subscriber has seen of its topic's sequence, which starts at 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sequence {
    next: u64,
    /// Bit `n` is set if `next - 1 - n` was seen: tells a late event from a repeated one for the last 64.
    seen: u64,
}

impl Sequence {
    pub(crate) fn new() -> Self {
        Self::after(0)
    }

    /// One that has everything up to `number`.
    pub(crate) fn after(number: u64) -> Self {
        // What lies before the start counts as seen: it is none of the missing.
        Self { next: number + 1, seen: u64::MAX }
    }

    /// The number that is due next.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Takes in a delivery. One that is more than 64 behind counts as a duplicate, for want of memory.
    #[inline]
    pub(crate) fn observe(&mut self, sequence: u64) -> Verdict {
        if sequence == self.next {
            self.next += 1;
            self.seen = self.seen << 1 | 1;
            return Verdict::InOrder;
        }
        if sequence > self.next {
            let missing = sequence - self.next;
            self.seen = u32::try_from(missing + 1).ok().and_then(|by| self.seen.checked_shl(by)).unwrap_or(0) | 1;
            self.next = sequence + 1;
            return Verdict::Ahead { missing };
        }
        let bit = u32::try_from(self.next - 1 - sequence).ok().and_then(|by| 1u64.checked_shl(by)).unwrap_or(0);
        if bit != 0 && self.seen & bit == 0 {
            self.seen |= bit;
            Verdict::Late
        } else {
            Verdict::Duplicate
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sequences: &[u64], expected: &[Verdict]) {
        let mut sequence = Sequence::new();
        let verdicts: Vec<_> = sequences.iter().map(|number| sequence.observe(*number)).collect();
        assert_eq!(verdicts, expected, "{sequences:?}");
    }

    #[test]
    fn each_kind_of_fault() {
        use Verdict::{Ahead, Duplicate, InOrder, Late};
        check(&[1, 2, 3], &[InOrder; 3]);
        check(&[2, 3], &[Ahead { missing: 1 }, InOrder]);
        check(&[1, 1, 2, 1], &[InOrder, Duplicate, InOrder, Duplicate]);
        check(&[1, 3, 2, 2, 4], &[InOrder, Ahead { missing: 1 }, Late, Duplicate, InOrder]);
        check(&[0], &[Duplicate]);
        check(&[64, 1, 65, 1], &[Ahead { missing: 63 }, Late, InOrder, Duplicate]);
        check(&[66, 1, 2, 3], &[Ahead { missing: 65 }, Duplicate, Duplicate, Late]);
        check(&[u64::MAX - 1, 5], &[Ahead { missing: u64::MAX - 2 }, Duplicate]);
    }

    #[test]
    fn agrees_with_a_set_that_remembers_everything() {
        // Every order, with repeats, of five deliveries out of four numbers.
        for code in 0..4u64.pow(5) {
            let mut sequence = Sequence::new();
            let (mut seen, mut missing) = (std::collections::BTreeSet::new(), 0);
            for place in 0..5 {
                let number = code / 4u64.pow(place) % 4 + 1;
                let newest = seen.last().copied().unwrap_or(0);
                let expected = match number {
                    _ if seen.contains(&number) => Verdict::Duplicate,
                    _ if number == newest + 1 => Verdict::InOrder,
                    _ if number > newest => Verdict::Ahead { missing: number - newest - 1 },
                    _ => Verdict::Late,
                };
                seen.insert(number);
                let verdict = sequence.observe(number);
                assert_eq!(verdict, expected, "code {code}, place {place}");
                match verdict {
                    Verdict::Ahead { missing: more } => missing += more,
                    Verdict::Late => missing -= 1,
                    Verdict::InOrder | Verdict::Duplicate => {}
                }
            }
            assert_eq!(missing, sequence.next() - 1 - seen.len() as u64, "code {code}");
        }
    }
}
