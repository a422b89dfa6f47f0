//! The store in PostgreSQL: a pool of connections, and one more for the feed.

mod applications;
mod claims;
mod dead_letters;
mod endpoints;
mod errors;
mod event_types;
mod feed;
mod history;
mod inspect;
mod migrations;
mod open;
mod options;
mod outdated;
mod partitions;
#[cfg(test)]
mod plans;
mod recording;
mod replays;
mod retention;
mod tokens;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
pub(crate) use inspect::inspect;
pub use options::PostgresOptions;
use postrider_model::{Id, IdKind};
use postrider_store::{Closing, HistoryKey, StoreError};
use sqlx::postgres::{PgConnectOptions, PgPool, PgRow};
use sqlx::{Postgres, QueryBuilder, Row, Transaction, ValueRef};
use uuid::Uuid;

use crate::StoreMetrics;
use crate::columns::Columns;
use crate::error::unreadable;
use crate::metrics::{Operation, Skipped};
use crate::window::Window;
use errors::store_error;
use outdated::Outdated;
use partitions::Partitions;

/// The store in a PostgreSQL database, which any number of processes share.
pub struct PostgresStore {
    pool: PgPool,
    /// One connection, which nothing but the feed waits for.
    feed: PgPool,
    place: PgConnectOptions,
    /// Whether the schema is known to be one that can be worked on.
    is_prepared: AtomicBool,
    outdated: Outdated,
    partitions: Partitions,
    options: PostgresOptions,
    metrics: StoreMetrics,
}

impl PostgresStore {
    /// A transaction. What sqlx does to begin one takes 16 KiB of a future: boxed, so that it is not part of every call.
    async fn begin(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        Box::pin(self.pool.begin()).await.map_err(store_error)
    }

    /// What the window of a listing holds. Rows that cannot be read are left out, and as many behind them are read instead: a
    /// page is short only at the end, and who turns the pages goes past them.
    async fn listed<K: Clone + Ord + Send + Sync, T: Send>(
        &self,
        window: Window<K>,
        kind: Skipped,
        statement: impl Fn(&Window<K>) -> QueryBuilder<Postgres> + Send,
        read: fn(&PgRow) -> Result<T, StoreError>,
        key: fn(&PgRow) -> Result<K, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::new();
        let mut left = Some(window.clone());
        while let Some(part) = left {
            let mut query = statement(&part);
            let rows = query.build().persistent(false).fetch_all(&self.pool);
            let rows = rows.await.map_err(store_error)?;
            let readable = self.metrics.readable(kind, &rows, read);
            left = part.behind(&rows, rows.len() - readable.len(), key)?;
            found.extend(readable);
        }
        Ok(window.arrange(found))
    }

    /// Carries `work` out, and counts it. It ends in time, also if the server is gone without a word.
    async fn timed<T>(
        &self,
        operation: Operation,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        if !self.is_prepared.load(Ordering::SeqCst) {
            let why = "the database was away at the start, and has not answered since";
            return Err(StoreError::Unavailable(why.to_owned()));
        }
        let within = match operation {
            Operation::Retention | Operation::Feed => PostgresOptions::LONG,
            _ => self.options.call_timeout,
        };
        let result = self.metrics.timed(operation, in_time(within, work)).await;
        if result.as_ref().is_err_and(errors::is_outdated) {
            self.outdated.found();
        }
        result
    }
}

#[async_trait]
impl Closing for PostgresStore {
    async fn close(&self) {
        self.feed.close().await;
        self.pool.close().await;
    }
}

/// A call that is given up here may still be carried out there: [`StoreError::Unavailable`] says so.
async fn in_time<T>(
    within: Duration,
    work: impl Future<Output = Result<T, StoreError>> + Send,
) -> Result<T, StoreError> {
    match tokio::time::timeout(within, work).await {
        Ok(result) => result,
        Err(_) => Err(StoreError::Unavailable(format!(
            "the database has not answered within {within:?}"
        ))),
    }
}

/// An id as a column.
fn uuid<K: IdKind>(id: Id<K>) -> Uuid {
    Uuid::from_bytes(*id.as_bytes())
}

/// Ids as an array.
fn uuids<K: IdKind>(ids: &[Id<K>]) -> Vec<Uuid> {
    ids.iter().map(|id| uuid(*id)).collect()
}

/// Ends a listing's query with its window over `(at, id)`, the last columns of the index that serves it. Each bound stands
/// there twice: the comparison of rows is exact, that of times tells which partitions are not needed.
fn push_window(query: &mut QueryBuilder<Postgres>, at: &str, window: &Window<HistoryKey>) {
    for (bound, side) in [(&window.above, ">"), (&window.below, "<")] {
        if let Some(key) = bound {
            query.push(format_args!(" AND {at} {side}= "));
            query.push_bind(key.at.as_millis());
            query.push(format_args!(" AND ({at}, id) {side} ("));
            query.push_bind(key.at.as_millis());
            query.push(", ");
            query.push_bind(Uuid::from_bytes(key.id));
            query.push(")");
        }
    }
    let direction = window.direction();
    query.push(format_args!(
        " ORDER BY {at}{direction}, id{direction} LIMIT "
    ));
    query.push_bind(window.limit);
}

/// Ends a listing's query with its window over a single column, as `bind` gives it.
fn push_simple_window<K, V>(
    query: &mut QueryBuilder<Postgres>,
    column: &str,
    window: &Window<K>,
    bind: impl Fn(&K) -> V,
) where
    K: Clone + Ord,
    V: for<'q> sqlx::Encode<'q, Postgres> + sqlx::Type<Postgres>,
{
    for (bound, side) in [(&window.above, ">"), (&window.below, "<")] {
        if let Some(key) = bound {
            query.push(format_args!(" AND {column} {side} "));
            query.push_bind(bind(key));
        }
    }
    query.push(format_args!(
        " ORDER BY {column}{} LIMIT ",
        window.direction()
    ));
    query.push_bind(window.limit);
}

/// The bytes of a column as PostgreSQL sends them in its binary format: a text and a bytea as they are, an id as its 16
/// bytes, a number with the high byte first.
fn raw<'r>(row: &'r PgRow, name: &str) -> Result<Option<&'r [u8]>, StoreError> {
    let value = row
        .try_get_raw(name)
        .map_err(|error| unreadable(name, error))?;
    if value.is_null() {
        return Ok(None);
    }
    let bytes = value.as_bytes().map_err(|error| unreadable(name, error))?;
    Ok(Some(bytes))
}

impl Columns for PgRow {
    fn int(&self, name: &str) -> Result<Option<i64>, StoreError> {
        let Some(bytes) = raw(self, name)? else {
            return Ok(None);
        };
        let number = match *bytes {
            [byte] => i64::from(byte),
            [a, b] => i64::from(i16::from_be_bytes([a, b])),
            [a, b, c, d] => i64::from(i32::from_be_bytes([a, b, c, d])),
            _ => i64::from_be_bytes(
                bytes
                    .try_into()
                    .map_err(|_| unreadable(name, "no number"))?,
            ),
        };
        Ok(Some(number))
    }

    fn text(&self, name: &str) -> Result<Option<&str>, StoreError> {
        let text = raw(self, name)?.map(std::str::from_utf8);
        text.transpose().map_err(|error| unreadable(name, error))
    }

    fn blob(&self, name: &str) -> Result<Option<&[u8]>, StoreError> {
        raw(self, name)
    }
}
