//! A registry that is kept in a file, and one that begins with it.

use std::sync::Arc;
use std::time::Duration;

use postrider_model::{AppId, Clock, SystemClock, TestClock, Timestamp};
use postrider_store::testing::MemoryStore;
use postrider_store::{Application, ApplicationRef, Applications};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::{Found, Keeper, KeeperMetrics, Registry, RegistryMetrics, SealKey, SnapshotFile};

struct House {
    store: MemoryStore,
    file: SnapshotFile,
    _folder: TempDir,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = SnapshotFile {
            path: folder.path().join("snapshot"),
            key: SealKey::from_bytes([1; 32]),
            place: "postgres://db:5432/postrider".to_owned(),
            max_age: Duration::from_secs(3600),
        };
        Self {
            store: MemoryStore::new(),
            file,
            _folder: folder,
        }
    }

    async fn application(&self) -> ApplicationRef {
        let now = SystemClock.now();
        let application = Application {
            id: AppId::new(),
            uid: None,
            name: "shop".to_owned(),
            metadata: Default::default(),
            rate_limit: None,
            version: 0,
            created_at: now,
            updated_at: now,
        };
        let made = self.store.insert_application(&application).await.unwrap();
        ApplicationRef::Id(made.id)
    }

    async fn load(&self) -> Arc<Registry> {
        let store = Arc::new(self.store.clone());
        Registry::load(store, metrics()).await.unwrap()
    }

    fn restore(&self, now: Timestamp) -> Arc<Registry> {
        let saved = self.file.read(now).unwrap();
        Registry::restore(Arc::new(self.store.clone()), saved, now, metrics())
    }

    fn keeper(&self, registry: &Arc<Registry>, clock: Arc<dyn Clock>) -> Keeper {
        let metrics = KeeperMetrics::register(&postrider_metrics::Registry::new()).unwrap();
        Keeper::new(Arc::clone(registry), self.file.clone(), clock, metrics)
    }
}

fn metrics() -> RegistryMetrics {
    RegistryMetrics::register(&postrider_metrics::Registry::new()).unwrap()
}

/// Looks once, as at a stop.
async fn keep(keeper: Keeper) {
    let stopped = CancellationToken::new();
    stopped.cancel();
    keeper.run(stopped).await;
}

#[tokio::test]
async fn what_was_kept_goes_on_without_the_store_and_catches_up_with_it() {
    let house = House::new();
    let (known, clock) = (house.application().await, Arc::new(SystemClock));
    let before = house.load().await;
    keep(house.keeper(&before, clock)).await;
    let later = house.application().await;
    house.store.set_available(false);

    let registry = house.restore(SystemClock.now().plus(Duration::from_secs(60)));
    assert!(registry.is_restored());
    assert!(registry.age() >= Duration::from_secs(60));
    assert!(matches!(
        registry.find_application(&known).await,
        Found::Here(_)
    ));
    assert_eq!(registry.find_application(&later).await, Found::Unknown);
    assert!(registry.refresh().await.is_err() && registry.is_restored());

    house.store.set_available(true);
    assert!(matches!(
        registry.find_application(&later).await,
        Found::Here(_)
    ));
    assert!(!registry.is_restored());
    assert!(registry.age() < Duration::from_secs(60));
    assert_eq!(registry.snapshot().version(), 2);
}

#[tokio::test]
async fn the_snapshot_of_another_database_is_replaced_by_the_first_answer() {
    let mut house = House::new();
    let gone = house.application().await;
    keep(house.keeper(&house.load().await, Arc::new(SystemClock))).await;
    house.store = MemoryStore::new();
    let there = house.application().await;
    let registry = house.restore(SystemClock.now());
    registry.refresh().await.unwrap();
    assert_eq!(registry.find_application(&gone).await, Found::Missing);
    assert!(matches!(
        registry.find_application(&there).await,
        Found::Here(_)
    ));
}

#[tokio::test]
async fn what_is_only_restored_is_not_written_again_as_if_it_were_new() {
    let house = House::new();
    house.application().await;
    keep(house.keeper(&house.load().await, Arc::new(SystemClock))).await;
    let as_of = house.file.read(SystemClock.now()).unwrap().as_of();
    house.store.set_available(false);
    let registry = house.restore(SystemClock.now());
    assert!(registry.refresh().await.is_err());
    keep(house.keeper(&registry, Arc::new(SystemClock))).await;
    assert_eq!(house.file.read(SystemClock.now()).unwrap().as_of(), as_of);
}

#[tokio::test(start_paused = true)]
async fn the_file_says_of_when_it_is_by_the_refresh_and_not_by_the_write() {
    let house = House::new();
    let registry = house.load().await;
    let clock = Arc::new(TestClock::at(SystemClock.now()));
    tokio::time::advance(Duration::from_secs(30)).await;
    keep(house.keeper(&registry, Arc::clone(&clock) as _)).await;
    let as_of = house.file.read(clock.now()).unwrap().as_of();
    assert_eq!(as_of, clock.now().minus(Duration::from_secs(30)));
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_counted_and_ends_nothing() {
    let mut house = House::new();
    house.file.path = house.file.path.join("below/a/file");
    std::fs::write(house._folder.path().join("snapshot"), "in the way").unwrap();
    let registry = house.load().await;
    let counted = postrider_metrics::Registry::new();
    let keeper = Keeper::new(
        registry,
        house.file.clone(),
        Arc::new(SystemClock),
        KeeperMetrics::register(&counted).unwrap(),
    );
    keep(keeper).await;
    let shown = counted.render();
    assert!(
        shown.contains("postrider_registry_snapshot_failures_total 1"),
        "{shown}"
    );
}
