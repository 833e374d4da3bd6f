//! Short texts from clients that must not break a line-based format.

use std::{fmt, sync::Arc};

use crate::limits;

/// Why a text was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing in it.
    #[error("must not be empty")]
    Empty,
    /// Longer than its bound.
    #[error("must be at most {max} bytes")]
    TooLong {
        /// The bound in bytes.
        max: usize,
    },
    /// CR, LF, NUL or another control character.
    #[error("must not contain a control character")]
    Control,
    /// A control event's type.
    #[error("is reserved for the hub's own events")]
    Reserved,
}

/// Checks what all short texts have in common: 1 to `max` bytes, no control characters.
pub(crate) fn check(text: &str, max: usize) -> Result<(), TextError> {
    if text.is_empty() {
        return Err(TextError::Empty);
    }
    if text.len() > max {
        return Err(TextError::TooLong { max });
    }
    if text.chars().any(char::is_control) {
        return Err(TextError::Control);
    }
    Ok(())
}

/// Event types that only the hub sends.
const RESERVED: [&str; 4] = ["connected", "heartbeat", "gap", "close"];

/// The type of an event: what the SSE `event:` field carries.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventType(Arc<str>);

impl EventType {
    /// Takes a publisher's event type.
    ///
    /// # Errors
    /// If it is empty, longer than [`limits::EVENT_TYPE_BYTES_MAX`], has control characters or is a control event's.
    pub fn new(text: &str) -> Result<Self, TextError> {
        check(text, limits::EVENT_TYPE_BYTES_MAX)?;
        if RESERVED.contains(&text) {
            return Err(TextError::Reserved);
        }
        Ok(Self(text.into()))
    }

    /// The type as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A user id, a session id or an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// Takes a name from outside.
    ///
    /// # Errors
    /// If it is empty, longer than [`limits::NAME_BYTES_MAX`] or has control characters.
    pub fn new(text: &str) -> Result<Self, TextError> {
        check(text, limits::NAME_BYTES_MAX)?;
        Ok(Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
