//! Values that are never shown.

use std::fmt;

use postrider_registry::SealKey;

use super::value::{Value, quoted};

/// What is shown instead of one.
pub(super) const HIDDEN: &str = "***";

/// Text that neither errors, logs nor `postrider config` show.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text itself.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// Says what to do about a configuration that was printed and is read again.
pub(super) fn was_hidden() -> String {
    "it was hidden when the configuration was printed: write it in, or give it by its variable"
        .to_owned()
}

/// Empty text is none.
impl Value for Option<Secret> {
    const EXPECTED: &'static str = "a secret, or nothing";
    const SECRET: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "" => Ok(None),
            HIDDEN => Err(was_hidden()),
            text => Ok(Some(Secret::new(text))),
        }
    }

    fn toml(&self) -> String {
        quoted(if self.is_some() { HIDDEN } else { "" })
    }
}

/// Empty text is none.
impl Value for Option<SealKey> {
    const EXPECTED: &'static str =
        "32 bytes in base64, as `openssl rand -base64 32` prints them, or nothing";
    const SECRET: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "" => Ok(None),
            HIDDEN => Err(was_hidden()),
            text => SealKey::parse(text).map(Some).ok_or_else(String::new),
        }
    }

    fn toml(&self) -> String {
        quoted(if self.is_some() { HIDDEN } else { "" })
    }
}
