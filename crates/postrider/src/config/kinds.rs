//! The types of values that choose: which log, which store, which logs.

use std::path::PathBuf;

use tracing_subscriber::EnvFilter;
use url::Url;

use super::secret::{HIDDEN, Secret, was_hidden};
use super::value::{Value, quoted};

/// A type with a few values, each of which has a word.
macro_rules! choice {
    (
        $( #[$doc:meta] )* $Name:ident : $expected:literal {
            $( $( #[$value_doc:meta] )* $Value:ident = $word:literal, )*
        }
    ) => {
        $( #[$doc] )*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $Name {
            $( $( #[$value_doc] )* $Value, )*
        }

        impl Value for $Name {
            const EXPECTED: &'static str = $expected;

            fn read(text: &str) -> Result<Self, String> {
                match text {
                    $( $word => Ok(Self::$Value), )*
                    _ => Err(String::new()),
                }
            }

            fn toml(&self) -> String {
                quoted(match self {
                    $( Self::$Value => $word, )*
                })
            }
        }
    };
}

pub(super) use choice;

choice! {
    /// Which log there is.
    LogKind: "embedded or kafka" {
        /// In the data directory.
        Embedded = "embedded",
        /// Apache Kafka.
        Kafka = "kafka",
    }
}

choice! {
    /// How logs are written.
    LogFormat: "text or json" {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

/// Where the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoreUrl {
    /// `store.db` in the data directory.
    InDataDirectory,
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL database; the URL may hold a password.
    Postgres(Secret),
}

impl StoreUrl {
    /// Whether a single process has it.
    pub(crate) fn is_sqlite(&self) -> bool {
        !matches!(self, Self::Postgres(_))
    }
}

impl Value for StoreUrl {
    const EXPECTED: &'static str = "sqlite:PATH, postgres://USER:PASSWORD@HOST:PORT/DATABASE, or nothing for store.db in \
                                    the data directory";
    const SECRET: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::InDataDirectory);
        }
        match text.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() => {
                Ok(Self::Sqlite(path.strip_prefix("//").unwrap_or(path).into()))
            }
            Some(("postgres" | "postgresql", _)) => postgres(text),
            _ => Err(String::new()),
        }
    }

    fn toml(&self) -> String {
        match self {
            Self::InDataDirectory => quoted(""),
            Self::Sqlite(path) => quoted(&format!("sqlite:{}", path.display())),
            Self::Postgres(url) => quoted(&without_password(url.expose())),
        }
    }
}

fn postgres(text: &str) -> Result<StoreUrl, String> {
    // What the parser says may hold the password.
    let url = Url::parse(text).map_err(|_| "it is no URL".to_owned())?;
    if url.password() == Some(HIDDEN) {
        return Err(was_hidden());
    }
    Ok(StoreUrl::Postgres(Secret::new(text)))
}

fn without_password(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else {
        return HIDDEN.to_owned();
    };
    if url.password().is_some() && url.set_password(Some(HIDDEN)).is_err() {
        return HIDDEN.to_owned();
    }
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    if pairs.iter().any(|(name, _)| name.contains("password")) {
        let shown = pairs.iter().map(|(name, value)| {
            let hidden = name.contains("password");
            (name, if hidden { HIDDEN } else { value })
        });
        url.query_pairs_mut().clear().extend_pairs(shown);
    }
    url.to_string()
}

/// Which logs are written: levels by target, as `tracing` filters them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogFilter(String);

impl LogFilter {
    /// The filter itself.
    pub(crate) fn to_filter(&self) -> EnvFilter {
        EnvFilter::new(&self.0)
    }
}

impl Value for LogFilter {
    const EXPECTED: &'static str = "a level (error, warn, info, debug, trace), or levels by target such as \
         info,postrider_delivery=debug";

    fn read(text: &str) -> Result<Self, String> {
        // A filter takes any lone word as the name of a target: a misspelt level would silence everything.
        let is_level = |word: &str| word.parse::<tracing::level_filters::LevelFilter>().is_ok();
        let lone = text
            .split(',')
            .find(|part| !part.contains(['=', '[']) && !is_level(part));
        if let Some(word) = lone {
            return Err(format!("\"{word}\" is no level"));
        }
        EnvFilter::try_new(text).map_err(|error| error.to_string())?;
        Ok(Self(text.to_owned()))
    }

    fn toml(&self) -> String {
        quoted(&self.0)
    }
}
