//! The feed of changes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use futures::TryStreamExt;
use postrider_model::{AppId, Timestamp};
use postrider_store::{Change, Changes, ConfigFeed, StoreError};
use sqlx::sqlite::SqliteRow;
use sqlx::{Sqlite, Transaction};

use super::SqliteStore;
use crate::columns::{Columns, blob};
use crate::error::{signed, store_error};
use crate::metrics::{Operation, Skipped};
use crate::rows::{self, RemovedKind};

/// A table in which changes are found. Each has a unique index on its version.
pub(super) struct Source {
    pub(super) statement: &'static str,
    kind: Skipped,
    read: fn(&SqliteRow) -> Result<Change, StoreError>,
}

pub(super) const SOURCES: [Source; 5] = [
    Source {
        statement: "SELECT * FROM applications WHERE version > ?",
        kind: Skipped::Application,
        read: |row| rows::application(row).map(|found| Change::Application(Arc::new(found))),
    },
    Source {
        statement: "SELECT * FROM endpoints WHERE version > ?",
        kind: Skipped::Endpoint,
        read: |row| rows::endpoint(row).map(|found| Change::Endpoint(Arc::new(found))),
    },
    Source {
        statement: "SELECT * FROM event_types WHERE version > ?",
        kind: Skipped::EventType,
        read: |row| rows::event_type(row).map(|found| Change::EventType(Arc::new(found))),
    },
    Source {
        statement: "SELECT * FROM tokens WHERE version > ?",
        kind: Skipped::Token,
        read: |row| rows::token(row).map(|found| Change::Token(Arc::new(found))),
    },
    Source {
        statement: "SELECT * FROM removed WHERE version > ?",
        kind: Skipped::Removal,
        read: |row| rows::removal(row),
    },
];

const BURY: &str = "INSERT INTO removed (version, kind, app_id, id, removed_at) \
    VALUES (?, ?, ?, ?, unixepoch() * 1000)";

pub(super) const OLD_REMOVALS: &str = "DELETE FROM removed WHERE version IN \
    (SELECT version FROM removed WHERE removed_at < ? ORDER BY removed_at LIMIT ?) RETURNING version";

#[async_trait]
impl ConfigFeed for SqliteStore {
    async fn changes(&self, since: u64) -> Result<Changes, StoreError> {
        if since > 0 && since >= self.announced.load(Ordering::SeqCst) {
            return Ok(Changes {
                store: self.id,
                version: since,
                next: since,
                whole: false,
                items: Vec::new(),
            });
        }
        self.timed(Operation::Feed, self.read_changes(since)).await
    }

    async fn forget_removals(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.timed(Operation::Retention, async {
            let mut tx = self.begin().await?;
            let forgotten: Vec<i64> = sqlx::query_scalar(OLD_REMOVALS)
                .bind(before.as_millis())
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
                .fetch_all(&mut *tx)
                .await
                .map_err(store_error)?;
            sqlx::query("UPDATE meta SET forgotten = max(forgotten, ?)")
                .bind(forgotten.iter().max().copied().unwrap_or(0))
                .execute(&mut *tx)
                .await
                .map_err(store_error)?;
            tx.commit().await.map_err(store_error)?;
            Ok(forgotten.len())
        })
        .await
    }
}

impl SqliteStore {
    /// All in one transaction, so that the version and the things are of one moment.
    async fn read_changes(&self, since: u64) -> Result<Changes, StoreError> {
        let mut tx = self.feed.begin().await.map_err(store_error)?;
        let meta = sqlx::query("SELECT version, forgotten FROM meta")
            .fetch_one(&mut *tx)
            .await
            .map_err(store_error)?;
        let version: u64 = meta.some_number("version")?;
        let whole = since == 0 || since < meta.some_number("forgotten")?;
        // To somebody who has read nothing, nothing was removed.
        let (since, sources) = match whole {
            true => (0, &SOURCES[..4]),
            false => (since, &SOURCES[..]),
        };
        let mut items = Vec::new();
        for source in sources {
            // Row by row: a hundred thousand rows at once are some 200 MB, which the process never gives back.
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
        items.sort_by_key(|(version, _)| *version);
        Ok(Changes {
            store: self.id,
            version,
            next: version,
            whole,
            items: items.into_iter().map(|(_, change)| change).collect(),
        })
    }
}

/// Leaves word of what is gone.
pub(super) async fn bury(
    tx: &mut Transaction<'_, Sqlite>,
    version: i64,
    kind: RemovedKind,
    app_id: Option<AppId>,
    id: Vec<u8>,
) -> Result<(), StoreError> {
    sqlx::query(BURY)
        .bind(version)
        .bind(kind.label())
        .bind(app_id.map(blob))
        .bind(id)
        .execute(&mut **tx)
        .await
        .map_err(store_error)?;
    Ok(())
}
