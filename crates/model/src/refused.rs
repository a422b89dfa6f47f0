//! Why what a producer sent is no event.

use std::borrow::Cow;
use std::fmt::Display;

/// Why what a producer sent is no event: where, and in words what is wrong and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {why}")]
pub struct Refused {
    /// The header, attribute or part that is wrong.
    pub at: Cow<'static, str>,
    /// What kind of mistake it is, for counting.
    pub kind: RefusedFor,
    /// What is wrong, and what would be right.
    pub why: String,
}

/// The kinds of mistakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedFor {
    /// An attribute is missing, comes twice, or has a value that it cannot have.
    Malformed,
    /// The event type is not one.
    EventType,
    /// A header is not UTF-8.
    NotUtf8,
    /// There is no value at all.
    NoValue,
    /// It is more than is taken.
    TooLarge,
    /// It is a format or mode that is not taken.
    Unsupported,
}

impl Refused {
    /// That `at` is wrong in this way.
    pub fn new(kind: RefusedFor, at: impl Into<Cow<'static, str>>, why: impl Display) -> Self {
        Self {
            at: at.into(),
            kind,
            why: why.to_string(),
        }
    }

    pub(crate) fn malformed(at: impl Into<Cow<'static, str>>, why: impl Display) -> Self {
        Self::new(RefusedFor::Malformed, at, why)
    }

    /// The same, `at` told as the sender knows it.
    #[must_use]
    pub fn renamed(self, name: impl FnOnce(&str) -> String) -> Self {
        Self {
            at: name(&self.at).into(),
            ..self
        }
    }
}
