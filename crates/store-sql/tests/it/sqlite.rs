//! The suite, against SQLite.

use std::sync::Arc;

use async_trait::async_trait;
use postrider_store::testing::conformance::Harness;
use postrider_store::{Closing, Store};
use postrider_store_sql::SqliteStore;
use tempfile::TempDir;

use crate::metrics;

#[derive(Default)]
struct InSqlite {
    open: Option<(TempDir, Arc<SqliteStore>)>,
}

async fn open(dir: &TempDir) -> Arc<SqliteStore> {
    let path = dir.path().join("store.db");
    Arc::new(SqliteStore::open(&path, metrics()).await.unwrap())
}

#[async_trait]
impl Harness for InSqlite {
    async fn open(&mut self) -> Arc<dyn Store> {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir).await;
        self.open = Some((dir, store.clone()));
        store
    }

    async fn reopen(&mut self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        drop(store);
        let (dir, store) = self.open.take().unwrap();
        let store = Arc::into_inner(store).expect("the test has dropped its store");
        store.close().await;
        let store = open(&dir).await;
        self.open = Some((dir, store.clone()));
        store
    }
}

postrider_store::store_conformance!(InSqlite::default());
