//! The store in SQL: SQLite in a file of its own.
//!
//! **In → out.** [`open`] takes a URL and returns the store behind the port's traits; the schema is brought up to date
//! before. `migrations/` is the schema; `rows` and `secrets` turn rows into things, whichever the database; `sqlite` has
//! the statements, one file for each trait.
//!
//! **Invariants.** One process has the file (a lock beside it says so), and one connection of it writes, each
//! transaction synced before it is answered. Every listing is served by an index, in its order. Versions of
//! configuration come from one counter that moves in the same transaction as the change.
//!
//! **Authority.** The file is the truth; in memory there is only the version up to which there may be changes.
//!
//! **Failure.** [`OpenError`] ends the start with words for its operator. After that every error is a
//! [`StoreError`](postrider_store::StoreError). Dropping the store ends it; what was answered is on the disk.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "tests"))]

mod columns;
mod error;
mod metrics;
mod rows;
mod secrets;
mod sqlite;
mod window;

use std::sync::Arc;

pub use error::OpenError;
pub use metrics::StoreMetrics;
use postrider_store::Store;
pub use sqlite::SqliteStore;

/// Opens the store that `url` names: `sqlite:PATH`. The file is made if it is not there.
pub async fn open(url: &str, metrics: StoreMetrics) -> Result<Arc<dyn Store>, OpenError> {
    let path = url
        .strip_prefix("sqlite:")
        .map(|path| path.strip_prefix("//").unwrap_or(path))
        .filter(|path| !path.is_empty());
    let Some(path) = path else {
        return Err(OpenError::Url(scheme_of(url).to_owned()));
    };
    Ok(Arc::new(SqliteStore::open(path.as_ref(), metrics).await?))
}

/// What may be shown of a URL: what follows may hold a password.
fn scheme_of(url: &str) -> &str {
    url.split_once(':').map_or("", |(scheme, _)| scheme)
}
