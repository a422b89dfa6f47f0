//! Opening the store and reading the configuration in it, or going on with the configuration as a file has it while the
//! store is away.

use std::sync::Arc;

use anyhow::Context;
use postrider_metrics::Registry as Metrics;
use postrider_model::Clock;
use postrider_registry::{Registry, RegistryMetrics, SavedError, SnapshotFile};
use postrider_store::{ConfigFeed, Store, StoreError};
use postrider_store_sql::{self as sql, OpenError, PostgresStore, StoreMetrics};
use tokio_util::sync::CancellationToken;

use super::{Waiting, when_there};
use crate::condition::{Condition, Name};
use crate::config::Config;
use crate::options;

/// The store, and what goes with it.
pub(super) struct Opened {
    pub(super) store: Arc<dyn Store>,
    /// Where a role needs it.
    pub(super) registry: Option<Arc<Registry>>,
    pub(super) away: Option<Away>,
    /// Where the registry is kept, if it is.
    pub(super) snapshot: Option<SnapshotFile>,
}

impl Opened {
    fn there(store: Arc<dyn Store>, registry: Option<Arc<Registry>>) -> Self {
        Self {
            store,
            registry,
            away: None,
            snapshot: None,
        }
    }
}

/// A store that was away at the start, which went on without it.
#[derive(Clone)]
pub(crate) struct Away(Arc<PostgresStore>);

impl Away {
    /// Opens it once it is there, then waits for `shutdown`.
    ///
    /// # Errors
    /// If it is there and cannot be used.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        if let Some(opened) = shutdown.run_until_cancelled(self.open()).await {
            opened?;
            tracing::info!("the store answers: the configuration is brought up to date");
            shutdown.cancelled().await;
        }
        Ok(())
    }

    async fn open(&self) -> Result<(), OpenError> {
        let mut waiting = Waiting::default();
        loop {
            match self.0.prepare().await {
                Err(error) if is_away(&error) => waiting.wait(&error.to_string()).await,
                ended => return ended,
            }
        }
    }
}

/// Opens the store; with a clock, reads the configuration too, as it is or as the file has it.
pub(super) async fn open(
    config: &Config,
    configuration: Option<&Arc<dyn Clock>>,
    metrics: &Metrics,
    condition: &Condition,
) -> anyhow::Result<Opened> {
    let counts = StoreMetrics::register(metrics)?;
    let registry = RegistryMetrics::register(metrics)?;
    let url = options::store_url(config);
    if config.store.url.is_sqlite() {
        let store = sql::open(&url, counts).await?;
        let read = match configuration {
            Some(_) => Some(read(&store, &registry, condition).await?),
            None => None,
        };
        return Ok(Opened::there(store, read));
    }
    let store = PostgresStore::unopened(&url, options::postgres(config), counts)?;
    let store = Arc::new(store);
    let prepare = async || store.prepare().await;
    let Some(clock) = configuration else {
        when_there(condition, Name::Store, prepare, is_away).await?;
        return Ok(Opened::there(store, None));
    };
    let snapshot = options::snapshot(config)?;
    let first = prepare().await;
    if let (Err(error), Some(file)) = (&first, &snapshot)
        && is_away(error)
        && let Some(restored) = restore(file, &store, clock.as_ref(), &registry).await
    {
        tracing::warn!(
            age_s = restored.age().as_secs(),
            "{error}: starting with the configuration in {}",
            file.path.display()
        );
        return Ok(Opened {
            away: Some(Away(Arc::clone(&store))),
            registry: Some(restored),
            snapshot,
            store,
        });
    }
    if first.is_err() {
        when_there(condition, Name::Store, prepare, is_away).await?;
    }
    let store: Arc<dyn Store> = store;
    let read = read(&store, &registry, condition).await?;
    Ok(Opened {
        snapshot,
        ..Opened::there(store, Some(read))
    })
}

fn is_away(error: &OpenError) -> bool {
    matches!(error, OpenError::Unreachable { .. })
}

/// The configuration in the store, which is there.
async fn read(
    store: &Arc<dyn Store>,
    metrics: &RegistryMetrics,
    condition: &Condition,
) -> anyhow::Result<Arc<Registry>> {
    let read = async || Registry::load(Arc::clone(store) as _, metrics.clone()).await;
    let away = |error: &StoreError| matches!(error, StoreError::Unavailable(_));
    when_there(condition, Name::Store, read, away)
        .await
        .context("the configuration in the store cannot be read")
}

/// The configuration in the file; none, and a word why, if it cannot be used.
async fn restore(
    file: &SnapshotFile,
    store: &Arc<PostgresStore>,
    clock: &dyn Clock,
    metrics: &RegistryMetrics,
) -> Option<Arc<Registry>> {
    let (path, now) = (file.path.display(), clock.now());
    let reading = {
        let file = file.clone();
        tokio::task::spawn_blocking(move || file.read(now))
    };
    let why = match reading.await {
        Ok(Ok(saved)) => {
            let feed = Arc::clone(store) as Arc<dyn ConfigFeed>;
            return Some(Registry::restore(feed, saved, now, metrics.clone()));
        }
        Ok(Err(SavedError::Missing)) => {
            tracing::info!("{path}: there is no configuration to start with yet");
            return None;
        }
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::error!("{path} is no configuration to start with: {why}");
    None
}
