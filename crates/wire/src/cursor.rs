//! Cursors: how far a session has read, one event id for each partition that its selectors touch.

use std::fmt;

use crate::{
    EventId, Partition, Partitions,
    limits::{CURSOR_BYTES_MAX, PARTITIONS_MAX},
};

/// Not a cursor of this hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a cursor of this hub")]
pub struct CursorError;

/// The newest event id that something has seen of each partition; [`EventId::ZERO`] where none.
pub type Heads = [EventId; PARTITIONS_MAX];

/// A position in the hub's events. Partitions that it says nothing about are `None`: the session's selectors do not
/// touch them.
///
/// With one partition its text is the event id itself. With more it is their number and one base-36 id for each, empty
/// where there is none: `3~mxq4u3sb-0~~mxq4u3sc-2`. The alphabet and the length are those that Fetch safelists for
/// `Last-Event-ID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    partitions: Partitions,
    ids: [Option<EventId>; PARTITIONS_MAX],
}

impl Cursor {
    /// A cursor that says nothing yet.
    #[must_use]
    pub const fn empty(partitions: Partitions) -> Self {
        Self { partitions, ids: [None; PARTITIONS_MAX] }
    }

    /// The same id in every partition.
    #[must_use]
    pub fn everywhere(partitions: Partitions, id: EventId) -> Self {
        let mut cursor = Self::empty(partitions);
        cursor.ids[..partitions.count()].fill(Some(id));
        cursor
    }

    /// The id of a partition.
    #[must_use]
    pub fn get(&self, partition: Partition) -> Option<EventId> {
        self.ids[partition.index()]
    }

    /// Sets the id of a partition.
    pub fn set(&mut self, partition: Partition, id: EventId) {
        self.ids[partition.index()] = Some(id);
    }

    /// How many partitions the hub has that this cursor belongs to.
    #[must_use]
    pub fn partitions(&self) -> Partitions {
        self.partitions
    }

    /// Reads a cursor's text. A plain event id is taken in every hub: as a position in time it holds for each partition.
    ///
    /// # Errors
    /// If it is malformed or of a hub with another number of partitions.
    pub fn parse(text: &str, partitions: Partitions) -> Result<Self, CursorError> {
        if text.len() > CURSOR_BYTES_MAX {
            return Err(CursorError);
        }
        let Some((count, rest)) = text.split_once('~') else {
            let id = text.parse().map_err(|_| CursorError)?;
            return Ok(Self::everywhere(partitions, id));
        };
        if partitions == Partitions::ONE || count != partitions.count().to_string() {
            return Err(CursorError);
        }
        let mut cursor = Self::empty(partitions);
        let mut parts = rest.split('~');
        for partition in partitions.iter() {
            let part = parts.next().ok_or(CursorError)?;
            if !part.is_empty() {
                cursor.set(partition, parse36(part).ok_or(CursorError)?);
            }
        }
        if parts.next().is_some() { Err(CursorError) } else { Ok(cursor) }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.partitions == Partitions::ONE {
            return self.ids[0].unwrap_or(EventId::ZERO).fmt(f);
        }
        write!(f, "{}", self.partitions.count())?;
        for id in &self.ids[..self.partitions.count()] {
            f.write_str("~")?;
            if let Some(id) = id {
                write36(f, id.ms())?;
                f.write_str("-")?;
                write36(f, id.seq())?;
            }
        }
        Ok(())
    }
}

fn write36(f: &mut fmt::Formatter<'_>, mut number: u64) -> fmt::Result {
    let mut digits = [0; 13];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize];
        number /= 36;
        if number == 0 {
            break;
        }
    }
    digits[start..].iter().try_for_each(|&digit| fmt::Write::write_char(f, char::from(digit)))
}

fn parse36(text: &str) -> Option<EventId> {
    let (ms, seq) = text.split_once('-')?;
    let number = |digits: &str| {
        let canonical = digits == "0" || !digits.starts_with('0');
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
        if canonical && plain { u64::from_str_radix(digits, 36).ok() } else { None }
    };
    EventId::new(number(ms)?, number(seq)?)
}

/// Where a session wants to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Live events only.
    Live,
    /// The newest events of each topic first, this many.
    Last(u32),
    /// All that is retained first.
    Earliest,
    /// After a cursor.
    After(Cursor),
    /// It came with something that is no cursor of this hub: what it missed cannot be known.
    Unknown,
    /// The hub had ended its stream for good.
    Closed,
}

impl Start {
    /// The cursor text that asks for all that is retained.
    pub const EARLIEST: &str = "earliest";

    /// The cursor text that the hub gives to a session that it ends for good.
    pub const CLOSED: &str = "closed";

    /// Takes the cursor text of a request: never an error, see [`Start::Unknown`].
    #[must_use]
    pub fn from_cursor(text: &str, partitions: Partitions) -> Self {
        match text {
            Self::EARLIEST => Self::Earliest,
            Self::CLOSED => Self::Closed,
            _ => Cursor::parse(text, partitions).map_or(Self::Unknown, Self::After),
        }
    }
}
