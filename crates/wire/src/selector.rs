//! Selectors: what a session subscribes to.

use std::{collections::BTreeSet, fmt, sync::Arc};

use crate::{
    Partitions, Topic, TopicError,
    limits::{self, SELECTORS_MAX},
    text::{self, TextError},
};

/// Why a selector was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Empty, too long, or with control characters.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A `*` beside other characters, or a `**` that is not last.
    #[error("'*' must be a whole segment, '**' the whole last one")]
    Wildcard,
}

/// An exact topic, or a pattern: `*` stands for exactly one segment, `**` at the end for one or more.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Selector {
    /// One topic.
    Topic(Topic),
    /// Every topic that fits. The text is a valid pattern.
    Pattern(Arc<str>),
}

impl Selector {
    /// Takes a selector from outside.
    ///
    /// # Errors
    /// If it is no topic and no pattern.
    pub fn new(text: &str) -> Result<Self, SelectorError> {
        text::check(text, limits::TOPIC_BYTES_MAX)?;
        if !text.contains('*') {
            return match Topic::new(text) {
                Ok(topic) => Ok(Self::Topic(topic)),
                Err(TopicError::Text(error)) => Err(error.into()),
                Err(TopicError::Wildcard) => Err(SelectorError::Wildcard),
            };
        }
        let mut segments = text.split('/').peekable();
        while let Some(segment) = segments.next() {
            let sound = match segment {
                "*" => true,
                "**" => segments.peek().is_none(),
                _ => !segment.contains('*'),
            };
            if !sound {
                return Err(SelectorError::Wildcard);
            }
        }
        Ok(Self::Pattern(text.into()))
    }

    /// The selector as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Topic(topic) => topic.as_str(),
            Self::Pattern(pattern) => pattern,
        }
    }

    /// Whether a topic fits.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        let pattern = match self {
            Self::Topic(own) => return own == topic,
            Self::Pattern(pattern) => pattern,
        };
        let mut segments = topic.as_str().split('/');
        for wanted in pattern.split('/') {
            match (wanted, segments.next()) {
                (_, None) => return false,
                ("**", Some(_)) => return true,
                ("*", Some(_)) => {}
                (wanted, Some(segment)) if wanted != segment => return false,
                _ => {}
            }
        }
        segments.next().is_none()
    }

    /// What every topic that fits begins with: the whole topic, or the part before the first wildcard.
    #[must_use]
    pub fn prefix(&self) -> &str {
        let text = self.as_str();
        &text[..text.find('*').unwrap_or(text.len())]
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a set of selectors was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SelectorsError {
    /// None at all.
    #[error("at least one is needed")]
    None,
    /// More than allowed.
    #[error("at most {max} are allowed")]
    TooMany {
        /// The bound.
        max: usize,
    },
    /// One of them is no selector.
    #[error("{error}")]
    Selector {
        /// Which, from 0.
        index: usize,
        /// What is wrong with it.
        error: SelectorError,
    },
}

/// The selectors of a session: sorted, without repeats, so that sessions that want the same are alike. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Selectors(Arc<[Selector]>);

impl Selectors {
    /// Takes selectors from outside, at most `max` and never more than [`SELECTORS_MAX`].
    ///
    /// # Errors
    /// If there are none or too many, or one is no selector.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>, max: usize) -> Result<Self, SelectorsError> {
        let max = max.min(SELECTORS_MAX);
        let mut selectors = BTreeSet::new();
        for (index, text) in texts.into_iter().enumerate() {
            if index == max {
                return Err(SelectorsError::TooMany { max });
            }
            selectors.insert(Selector::new(text).map_err(|error| SelectorsError::Selector { index, error })?);
        }
        if selectors.is_empty() {
            return Err(SelectorsError::None);
        }
        Ok(Self(selectors.into_iter().collect()))
    }

    /// Each selector in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Selector> {
        self.0.iter()
    }

    /// Whether a topic fits one of them.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        self.iter().any(|selector| selector.matches(topic))
    }

    /// Which partitions they touch, as flags by partition: all of them as soon as there is a pattern.
    #[must_use]
    pub fn touched(&self, partitions: Partitions) -> [bool; limits::PARTITIONS_MAX] {
        let mut touched = [false; limits::PARTITIONS_MAX];
        for selector in self {
            match selector {
                Selector::Topic(topic) => touched[partitions.of(topic).index()] = true,
                Selector::Pattern(_) => touched[..partitions.count()].fill(true),
            }
        }
        touched
    }
}

impl<'a> IntoIterator for &'a Selectors {
    type Item = &'a Selector;
    type IntoIter = std::slice::Iter<'a, Selector>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
