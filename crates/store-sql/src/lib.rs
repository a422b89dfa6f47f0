//! The store in SQL: SQLite in a file of its own, or PostgreSQL.
//!
//! **In → out.** [`open`] takes a URL and returns the store behind the port's traits; the schema is brought up to date
//! before. `migrations/` is the schema of each database; `rows` and `secrets` turn rows into things, whichever the
//! database; `sqlite` and `postgres` have the statements, one file for each trait.
//!
//! **Invariants.** What was answered is on the disk. Every listing is served by an index, in its order. Versions of
//! configuration come from one counter, whose row is locked from the change to its commit, so that they become visible in
//! their order. Of SQLite one process has the file (a lock beside it says so) and one connection writes; of PostgreSQL any
//! number of processes have the database.
//!
//! **Authority.** The database is the truth; in memory there is only the version up to which there may be changes
//! (SQLite), and the day for which partitions were made (PostgreSQL).
//!
//! **Failure.** [`OpenError`] ends the start with words for its operator. After that every error is a
//! [`StoreError`](postrider_store::StoreError); a server that is away is `Unavailable` in bounded time, and is used again
//! when it is back. Dropping the store ends it.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "tests"))]

mod columns;
mod error;
mod inspect;
mod measure;
mod metrics;
mod postgres;
mod rows;
mod secrets;
mod sqlite;
mod steps;
mod window;

use std::sync::Arc;
use std::time::Duration;

pub use error::OpenError;
pub use inspect::{Extent, Inspected, InspectedConnections, InspectedFile, InspectedServer};
pub use metrics::StoreMetrics;
pub use postgres::{PostgresOptions, PostgresStore};
use postrider_store::Store;
pub use sqlite::{Damage, SqliteStore};

/// Opens the store that `url` names: `sqlite:PATH`, of which the file is made if it is not there, or
/// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, of which the database must be there.
pub async fn open(url: &str, metrics: StoreMetrics) -> Result<Arc<dyn Store>, OpenError> {
    open_with(url, PostgresOptions::default(), metrics).await
}

/// The same, where a PostgreSQL server is used as `options` say.
pub async fn open_with(
    url: &str,
    options: PostgresOptions,
    metrics: StoreMetrics,
) -> Result<Arc<dyn Store>, OpenError> {
    match scheme_of(url) {
        "postgres" | "postgresql" => {
            Ok(Arc::new(PostgresStore::open(url, options, metrics).await?))
        }
        "sqlite" => Ok(Arc::new(open_sqlite(url, metrics).await?)),
        other => Err(OpenError::Url(other.to_owned())),
    }
}

/// Opens the store that `url`, `sqlite:PATH`, names.
///
/// # Errors
/// As [`open`].
pub async fn open_sqlite(url: &str, metrics: StoreMetrics) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(sqlite_path(url)?.as_ref(), metrics).await
}

/// Looks at the store that `url` names, as [`open_with`] takes it, and changes nothing: the schema stays as it is, and what
/// is not there is not made. Of a file every page is read, for about `time` at most.
///
/// # Errors
/// If it cannot be looked at, or is damaged.
pub async fn inspect(
    url: &str,
    options: PostgresOptions,
    time: Duration,
) -> Result<Inspected, OpenError> {
    match scheme_of(url) {
        "postgres" | "postgresql" => postgres::inspect(url, &options).await,
        "sqlite" => sqlite::inspect(sqlite_path(url)?.as_ref(), time).await,
        other => Err(OpenError::Url(other.to_owned())),
    }
}

fn sqlite_path(url: &str) -> Result<&str, OpenError> {
    let path = url.strip_prefix("sqlite:").unwrap_or_default();
    let path = path.strip_prefix("//").unwrap_or(path);
    match path.is_empty() {
        true => Err(OpenError::Url("sqlite".to_owned())),
        false => Ok(path),
    }
}

/// What may be shown of a URL: what follows may hold a password.
fn scheme_of(url: &str) -> &str {
    url.split_once(':').map_or("", |(scheme, _)| scheme)
}
