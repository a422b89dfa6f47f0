//! A store that is away for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use postrider_log::testing::MemoryLog;
use postrider_model::topics::{self, DELIVERIES_NORMAL};
use postrider_model::{AppId, Timestamp};
use postrider_store::testing::MemoryStore;
use postrider_store::{Applications, Changes, ConfigFeed, StoreError};
use tokio::time::Instant;

use super::house::{House, application};
use crate::Options;

/// Takes five seconds to say that it is away, as a pool of connections does.
struct Slowly {
    store: Arc<MemoryStore>,
    away: AtomicBool,
}

#[async_trait]
impl ConfigFeed for Slowly {
    async fn changes(&self, since: u64) -> Result<Changes, StoreError> {
        if self.away.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_secs(5)).await;
            return Err(StoreError::Unavailable("nobody answers".to_owned()));
        }
        self.store.changes(since).await
    }

    async fn forget_removals(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.store.forget_removals(before, limit).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_waited_for_once_and_not_by_each_batch() {
    const BATCHES: usize = 100;
    let store = Arc::new(MemoryStore::new());
    let app_id = AppId::new();
    let made = store.insert_application(&application(app_id)).await;
    made.unwrap();
    let feed = Arc::new(Slowly {
        store: Arc::clone(&store),
        away: AtomicBool::new(false),
    });
    let log = Arc::new(MemoryLog::new(topics::all()));
    let told = Arc::clone(&feed) as _;
    let house = House::fed(log, store, told, app_id, Options::default()).await;
    house.endpoint(|_| {}).await;
    house.publish(|_| {}).await;
    house.deliveries(DELIVERIES_NORMAL, 1).await;

    feed.away.store(true, Ordering::SeqCst);
    let began = Instant::now();
    for so_far in 2..2 + BATCHES {
        house.publish(|_| {}).await;
        house.deliveries(DELIVERIES_NORMAL, so_far).await;
    }
    // A second for each batch otherwise.
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );

    feed.away.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let stale = house.metrics.stale.get();
    let unseen = house.endpoint(|_| {}).await;
    house.publish(|_| {}).await;
    let all = house.deliveries(DELIVERIES_NORMAL, BATCHES + 3).await;
    assert!(all.iter().any(|delivery| delivery.endpoint_id == unseen));
    assert_eq!(house.metrics.stale.get(), stale, "it is found again");
    house.stop().await;
}
