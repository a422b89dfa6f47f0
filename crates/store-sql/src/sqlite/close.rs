//! Closing: everything lies in the one file then, and the lock is given back.

use std::sync::PoisonError;

use async_trait::async_trait;
use postrider_store::Closing;
use sqlx::SqlitePool;

use super::SqliteStore;

#[async_trait]
impl Closing for SqliteStore {
    async fn close(&self) {
        // Readers would keep the checkpoint from its end.
        self.feed.close().await;
        self.readers.close().await;
        self.pipeline.close().await;
        if let Err(why) = empty_wal(&self.writer).await {
            tracing::warn!(
                why,
                "what was written to the store last stays in its write-ahead log, where the next start finds it"
            );
        }
        self.writer.close().await;
        drop(
            self.lock
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }
}

/// Writes what is in the WAL into the file; or says why that was not possible.
async fn empty_wal(writer: &SqlitePool) -> Result<(), String> {
    let is_busy = sqlx::query_scalar::<_, i64>("PRAGMA wal_checkpoint(TRUNCATE)");
    match is_busy.fetch_one(writer).await {
        Ok(0) => Ok(()),
        // That is a row to SQLite, no error.
        Ok(_) => Err("another process was reading the file".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::sync::Arc;

    use postrider_model::Timestamp;
    use postrider_store::Claims;
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{ConnectOptions, Connection};
    use tracing::subscriber::set_default;

    use super::*;
    use crate::StoreMetrics;

    #[tokio::test]
    async fn a_wal_that_cannot_be_emptied_because_somebody_reads_is_told_at_the_stop() {
        let dir = tempfile::tempdir().unwrap();
        let (path, said) = (dir.path().join("store.db"), dir.path().join("said"));
        let log = Arc::new(File::create(&said).unwrap());
        let _log = set_default(tracing_subscriber::fmt().with_writer(log).finish());
        for is_read in [false, true] {
            let metrics = StoreMetrics::register(&postrider_metrics::Registry::new()).unwrap();
            let store = SqliteStore::open(&path, metrics).await.unwrap();
            // Nobody is waited for here.
            let now = sqlx::query("PRAGMA busy_timeout = 0").execute(&store.writer);
            now.await.unwrap();
            let mut beside = SqliteConnectOptions::new()
                .filename(&path)
                .connect()
                .await
                .unwrap();
            let mut snapshot = beside.begin().await.unwrap();
            let read = sqlx::query("SELECT * FROM meta").execute(&mut *snapshot);
            read.await.unwrap();
            if !is_read {
                snapshot.rollback().await.unwrap();
            }
            let at = Timestamp::from_millis;
            let key = if is_read { "read" } else { "not read" };
            let claim = store.claim(key, "a", &[0; 32], at(0), at(10)).await;
            claim.unwrap();
            store.close().await;
            let said = fs::read_to_string(&said).unwrap();
            let is_told = said.contains("stays in its write-ahead log");
            assert_eq!(is_told, is_read, "{said}");
        }
    }
}
