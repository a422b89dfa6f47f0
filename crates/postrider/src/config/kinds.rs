//! The types of values that choose: which log, which store, which logs.

use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

use super::value::{Value, quoted};

/// Which log there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogKind {
    /// In the data directory.
    Embedded,
}

impl Value for LogKind {
    const EXPECTED: &'static str = "embedded";

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "embedded" => Ok(Self::Embedded),
            "kafka" => Err("this build has the embedded log only".to_owned()),
            _ => Err(String::new()),
        }
    }

    fn toml(&self) -> String {
        quoted("embedded")
    }
}

/// Where the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoreUrl {
    /// `store.db` in the data directory.
    InDataDirectory,
    /// A SQLite file.
    Sqlite(PathBuf),
}

impl Value for StoreUrl {
    const EXPECTED: &'static str = "sqlite:PATH, or nothing for store.db in the data directory";
    const SECRET: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::InDataDirectory);
        }
        match text.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() => {
                Ok(Self::Sqlite(path.strip_prefix("//").unwrap_or(path).into()))
            }
            Some(("postgres" | "postgresql", _)) => {
                Err("this build has the SQLite store only".to_owned())
            }
            _ => Err(String::new()),
        }
    }

    fn toml(&self) -> String {
        match self {
            Self::InDataDirectory => quoted(""),
            Self::Sqlite(path) => quoted(&format!("sqlite:{}", path.display())),
        }
    }
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Value for LogFormat {
    const EXPECTED: &'static str = "text or json";

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(String::new()),
        }
    }

    fn toml(&self) -> String {
        quoted(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
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
