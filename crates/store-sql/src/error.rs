//! Errors of the database, divided by what the caller does next.

use std::fmt::Display;
use std::path::PathBuf;

use postrider_store::StoreError;
use sqlx::error::DatabaseError;

/// What to do about a damaged file.
pub(crate) const REMEDY: &str = "Stop the server, move the file away, with its -wal file, and restore it from a backup, as \
     docs/operating.md says; without one the next start begins with neither configuration nor history";

/// Why a store could not be opened. Whoever gets one is starting up and must stop.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not a URL that a store is opened by. Holds the scheme only.
    #[error(
        "a store is opened by sqlite:PATH or postgres://USER@HOST:PORT/DATABASE, not by a URL that begins with \"{0}:\""
    )]
    Url(String),
    /// A URL of PostgreSQL that says something wrong. Holds what, without the URL.
    #[error(
        "the URL of the PostgreSQL database is wrong ({0}): it is postgres://USER:PASSWORD@HOST:PORT/DATABASE, with \
         ?sslmode=verify-full and the like behind it"
    )]
    PostgresUrl(String),
    /// The server does not answer, or not yet, or no longer, or takes no writes now. It may do so later.
    #[error("the database {server} cannot be reached: {why}")]
    Unreachable {
        /// Where, without user and password.
        server: String,
        /// What was said.
        why: String,
    },
    /// The server said no: waiting changes nothing.
    #[error("the database {server} cannot be used: {why}")]
    Server {
        /// Where, without user and password.
        server: String,
        /// What was said.
        why: String,
    },
    /// A newer Postrider has written it.
    #[error(
        "the database {server} has schema version {found}, and this program knows none above {known}: use the newer \
         program that wrote it"
    )]
    NewerDatabase {
        /// Where, without user and password.
        server: String,
        /// The version of its schema.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// Another process has it.
    #[error(
        "{} is in use by another process, which holds {}: stop that one first, or give this one a data directory of its own",
        .path.display(), .lock.display()
    )]
    InUse {
        /// The database.
        path: PathBuf,
        /// The lock file.
        lock: PathBuf,
    },
    /// A newer Postrider has written it.
    #[error(
        "{} has schema version {found}, and this program knows none above {known}: use the newer program that wrote it",
        .path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// The version of its schema.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// It is no database, or a damaged one.
    #[error("{} is damaged or no SQLite database ({why}). {REMEDY}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the database said.
        why: String,
    },
    /// The file system said no.
    #[error("{} cannot be opened: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database said no.
    #[error("{} cannot be opened: {why}", .path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// The primary result codes of SQLite (<https://sqlite.org/rescode.html>) that decide what happens next.
mod code {
    pub(super) const NO_MEMORY: i32 = 7;
    pub(super) const INTERRUPT: i32 = 9;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const TOO_BIG: i32 = 18;
    pub(super) const CONSTRAINT: i32 = 19;
    pub(super) const MISMATCH: i32 = 20;
    pub(super) const NOT_A_DATABASE: i32 = 26;
}

fn primary_code(error: &dyn DatabaseError) -> i32 {
    let extended = error.code().and_then(|code| code.parse::<i32>().ok());
    extended.unwrap_or_default() & 0xff
}

/// True if the file is no database or a damaged one.
pub(crate) fn is_damage(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| matches!(primary_code(error), code::CORRUPT | code::NOT_A_DATABASE))
}

/// True if SQLite was told not to go on.
pub(crate) fn is_interrupted(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| primary_code(error) == code::INTERRUPT)
}

/// What the caller of the store is told.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(crate) fn store_error(error: sqlx::Error) -> StoreError {
    let Some(from_database) = error.as_database_error() else {
        return StoreError::Unavailable(error.to_string());
    };
    let words = from_database.message().to_owned();
    match primary_code(from_database) {
        code::CONSTRAINT if from_database.is_unique_violation() => StoreError::Conflict(words),
        code::CONSTRAINT | code::TOO_BIG | code::MISMATCH => StoreError::Refused(words),
        code::FULL => StoreError::Unavailable(format!("the disk is full ({words})")),
        code::NO_MEMORY => StoreError::Unavailable(format!("out of memory ({words})")),
        code::CORRUPT | code::NOT_A_DATABASE => StoreError::Damaged(words),
        // Busy, locked, I/O: later it may work.
        _ => StoreError::Unavailable(words),
    }
}

/// The same, where a name or an id that is taken already is what `taken` says in words.
pub(crate) fn or_taken(taken: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |error| match store_error(error) {
        StoreError::Conflict(_) => StoreError::Conflict(taken.to_owned()),
        other => other,
    }
}

/// That what is in `column` is not what was written there. Asking again finds the same, so nobody is to wait for it.
pub(crate) fn unreadable(column: &str, why: impl Display) -> StoreError {
    StoreError::Unreadable(format!("{column}: {why}"))
}

/// A number as databases have it: they know none above 2^63 - 1.
pub(crate) fn signed(what: &'static str, number: u64) -> Result<i64, StoreError> {
    i64::try_from(number)
        .map_err(|_| StoreError::Refused(format!("{what} {number} is above 2^63 - 1")))
}

/// That the thing is there and did not change since it was read.
pub(crate) fn unchanged(
    stored: Option<i64>,
    given: u64,
    what: &'static str,
) -> Result<(), StoreError> {
    match stored {
        None => Err(StoreError::NotFound(what)),
        Some(stored) if u64::try_from(stored) == Ok(given) => Ok(()),
        Some(_) => Err(StoreError::Conflict(format!(
            "the {what} was changed by somebody else since it was read"
        ))),
    }
}
