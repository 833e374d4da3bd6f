//! Times and sizes with their units, and how they are read and shown.

use std::{fmt, time::Duration};

pub(super) fn parse_digits(text: &str) -> Option<u64> {
    // `parse` alone would take a sign.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((parse_digits(number)?, unit))
}

const TIME_UNITS: &[(&str, u64)] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

const BYTE_UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1000),
    ("", 1),
];

/// Reads `250ms`, `15s`, `5m`, `1h` or `1d`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let (_, millis) = TIME_UNITS.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*millis).map(Duration::from_millis)
}

/// Reads `65536`, `256KiB` or `64KB`.
pub(crate) fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let (_, bytes) = BYTE_UNITS.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*bytes)
}

/// Shows bytes with the largest unit that leaves a whole number.
pub(crate) struct ShowBytes(pub(crate) u64);

impl fmt::Display for ShowBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = |unit: &str| unit.is_empty() || unit.contains('i');
        show(f, self.0, BYTE_UNITS.iter().copied().filter(|(unit, _)| binary(unit)), "")
    }
}

/// Shows a time with the largest unit that leaves a whole number.
pub(crate) struct ShowTime(pub(crate) Duration);

impl fmt::Display for ShowTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        show(f, millis, TIME_UNITS.iter().copied(), "s")
    }
}

fn show(
    f: &mut fmt::Formatter<'_>,
    value: u64,
    mut units: impl Iterator<Item = (&'static str, u64)>,
    unit_of_zero: &str,
) -> fmt::Result {
    let fits = units.find(|(_, size)| value > 0 && value.is_multiple_of(*size));
    let (unit, size) = fits.unwrap_or((unit_of_zero, 1));
    write!(f, "{}{unit}", value / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read_and_shown() {
        for (text, millis) in
            [("0s", 0), ("250ms", 250), ("15s", 15_000), ("5m", 300_000), ("1h", 3_600_000), ("1d", 86_400_000)]
        {
            let time = parse_duration(text).expect(text);
            assert_eq!(time, Duration::from_millis(millis));
            assert_eq!(ShowTime(time).to_string(), text);
        }
        for (text, bytes) in [("0", 0), ("7", 7), ("256KiB", 256 << 10), ("1MiB", 1 << 20), ("2TiB", 2 << 40)] {
            assert_eq!(parse_bytes(text), Some(bytes));
            assert_eq!(ShowBytes(bytes).to_string(), text);
        }
        assert_eq!(parse_bytes("64KB"), Some(64_000));
        assert_eq!(ShowTime(Duration::from_secs(90)).to_string(), "90s");
        for bad in
            ["", "s", "15", "-1s", "+1s", "1.5s", "15 s", "15S", "1h30m", "99999999999999999999s", "99999999999999999d"]
        {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
        for bad in ["", "KiB", "-1", "+1", "1.5MiB", "1 MiB", "1kib", "1M", "99999999999999999999", "99999999TiB"] {
            assert_eq!(parse_bytes(bad), None, "{bad}");
        }
    }
}
