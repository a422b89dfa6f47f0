//! The store in SQLite: one connection that writes, one that reads changes, a few that read for the pipeline, and a few for
//! the API.

mod applications;
mod claims;
mod close;
mod damage;
mod dead_letters;
mod endpoints;
mod event_types;
#[cfg(test)]
mod failures;
mod feed;
mod history;
mod insert;
mod inspect;
mod migrations;
mod open;
#[cfg(test)]
mod plans;
mod reading;
mod recording;
mod replays;
mod retention;
mod tokens;
#[cfg(test)]
mod unreadable_rows;

use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

pub use damage::Damage;
pub(crate) use inspect::inspect;
use postrider_store::{HistoryKey, StoreError, StoreId};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqlitePool, Transaction};

use crate::StoreMetrics;
use crate::columns::Columns;
use crate::error::{store_error, unreadable};
use crate::metrics::{Operation, Skipped};
use crate::window::Window;

/// The store in a SQLite file that is this process's own.
pub struct SqliteStore {
    /// One connection: SQLite has one writer, and a queue in front of it is fairer than its busy handler.
    writer: SqlitePool,
    /// For whoever this handle was made for: callers of the API, or the pipeline.
    readers: SqlitePool,
    /// The pipeline's, which never waits for slow questions of the API.
    pipeline: SqlitePool,
    /// One connection for the feed of changes alone: fan-out waits for it, and slow questions of others may have all readers.
    feed: SqlitePool,
    id: StoreId,
    /// No change of configuration has a version above this. It is raised before the commit, because the caller of a
    /// change may be gone when it is carried out.
    announced: Arc<AtomicU64>,
    metrics: StoreMetrics,
    damage: Damage,
    /// On the file beside it, until the store is closed.
    lock: Arc<Mutex<Option<File>>>,
}

impl SqliteStore {
    /// The same store for the pipeline's own questions.
    pub fn for_pipeline(&self) -> Self {
        Self {
            writer: self.writer.clone(),
            readers: self.pipeline.clone(),
            pipeline: self.pipeline.clone(),
            feed: self.feed.clone(),
            id: self.id,
            announced: Arc::clone(&self.announced),
            metrics: self.metrics.clone(),
            damage: self.damage.clone(),
            lock: Arc::clone(&self.lock),
        }
    }

    /// What is known of damage to the file, now and later.
    pub fn damage(&self) -> Damage {
        self.damage.clone()
    }

    /// A transaction that writes. It takes the write lock at once: one that reads first and locks later can be refused.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        const BEGIN: &str = "BEGIN IMMEDIATE";
        let begun = match self.writer.begin_with(BEGIN).await {
            // SQLite ended a transaction by itself (a commit on a full disk), and sqlx counts it for ever: only another
            // connection is free of it.
            Err(sqlx::Error::InvalidSavePointStatement) => {
                let stuck = self.writer.acquire().await.map_err(store_error)?;
                stuck.close().await.map_err(store_error)?;
                self.writer.begin_with(BEGIN).await
            }
            begun => begun,
        };
        begun.map_err(store_error)
    }

    /// Gives the next `count` versions to changes that `tx` makes; returns the last.
    async fn next_version(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        count: i64,
    ) -> Result<i64, StoreError> {
        sqlx::query_scalar("UPDATE meta SET version = version + ? RETURNING version")
            .bind(count)
            .fetch_one(&mut **tx)
            .await
            .map_err(store_error)
    }

    /// Commits changes of configuration, of which `version` is the last.
    async fn publish(&self, tx: Transaction<'_, Sqlite>, version: i64) -> Result<(), StoreError> {
        self.announced
            .fetch_max(version.unsigned_abs(), Ordering::SeqCst);
        tx.commit().await.map_err(store_error)
    }

    /// What the window of a listing holds. Rows that cannot be read are left out, and as many behind them are read instead: a
    /// page is short only at the end, and who turns the pages goes past them.
    async fn listed<K: Clone + Ord + Send + Sync, T: Send>(
        &self,
        window: Window<K>,
        kind: Skipped,
        statement: impl Fn(&Window<K>) -> QueryBuilder<Sqlite> + Send,
        read: fn(&SqliteRow) -> Result<T, StoreError>,
        key: fn(&SqliteRow) -> Result<K, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::new();
        let mut left = Some(window.clone());
        while let Some(part) = left {
            let mut query = statement(&part);
            let mut reader = self.reader().await?;
            let rows = query.build().persistent(false).fetch_all(&mut *reader);
            let rows = rows.await.map_err(store_error)?;
            let readable = self.metrics.readable(kind, &rows, read);
            left = part.behind(&rows, rows.len() - readable.len(), key)?;
            found.extend(readable);
        }
        Ok(window.arrange(found))
    }

    /// Carries `work` out, and counts it.
    async fn timed<T>(
        &self,
        operation: Operation,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let done = self.metrics.timed(operation, work).await;
        done.map_err(|error| self.damage.seen(error))
    }
}

/// How many rows are asked for by their ids in one statement, which binds one value for each.
const IDS_AT_ONCE: usize = 500;

/// That the row's id is one of these.
fn push_ids(query: &mut QueryBuilder<Sqlite>, ids: impl Iterator<Item = Vec<u8>>) {
    query.push(" AND id IN (");
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(id);
    }
    query.push(")");
}

/// Ends a listing's query with its window over `(at, id)`, the last columns of the index that serves it.
fn push_window(query: &mut QueryBuilder<Sqlite>, at: &str, window: &Window<HistoryKey>) {
    for (bound, side) in [(&window.above, ">"), (&window.below, "<")] {
        if let Some(key) = bound {
            query.push(format_args!(" AND ({at}, id) {side} ("));
            query.push_bind(key.at.as_millis());
            query.push(", ");
            query.push_bind(key.id.to_vec());
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
    query: &mut QueryBuilder<Sqlite>,
    column: &str,
    window: &Window<K>,
    bind: impl Fn(&K) -> V,
) where
    K: Clone + Ord,
    V: for<'q> sqlx::Encode<'q, Sqlite> + sqlx::Type<Sqlite>,
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

impl Columns for SqliteRow {
    fn int(&self, name: &str) -> Result<Option<i64>, StoreError> {
        self.try_get(name).map_err(|error| unreadable(name, error))
    }

    fn text(&self, name: &str) -> Result<Option<&str>, StoreError> {
        self.try_get(name).map_err(|error| unreadable(name, error))
    }

    fn blob(&self, name: &str) -> Result<Option<&[u8]>, StoreError> {
        self.try_get(name).map_err(|error| unreadable(name, error))
    }
}
