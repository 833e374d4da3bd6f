//! What is wrong with a configuration: all of it, each with its key and where it was written.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The full name of the key; empty if a file as a whole is bad.
    pub(crate) key: String,
    /// The file, or the environment variable.
    pub(crate) origin: String,
    /// A sentence without its subject, which is the key.
    pub(crate) text: String,
}

impl Problem {
    pub(crate) fn new(key: impl Into<String>, origin: impl Into<String>, text: impl Into<String>) -> Self {
        Self { key: key.into(), origin: origin.into(), text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(f, "{}: {}", self.origin, self.text)
        } else {
            write!(f, "{}: {} ({})", self.key, self.text, self.origin)
        }
    }
}

/// Everything that is wrong, one thing a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// How alike two names must be, from 0 to 1, for one to be offered for the other.
const ALIKE: f64 = 0.7;

/// The known name that was probably meant.
pub(crate) fn did_you_mean<'n>(name: &str, known: impl Iterator<Item = &'n str> + Clone) -> Option<&'n str> {
    let name = name.to_ascii_lowercase();
    let (best, alike) = known
        .clone()
        .map(|candidate| (candidate, strsim::normalized_damerau_levenshtein(&name, candidate)))
        .max_by(|(_, left), (_, right)| left.total_cmp(right))?;
    if alike >= ALIKE {
        return Some(best);
    }
    // The right word in the wrong section.
    let last = name.rsplit('.').next()?;
    let mut same_last = known.filter(|candidate| candidate.rsplit('.').next() == Some(last));
    same_last.next().filter(|_| same_last.next().is_none())
}

/// `unknown key`, with what was probably meant.
pub(crate) fn unknown<'n>(what: &str, name: &str, known: impl Iterator<Item = &'n str> + Clone) -> String {
    match did_you_mean(name, known) {
        Some(meant) => format!("unknown {what}; did you mean `{meant}`?"),
        None => format!("unknown {what}"),
    }
}
