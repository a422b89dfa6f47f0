//! A registry that is kept in a file, and one that begins with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use postrider_model::{AppId, Clock, SystemClock, TestClock, Timestamp};
use postrider_store::testing::MemoryStore;
use postrider_store::{Application, ApplicationRef, Applications, Changes, ConfigFeed, StoreError};
use tempfile::TempDir;
use tokio::time::Instant;
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
        self.counted(registry, clock, &postrider_metrics::Registry::new())
    }

    fn counted(
        &self,
        registry: &Arc<Registry>,
        clock: Arc<dyn Clock>,
        counted: &postrider_metrics::Registry,
    ) -> Keeper {
        let metrics = KeeperMetrics::register(counted).unwrap();
        Keeper::new(Arc::clone(registry), self.file.clone(), clock, metrics)
    }
}

fn metrics() -> RegistryMetrics {
    RegistryMetrics::register(&postrider_metrics::Registry::new()).unwrap()
}

/// What a metric of the file says.
fn shown(counted: &postrider_metrics::Registry, which: &str) -> f64 {
    let name = format!("postrider_registry_snapshot_{which} ");
    let shown = counted.render();
    let line = shown.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap().parse().unwrap()
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
    keep(house.counted(&registry, Arc::new(SystemClock), &counted)).await;
    assert_eq!(shown(&counted, "failures_total"), 1.0);
}

#[tokio::test]
async fn what_another_process_writes_is_counted_and_what_a_killed_one_left_is_written_over() {
    let house = House::new();
    let registry = house.load().await;
    let beside = |suffix| house.file.path.with_extension(suffix);
    std::fs::write(beside("new"), "of a process that was killed").unwrap();
    let writing = std::fs::File::create(beside("lock")).unwrap();
    writing.lock().unwrap();
    let counted = postrider_metrics::Registry::new();
    keep(house.counted(&registry, Arc::new(SystemClock), &counted)).await;
    assert_eq!(shown(&counted, "failures_total"), 1.0);
    assert!(!house.file.path.exists());

    drop(writing);
    let counted = postrider_metrics::Registry::new();
    keep(house.counted(&registry, Arc::new(SystemClock), &counted)).await;
    assert_eq!(shown(&counted, "failures_total"), 0.0);
    assert!(house.file.read(SystemClock.now()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_age_of_the_file_is_that_of_what_was_read_from_it_until_it_is_written() {
    let house = House::new();
    let written_at = SystemClock.now();
    let clock = Arc::new(TestClock::at(written_at));
    keep(house.keeper(&house.load().await, clock)).await;
    let clock = Arc::new(TestClock::at(written_at.plus(Duration::from_secs(60))));
    house.store.set_available(false);
    let registry = house.restore(clock.now());
    let counted = postrider_metrics::Registry::new();
    keep(house.counted(&registry, Arc::clone(&clock) as _, &counted)).await;
    let age = shown(&counted, "age_seconds");
    assert!((60.0..70.0).contains(&age), "{age}");

    // The store answers, and the file cannot be written.
    let counted = postrider_metrics::Registry::new();
    let keeper = house.counted(&registry, clock, &counted);
    house.store.set_available(true);
    registry.refresh().await.unwrap();
    let writing = std::fs::File::create(house.file.path.with_extension("lock")).unwrap();
    writing.lock().unwrap();
    keep(keeper).await;
    let age = shown(&counted, "age_seconds");
    assert!((60.0..70.0).contains(&age), "{age}");
    drop(writing);
    let counted = postrider_metrics::Registry::new();
    keep(house.counted(&registry, Arc::new(SystemClock), &counted)).await;
    assert!(shown(&counted, "age_seconds") < 60.0);
}

/// A store that answers once, and later takes as long as this.
struct Slow {
    store: MemoryStore,
    asked: AtomicU32,
    takes: Duration,
}

#[async_trait]
impl ConfigFeed for Slow {
    async fn changes(&self, since: u64) -> Result<Changes, StoreError> {
        if self.asked.fetch_add(1, Ordering::SeqCst) > 0 {
            tokio::time::sleep(self.takes).await;
        }
        self.store.changes(since).await
    }

    async fn forget_removals(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.store.forget_removals(before, limit).await
    }
}

#[tokio::test(start_paused = true)]
async fn at_a_stop_a_refresh_is_waited_for_but_not_for_long() {
    for (takes, is_kept) in [(1, true), (30, false)] {
        let house = House::new();
        let slow = Arc::new(Slow {
            store: house.store.clone(),
            asked: AtomicU32::new(0),
            takes: Duration::from_secs(takes),
        });
        let feed = Arc::clone(&slow) as Arc<dyn ConfigFeed>;
        let registry = Registry::load(feed, metrics()).await.unwrap();
        let refresh = tokio::spawn({
            let registry = Arc::clone(&registry);
            async move { registry.refresh().await }
        });
        let mut turns = 0;
        while slow.asked.load(Ordering::SeqCst) < 2 {
            turns += 1;
            assert!(turns < 100_000, "the store is asked again");
            tokio::task::yield_now().await;
        }
        let began = Instant::now();
        keep(house.keeper(&registry, Arc::new(SystemClock))).await;
        assert_eq!(house.file.path.exists(), is_kept);
        assert!(began.elapsed() < Duration::from_secs(5));
        refresh.await.unwrap().unwrap();
    }
}
