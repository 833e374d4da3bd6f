//! Shares of a whole.

use std::fmt;

const WHOLE: u32 = 1_000_000;

/// From nothing to all, in millionths: a number that is equal to itself, which a float need not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share(u32);

impl Share {
    /// `None` beyond 0 and 1.
    pub(super) fn new(number: f64) -> Option<Self> {
        (0.0..=1.0).contains(&number).then(|| Self((number * f64::from(WHOLE)).round() as u32))
    }

    /// Digits, and a point with more digits behind it if need be: other numbers are written in more ways than are read here.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let plain = text.starts_with(|first: char| first.is_ascii_digit())
            && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        plain.then(|| text.parse().ok().and_then(Self::new))?
    }

    /// From 0 to 1.
    pub(crate) fn get(self) -> f64 {
        f64::from(self.0) / f64::from(WHOLE)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Six digits say all of it, and whatever is not needed of them goes.
        let text = format!("{}.{:06}", self.0 / WHOLE, self.0 % WHOLE);
        let short = text.trim_end_matches('0');
        f.write_str(short)?;
        if short.ends_with('.') { f.write_str("0") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_and_shown() {
        for (text, number, shown) in [
            ("0", 0.0, "0.0"),
            ("1", 1.0, "1.0"),
            ("0.5", 0.5, "0.5"),
            ("0.010", 0.01, "0.01"),
            ("0.000001", 0.000_001, "0.000001"),
            ("1.", 1.0, "1.0"),
        ] {
            let share = Share::parse(text).expect(text);
            assert_eq!((share.get(), share.to_string().as_str()), (number, shown), "{text}");
            assert_eq!(Share::parse(shown), Some(share));
        }
        for text in ["", ".5", "-0", "+1", "1.1", "2", "1e-3", "nan", "inf", "0x1", "0.5 ", "1.0.0"] {
            assert_eq!(Share::parse(text), None, "{text:?}");
        }
        assert_eq!(Share::new(f64::NAN), None);
    }
}
