//! The feed of changes.
//!
//! Versions become visible in their order, so the feed needs nothing but the last one that was read. A version is taken
//! from the one row of `meta`, by the statement that makes the change: the row is locked from then until the change is
//! committed, and who wants the next version waits that long. A sequence would give numbers without waiting, and show the
//! second before the first. And because each change is one statement that commits by itself, no client can stop between
//! the two and keep everybody waiting.

use std::sync::Arc;

use async_trait::async_trait;
use futures::TryStreamExt;
use postrider_model::Timestamp;
use postrider_store::{Change, Changes, ConfigFeed, StoreError, StoreId};
use sqlx::postgres::PgRow;

use super::errors::store_error;
use super::{PostgresOptions, PostgresStore, in_time};
use crate::columns::Columns;
use crate::error::signed;
use crate::metrics::{Operation, Skipped};
use crate::rows;

/// How far the configuration has come, and which database this is: the cluster (by its identifier) and its history (the
/// timeline, which a promotion or a restore to a point in time begins anew and on which commits of the old one may be
/// missing), the database in it, and the schema's own id.
const POSITION: &str = "SELECT version, forgotten, substring(sha256(convert_to(concat_ws(' ', \
        (SELECT system_identifier FROM pg_control_system()), \
        CASE WHEN pg_is_in_recovery() THEN '-' ELSE left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END, \
        (SELECT oid FROM pg_database WHERE datname = current_database()), \
        store_id), 'UTF8')) FOR 16) AS store FROM meta";

pub(super) const OLD_REMOVALS: &str = "WITH old AS (DELETE FROM removed WHERE version = ANY(ARRAY( \
        SELECT version FROM removed WHERE removed_at < $1 ORDER BY removed_at LIMIT $2)) RETURNING version), \
    noted AS (UPDATE meta SET forgotten = greatest(forgotten, (SELECT max(version) FROM old)) \
        WHERE EXISTS (SELECT 1 FROM old)) \
    SELECT count(*) FROM old";

/// A table in which changes are found. Each has a unique index on its version.
pub(super) struct Source {
    pub(super) statement: &'static str,
    kind: Skipped,
    read: fn(&PgRow) -> Result<Change, StoreError>,
}

pub(super) const SOURCES: [Source; 5] = [
    Source {
        statement: "SELECT * FROM applications WHERE version > $1 ORDER BY version",
        kind: Skipped::Application,
        read: |row| rows::application(row).map(|found| Change::Application(Arc::new(found))),
    },
    Source {
        statement: "SELECT * FROM endpoints WHERE version > $1 ORDER BY version",
        kind: Skipped::Endpoint,
        read: |row| rows::endpoint(row).map(|found| Change::Endpoint(Arc::new(found))),
    },
    Source {
        statement: "SELECT * FROM event_types WHERE version > $1 ORDER BY version",
        kind: Skipped::EventType,
        read: |row| rows::event_type(row).map(|found| Change::EventType(Arc::new(found))),
    },
    Source {
        statement: "SELECT * FROM tokens WHERE version > $1 ORDER BY version",
        kind: Skipped::Token,
        read: |row| rows::token(row).map(|found| Change::Token(Arc::new(found))),
    },
    Source {
        statement: "SELECT * FROM removed WHERE version > $1 ORDER BY version",
        kind: Skipped::Removal,
        read: |row| rows::removal(row),
    },
];

/// Which database it is, and how far it has come.
struct Position {
    store: StoreId,
    version: u64,
    forgotten: u64,
}

fn position(row: &PgRow) -> Result<Position, StoreError> {
    Ok(Position {
        store: StoreId(row.bytes("store")?),
        version: row.some_number("version")?,
        forgotten: row.some_number("forgotten")?,
    })
}

#[async_trait]
impl ConfigFeed for PostgresStore {
    async fn changes(&self, since: u64) -> Result<Changes, StoreError> {
        self.timed(Operation::Feed, async {
            match self.nothing_since(since).await? {
                Some(nothing) => Ok(nothing),
                None => self.read_changes(since).await,
            }
        })
        .await
    }

    async fn forget_removals(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.timed(Operation::Retention, async {
            let forgotten: i64 = sqlx::query_scalar(OLD_REMOVALS)
                .bind(before.as_millis())
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
                .fetch_one(&self.pool)
                .await
                .map_err(store_error)?;
            Ok(usize::try_from(forgotten).unwrap_or_default())
        })
        .await
    }
}

impl PostgresStore {
    /// The answer, if nothing changed: for the price of one short query.
    async fn nothing_since(&self, since: u64) -> Result<Option<Changes>, StoreError> {
        if since == 0 {
            return Ok(None);
        }
        let asked = sqlx::query(POSITION).fetch_one(&self.feed);
        let asked = async { asked.await.map_err(store_error) };
        let now = position(&in_time(self.options.call_timeout, asked).await?)?;
        Ok((now.version == since).then_some(Changes {
            store: now.store,
            version: since,
            next: since,
            whole: false,
            items: Vec::new(),
        }))
    }

    /// All in one snapshot, so that the version and the things are of one moment.
    async fn read_changes(&self, since: u64) -> Result<Changes, StoreError> {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let begun = Box::pin(self.feed.begin_with(begin)).await;
        let mut tx = begun.map_err(store_error)?;
        let row = sqlx::query(POSITION).fetch_one(&mut *tx).await;
        let now = position(&row.map_err(store_error)?)?;
        // A database that has gone back knows nothing of what came after.
        let whole = since == 0 || since < now.forgotten || since > now.version;
        if whole {
            sqlx::query("SELECT set_config('statement_timeout', $1, true)")
                .bind(format!("{}ms", PostgresOptions::LONG.as_millis()))
                .execute(&mut *tx)
                .await
                .map_err(store_error)?;
        }
        // To somebody who has read nothing, nothing was removed.
        let (since, sources) = match whole {
            true => (0, &SOURCES[..4]),
            false => (since, &SOURCES[..]),
        };
        let mut items = Vec::new();
        for source in sources {
            // Row by row: a hundred thousand rows at once take memory that the process never gives back.
            let mut found = sqlx::query(source.statement)
                .bind(signed("version", since)?)
                .fetch(&mut *tx);
            while let Some(row) = found.try_next().await.map_err(store_error)? {
                // One that cannot be read is as it was before, or not there: nothing else waits for its repair.
                match (source.read)(&row) {
                    Ok(change) => items.push((row.some_int("version")?, change)),
                    Err(error) => self.metrics.skip(source.kind, &row, &error),
                }
            }
        }
        tx.commit().await.map_err(store_error)?;
        items.sort_by_key(|(version, _)| *version);
        Ok(Changes {
            store: now.store,
            version: now.version,
            next: now.version,
            whole,
            items: items.into_iter().map(|(_, change)| change).collect(),
        })
    }
}
