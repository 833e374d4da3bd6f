//! What is inside each event: enough to check its delivery and time it, padded to the size asked for.
//!
//! `SSSSSSSSSSSS TTTTTT NNNNNNNNNNNNNNN xxxx…`: the sequence number within its topic from 1, the topic's index and the
//! nanosecond (on the client's own clock) at which it was due, all decimal of fixed width. Nothing in it needs escaping in
//! JSON or ends an SSE line, so its size on the wire is its size.

const SEQUENCE_DIGITS: usize = 12;
const TOPIC_DIGITS: usize = 6;
const TIME_DIGITS: usize = 15;
const TOPIC_AT: usize = SEQUENCE_DIGITS + 1;
const TIME_AT: usize = TOPIC_AT + TOPIC_DIGITS + 1;
const FILLER: u8 = b'x';

/// Bytes that the stamp itself takes.
pub(crate) const SIZE_MIN: usize = TIME_AT + TIME_DIGITS;
/// The largest event that this tool publishes, in bytes.
pub(crate) const SIZE_MAX: usize = 1024 * 1024;
/// As many topics as the stamp has room for.
pub(crate) const TOPICS_MAX: usize = 1_000_000;

const _: () = assert!(TOPICS_MAX <= 10usize.pow(TOPIC_DIGITS as u32));

/// What stands before our data in a JSON object.
const JSON_DATA: &[u8] = b"\"data\":\"";

/// What a line of data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// One of our own events.
    Stamp(Stamp),
    /// A JSON object without our data: what a hub says for itself.
    Foreign,
    /// Not as [`Stamp::write`] made it.
    Damaged,
}

/// What one event says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Place within its topic, from 1.
    pub(crate) sequence: u64,
    /// Index of its topic.
    pub(crate) topic: u32,
    /// When it was due, in nanoseconds on the client's clock.
    pub(crate) due_ns: u64,
    /// Bytes of data in all.
    pub(crate) size: usize,
}

impl Stamp {
    /// Appends the data of the event. Takes `size` below [`SIZE_MIN`] for [`SIZE_MIN`].
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let end = out.len() + self.size.max(SIZE_MIN);
        digits(out, self.sequence, SEQUENCE_DIGITS);
        out.push(b' ');
        digits(out, u64::from(self.topic), TOPIC_DIGITS);
        out.push(b' ');
        digits(out, self.due_ns, TIME_DIGITS);
        out.resize(end, FILLER);
    }

    /// Finds the data of an event in a line of the stream: the line itself, or the string `data` of the JSON object that
    /// some hubs wrap it into.
    pub(crate) fn find(line: &[u8]) -> Found {
        let Some(b'{') = line.first() else {
            return Self::parse(line).map_or(Found::Damaged, Found::Stamp);
        };
        let Some(at) = line.windows(JSON_DATA.len()).position(|window| window == JSON_DATA) else {
            return Found::Foreign;
        };
        let data = &line[at + JSON_DATA.len()..];
        let end = data.iter().position(|byte| *byte == b'"').unwrap_or(data.len());
        Self::parse(&data[..end]).map_or(Found::Damaged, Found::Stamp)
    }

    /// Reads the data of an event back; `None` if a byte of it is not as [`Stamp::write`] made it.
    pub(crate) fn parse(data: &[u8]) -> Option<Self> {
        let (stamp, filler) = data.split_at_checked(SIZE_MIN)?;
        // Without an early exit, so that it compiles to vector code: this runs for every byte received.
        let damage = filler.iter().fold(0, |damage, byte| damage | (byte ^ FILLER));
        if damage != 0 || stamp[SEQUENCE_DIGITS] != b' ' || stamp[TIME_AT - 1] != b' ' {
            return None;
        }
        Some(Self {
            sequence: number(&stamp[..SEQUENCE_DIGITS])?,
            topic: u32::try_from(number(&stamp[TOPIC_AT..TIME_AT - 1])?).ok()?,
            due_ns: number(&stamp[TIME_AT..])?,
            size: data.len(),
        })
    }
}

fn digits(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    for digit in out[start..].iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value: u64, byte| byte.is_ascii_digit().then(|| value * 10 + u64::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { sequence: 42, topic: 7, due_ns: 123_456_789, size: 100 };

    #[test]
    fn reads_back_what_it_wrote() {
        for size in [SIZE_MIN, SIZE_MIN + 1, 100, 4096] {
            let stamp = Stamp { size, ..STAMP };
            let mut data = Vec::new();
            stamp.write(&mut data);
            assert_eq!(data.len(), size);
            assert_eq!(Stamp::parse(&data), Some(stamp));
        }
    }

    #[test]
    fn sees_a_changed_byte_anywhere() {
        let mut data = Vec::new();
        STAMP.write(&mut data);
        for at in 0..data.len() {
            let mut damaged = data.clone();
            damaged[at] = b'#';
            assert_eq!(Stamp::parse(&damaged), None, "byte {at}");
        }
        assert_eq!(Stamp::parse(&data[..SIZE_MIN - 1]), None);
    }

    #[test]
    fn finds_itself_in_json() {
        let mut data = Vec::new();
        STAMP.write(&mut data);
        assert_eq!(Stamp::find(&data), Found::Stamp(STAMP));
        let wrapped = [b"{\"channel\":\"t\",\"pub\":{\"data\":\"", data.as_slice(), b"\"}}"].concat();
        assert_eq!(Stamp::find(&wrapped), Found::Stamp(STAMP));
        assert_eq!(Stamp::find(b"{\"connect\":{\"ping\":25}}"), Found::Foreign);
        assert_eq!(Stamp::find(b"{\"data\":\"000\"}"), Found::Damaged);
        assert_eq!(Stamp::find(b"hello"), Found::Damaged);
    }
}
