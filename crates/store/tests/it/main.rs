//! The store in memory passes the suite that every store passes.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use async_trait::async_trait;
use postrider_model::Timestamp;
use postrider_store::testing::conformance::Harness;
use postrider_store::testing::{MemoryStore, Row};
use postrider_store::{ConfigFeed, DeadLetters, History, HistoryBatch, Store, StoreError};

#[derive(Default)]
struct InMemory(MemoryStore);

#[async_trait]
impl Harness for InMemory {
    async fn open(&mut self) -> Arc<dyn Store> {
        self.0 = MemoryStore::new();
        Arc::new(self.0.clone())
    }

    async fn reopen(&mut self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        drop(store);
        let store = self.0.clone();
        store.set_available(true);
        Arc::new(store)
    }
}

postrider_store::store_conformance!(InMemory::default());

#[tokio::test]
async fn a_store_that_is_switched_off_does_nothing_until_it_is_back() {
    let store = MemoryStore::new();
    store.set_available(false);
    let result = store.changes(0).await;
    assert!(matches!(result, Err(StoreError::Unavailable(_))));
    let result = store.delete_dead_letters(Timestamp::default(), 1).await;
    assert!(matches!(result, Err(StoreError::Unavailable(_))));
    store.set_available(true);
    store.changes(0).await.unwrap();
}

#[tokio::test]
async fn a_store_refuses_the_rows_that_it_is_told_to() {
    let store = MemoryStore::new();
    store.refuse(|row| matches!(row, Row::Fanout(part) if part.stale));
    let part = |stale| postrider_model::Fanout {
        event_id: Default::default(),
        app_id: Default::default(),
        endpoints: Vec::new(),
        registry_version: 0,
        stale,
        accepted_at: Timestamp::default(),
        complete: true,
    };
    let batch = |parts: &[_]| HistoryBatch {
        fanouts: parts.to_vec(),
        ..HistoryBatch::default()
    };
    let result = store.record(&batch(&[part(false), part(true)])).await;
    assert!(matches!(result, Err(StoreError::Refused(_))));
    store.record(&batch(&[part(false)])).await.unwrap();
}
