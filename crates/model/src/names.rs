//! Names that users choose: event types, channels, uids. One rule for all (the dialect's pattern), three lengths.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a text is not such a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{given}\" is not a valid {what}: expected 1 to {max} characters of A-Z, a-z, 0-9, '-', '_' and '.', other than \".\" and \"..\""
)]
pub struct NameError {
    given: String,
    what: &'static str,
    max: usize,
}

impl NameError {
    /// The same of what is called so where it was sent.
    #[must_use]
    pub fn called(self, what: &'static str) -> Self {
        Self { what, ..self }
    }
}

fn checked(given: &str, what: &'static str, max: usize) -> Result<Arc<str>, NameError> {
    // Names stand in paths, and clients take these two for steps: what is meant for an endpoint called so is asked of its
    // application.
    let fits = (1..=max).contains(&given.len())
        && !matches!(given, "." | "..")
        && given
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if fits {
        Ok(given.into())
    } else {
        Err(NameError {
            given: given.chars().take(80).collect(),
            what,
            max,
        })
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(given: &str) -> Result<Self, NameError> {
                checked(given, $what, $max).map(Self)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// The kind of an event, such as `order.created`. 1 to 256 characters.
    EventType, "event type", 256
);
name!(
    /// A label by which endpoints choose among the events of one type. 1 to 128 characters.
    Channel, "channel", 128
);
name!(
    /// A name that the user gave to a thing of theirs beside its id. 1 to 256 characters.
    Uid, "uid", 256
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_obey_the_dialects_pattern_and_length() {
        assert_eq!(
            "order.created".parse::<EventType>().unwrap().as_str(),
            "order.created"
        );
        assert!("a".repeat(256).parse::<EventType>().is_ok());
        assert!("...".parse::<EventType>().is_ok());
        for bad in ["", "a b", "ä", "a/b", ".", "..", &"a".repeat(257)] {
            let error = bad.parse::<EventType>().unwrap_err().to_string();
            assert!(
                error.contains("is not a valid event type: expected 1 to 256"),
                "{error}"
            );
        }
        assert!("c".repeat(129).parse::<Channel>().is_err());
    }
}
