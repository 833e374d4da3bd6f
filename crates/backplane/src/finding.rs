//! What a node finds around it: nothing that keeps it from working, but what its operator should know.

use std::fmt;

/// Something that should be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whose it is: this machine, or a server by its address.
    pub place: String,
    /// The setting or the fact, by the name that an operator knows it by.
    pub what: String,
    /// How it is.
    pub found: String,
    /// How it should be.
    pub wanted: String,
    /// Why, and what to do.
    pub todo: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, what, found, wanted, todo } = self;
        write!(f, "{place}: {what} is {found}, and should be {wanted}: {todo}")
    }
}

/// What could not be found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unchecked {
    /// As in [`Finding`].
    pub place: String,
    /// What was to be checked.
    pub what: String,
    /// What was in the way.
    pub why: String,
}

impl fmt::Display for Unchecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: could not check {}: {}", self.place, self.what, self.why)
    }
}

/// All that was found at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// What should be changed.
    pub findings: Vec<Finding>,
    /// What nobody knows.
    pub unchecked: Vec<Unchecked>,
}
