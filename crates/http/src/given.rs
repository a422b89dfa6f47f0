//! A field of a request that may be absent, null, or there.

use serde::{Deserialize, Deserializer};

/// A field of a request. With `#[serde(default)]`, a field that is not sent reads as `Absent`: so one type of input serves
/// creation and replacement, where absent means the default, and change, where absent means as it was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Given<T> {
    /// Not sent.
    #[default]
    Absent,
    /// Sent as `null`.
    Null,
    /// Sent.
    Value(T),
}

impl<T> Given<T> {
    /// The value, if there is one.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// The same, borrowed.
    pub fn as_ref(&self) -> Given<&T> {
        match self {
            Self::Absent => Given::Absent,
            Self::Null => Given::Null,
            Self::Value(value) => Given::Value(value),
        }
    }

    /// The same with another value in it.
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Given<U> {
        match self {
            Self::Absent => Given::Absent,
            Self::Null => Given::Null,
            Self::Value(value) => Given::Value(map(value)),
        }
    }

    /// The same with another value in it, or why it cannot be.
    pub fn try_map<U, E>(self, map: impl FnOnce(T) -> Result<U, E>) -> Result<Given<U>, E> {
        Ok(match self {
            Self::Absent => Given::Absent,
            Self::Null => Given::Null,
            Self::Value(value) => Given::Value(map(value)?),
        })
    }

    /// Writes the value to `slot`; null as the default; absent not at all.
    pub fn put(self, slot: &mut T)
    where
        T: Default,
    {
        match self {
            Self::Absent => {}
            Self::Null => *slot = T::default(),
            Self::Value(value) => *slot = value,
        }
    }

    /// Writes the value to `slot`; null as none; absent not at all.
    pub fn put_option(self, slot: &mut Option<T>) {
        match self {
            Self::Absent => {}
            Self::Null => *slot = None,
            Self::Value(value) => *slot = Some(value),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}
