//! A connection that reads for one call, and stops when nobody waits for its answer any more.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use postrider_store::StoreError;
use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection};

use super::SqliteStore;
use crate::error::store_error;

/// Steps of SQLite's machine after which a question asks whether somebody still waits for it: some fractions of a
/// millisecond.
const ASKED_AFTER: i32 = 10_000;

/// A connection of the readers for one call. A caller that goes away takes its question with it: sqlx would let a statement
/// that finds no row go on to its end, and keep the connection so long.
pub(super) struct Reader {
    // First: it has to be said before the connection goes back.
    _waits: Waits,
    connection: PoolConnection<Sqlite>,
}

struct Waits(Arc<AtomicBool>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Deref for Reader {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for Reader {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

impl SqliteStore {
    /// A reader for one call.
    pub(super) async fn reader(&self) -> Result<Reader, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(store_error)?;
        let waits = Arc::new(AtomicBool::new(true));
        let still = Arc::clone(&waits);
        let mut handle = connection.lock_handle().await.map_err(store_error)?;
        handle.set_progress_handler(ASKED_AFTER, move || still.load(Ordering::Relaxed));
        drop(handle);
        Ok(Reader {
            _waits: Waits(waits),
            connection,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use postrider_model::{AppId, EndpointId};
    use postrider_store::{
        ApplicationRef, Applications, AttemptFilter, Closing, History, Order, Page, PageStart,
    };
    use tokio::task::JoinSet;

    use super::super::open::READERS;
    use super::*;
    use crate::StoreMetrics;

    const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < 0";
    /// Long enough for a starved machine, and shorter than a connection is waited for.
    const SOON: Duration = Duration::from_secs(9);

    async fn open(dir: &Path) -> Arc<SqliteStore> {
        let metrics = StoreMetrics::register(&postrider_metrics::Registry::new()).unwrap();
        let store = SqliteStore::open(&dir.join("store.db"), metrics).await;
        Arc::new(store.unwrap())
    }

    /// As many endless questions as the API has readers.
    async fn ask_endlessly(store: &Arc<SqliteStore>) -> JoinSet<()> {
        let mut asked = JoinSet::new();
        for _ in 0..READERS {
            let store = Arc::clone(store);
            let (told, begins) = tokio::sync::oneshot::channel();
            asked.spawn(async move {
                let mut reader = store.reader().await.unwrap();
                told.send(()).unwrap();
                let found = sqlx::query(ENDLESS).fetch_all(&mut *reader).await;
                panic!("it ended: {:?}", found.map(|rows| rows.len()));
            });
            begins.await.unwrap();
        }
        assert!(store.readers.try_acquire().is_none(), "a reader is free");
        asked
    }

    #[tokio::test]
    async fn the_pipeline_reads_while_endless_questions_have_every_reader_of_the_api() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        let mut asked = ask_endlessly(&store).await;
        let pipeline = store.for_pipeline();
        let of_endpoint = AttemptFilter {
            endpoint: Some(EndpointId::new()),
            ..AttemptFilter::default()
        };
        let page = Page {
            limit: 1,
            start: PageStart::Beginning,
            order: Order::Descending,
        };
        let app = AppId::new();
        let read = pipeline.attempts(app, &of_endpoint, &page);
        let read = tokio::time::timeout(SOON, read).await;
        assert_eq!(read.unwrap().unwrap(), []);
        asked.shutdown().await;
        store.close().await;
    }

    #[tokio::test]
    async fn a_question_whose_caller_went_away_ends_and_its_reader_is_free_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        for _ in 0..3 {
            ask_endlessly(&store).await.shutdown().await;
            let by = ApplicationRef::Id(AppId::new());
            let found = tokio::time::timeout(SOON, store.application(&by)).await;
            assert!(found.unwrap().unwrap().is_none());
        }
        store.close().await;
    }
}
