//! What is wrong with the configuration: all of it at once, each with where, what and what would be right.

use std::fmt;

use super::declare::Key;
use super::given::{From, Leaf};

/// Everything that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigError(pub(crate) Vec<Problem>);

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    /// The file.
    #[error("{file}: {why}")]
    File {
        /// Its name.
        file: String,
        /// What the system or the parser says.
        why: String,
    },
    /// A variable that is no text.
    #[error("a variable whose name begins with POSTRIDER__ has a value that is not UTF-8")]
    NotUtf8,
    /// A variable that looks like ours and is none. Its value is not shown: it could be a misspelt secret.
    #[error("{name}: there is no such variable{hint}")]
    Stray {
        /// Its name.
        name: String,
        /// The variable that was meant, perhaps.
        hint: String,
    },
    /// A key that does not exist. What was given for it is not shown: it could be a misspelt secret.
    #[error("{at}: there is no such key{hint}")]
    Unknown {
        /// The key and where it stands.
        at: String,
        /// The key that was meant, perhaps.
        hint: String,
    },
    /// A value that the key does not take.
    #[error("{at} is {given}{why}; expected {expected}")]
    Value {
        /// The key.
        path: &'static str,
        /// The key and where it stands.
        at: String,
        /// The value in quotes, or that it is hidden.
        given: String,
        /// A reason, if there is more to say than what is expected; begins with a colon.
        why: String,
        /// What would be right.
        expected: String,
    },
    /// Values that do not go together.
    #[error("{0}")]
    Together(String),
}

impl Problem {
    pub(super) fn of_value(key: &Key, text: &str, leaf: Option<&Leaf>, why: String) -> Self {
        Self::Value {
            path: key.path,
            at: place(key.path, leaf),
            given: if key.secret {
                "wrong (the value is not shown)".to_owned()
            } else {
                format!("\"{}\"", text.chars().take(200).collect::<String>())
            },
            why: if why.is_empty() {
                why
            } else {
                format!(": {why}")
            },
            expected: key.expectation(),
        }
    }

    pub(super) fn of_stray(name: String, keys: &[Key]) -> Self {
        let bare = |name: &str| name.to_uppercase().replace('_', "");
        let given = bare(&name);
        let named = keys.iter().map(Key::variable);
        let closest = named
            .map(|key| (strsim::damerau_levenshtein(&given, &bare(&key)), key))
            .min();
        let hint = match closest {
            Some((distance, key)) if distance <= 2 + given.len() / 5 => {
                format!("; did you mean {key}?")
            }
            _ => {
                "; ours are POSTRIDER__SECTION__KEY, with two underscores: `postrider config` prints all of them"
                    .to_owned()
            }
        };
        Self::Stray { name, hint }
    }

    pub(super) fn of_unknown(path: &str, leaf: &Leaf, keys: &[Key]) -> Self {
        Self::Unknown {
            at: place(path, Some(leaf)),
            hint: hint(path, keys),
        }
    }
}

/// The keys that have a value which they do not take.
pub(super) fn wrong_keys(problems: &[Problem]) -> Vec<&'static str> {
    problems
        .iter()
        .filter_map(|problem| match problem {
            Problem::Value { path, .. } => Some(*path),
            _ => None,
        })
        .collect()
}

/// `delivery.timeout (POSTRIDER__DELIVERY__TIMEOUT)`.
fn place(path: &str, leaf: Option<&Leaf>) -> String {
    match leaf.map(|leaf| &leaf.from) {
        None => format!("{path} (default)"),
        Some(From::File(file)) => format!("{path} (in {file})"),
        Some(From::Flag(flag)) => format!("{path} ({flag})"),
        Some(From::Environment) => format!(
            "{path} (POSTRIDER__{})",
            path.replace('.', "__").to_uppercase()
        ),
    }
}

/// The key that was meant: the closest one that is not too far, or those of the section that was named.
fn hint(path: &str, keys: &[Key]) -> String {
    let below: Vec<_> = keys
        .iter()
        .filter(|key| {
            key.path
                .rsplit_once('.')
                .is_some_and(|(section, _)| section == path)
        })
        .map(|key| key.path)
        .collect();
    if !below.is_empty() {
        return format!(": {path} is a section; its keys are {}", below.join(", "));
    }
    let closest = keys
        .iter()
        .map(|key| (strsim::damerau_levenshtein(path, key.path), key.path))
        .min();
    match closest {
        Some((distance, key)) if distance <= 2 + path.len() / 5 => {
            format!("; did you mean {key}?")
        }
        _ => "; `postrider config` prints all of them".to_owned(),
    }
}

impl ConfigError {
    /// Flags that do not go together with the rest.
    pub(crate) fn together(problem: String) -> Self {
        Self(vec![Problem::Together(problem)])
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "the configuration has an error:\n  {one}"),
            all => {
                write!(f, "the configuration has {} errors:", all.len())?;
                all.iter()
                    .try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}
