//! Event ids and cursors, read from their text without the hub's code.

use std::fmt;

/// How many partitions the audited hub has.
pub const PARTITIONS: usize = 3;

const SEQ_BITS: u32 = 20;

/// An event id, `ms-seq`, as one number of the same order. Zero stands for "none yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(u64);

impl Id {
    /// Reads `1795161600123-0`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::read(text, 10)
    }

    /// The first of a millisecond since 1970.
    ///
    /// # Panics
    /// When that is beyond all ids.
    #[must_use]
    pub fn first_of(ms: u128) -> Self {
        let ms = u64::try_from(ms).ok().filter(|ms| *ms < 1 << (64 - SEQ_BITS));
        Self(ms.expect("a time of this age") << SEQ_BITS)
    }

    fn read(text: &str, radix: u32) -> Option<Self> {
        let (ms, seq) = text.split_once('-')?;
        let (ms, seq) = (u64::from_str_radix(ms, radix).ok()?, u64::from_str_radix(seq, radix).ok()?);
        (ms < 1 << (64 - SEQ_BITS) && seq < 1 << SEQ_BITS).then_some(Self(ms << SEQ_BITS | seq))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0 >> SEQ_BITS, self.0 & ((1 << SEQ_BITS) - 1))
    }
}

/// A cursor: an id for each partition, zero where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(pub [Id; PARTITIONS]);

impl Cursor {
    /// Reads `3~mxq4u3sb-0~~mxq4u3sc-2`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('~');
        if parts.next()?.parse() != Ok(PARTITIONS) {
            return None;
        }
        let mut cursor = Self::default();
        for id in &mut cursor.0 {
            let part = parts.next()?;
            if !part.is_empty() {
                *id = Id::read(part, 36)?;
            }
        }
        parts.next().is_none().then_some(cursor)
    }

    /// Partitions in which this one is before another.
    pub fn behind(self, other: Self) -> impl Iterator<Item = usize> {
        (0..PARTITIONS).filter(move |&partition| self.0[partition] < other.0[partition])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_their_order_and_text() {
        let [small, large] = ["1795161600123-9", "1795161600124-0"].map(|text| Id::parse(text).expect("an id"));
        assert!(small < large);
        assert_eq!(small.to_string(), "1795161600123-9");
        assert_eq!(Id::parse("12"), None);
    }

    #[test]
    fn cursors_have_an_id_for_each_partition() {
        let cursor = Cursor::parse("3~mxq4u3sb-0~~mxq4u3sc-2").expect("a cursor");
        assert_eq!(cursor.0[1], Id::default());
        assert!(cursor.0[0] < cursor.0[2]);
        assert_eq!(Cursor::parse("2~mxq4u3sb-0~"), None);
        assert_eq!(Cursor::parse("1795161600123-9"), None);
    }
}
