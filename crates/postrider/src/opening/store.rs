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
    /// The same, for the pipeline's own questions.
    pub(super) pipeline: Arc<dyn Store>,
    /// Where a role needs it.
    pub(super) registry: Option<Arc<Registry>>,
    pub(super) away: Option<Away>,
    /// Where the registry is kept, if it is.
    pub(super) snapshot: Option<SnapshotFile>,
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
    let registry = configuration.map(|_| RegistryMetrics::register(metrics));
    let registry = registry.transpose()?;
    let url = options::store_url(config);
    if config.store.url.is_sqlite() {
        let store = sql::open_sqlite(&url, counts).await?;
        condition.watch_file(store.damage());
        let pipeline = Arc::new(store.for_pipeline());
        let opened = there(Arc::new(store), registry.as_ref(), condition).await?;
        return Ok(Opened { pipeline, ..opened });
    }
    let store = PostgresStore::unopened(&url, options::postgres(config), counts)?;
    let (store, snapshot) = (Arc::new(store), options::snapshot(config)?);
    if let (Some(clock), Some(file), Some(counts)) = (configuration, &snapshot, &registry)
        && let Some(restored) = without(&store, file, clock.as_ref(), counts).await
    {
        return Ok(Opened {
            away: Some(Away(Arc::clone(&store))),
            registry: Some(restored),
            snapshot,
            pipeline: Arc::clone(&store) as _,
            store,
        });
    }
    let prepare = async || store.prepare().await;
    when_there(condition, Name::Store, prepare, is_away).await?;
    let opened = there(store, registry.as_ref(), condition).await?;
    Ok(Opened { snapshot, ..opened })
}

/// The store, which is open, and where somebody counts it the configuration in it.
async fn there(
    store: Arc<dyn Store>,
    counts: Option<&RegistryMetrics>,
    condition: &Condition,
) -> anyhow::Result<Opened> {
    let registry = match counts {
        Some(counts) => Some(read(&store, counts, condition).await?),
        None => None,
    };
    Ok(Opened {
        pipeline: Arc::clone(&store),
        store,
        registry,
        away: None,
        snapshot: None,
    })
}

/// The configuration as the file has it, if the store is away now and the file can be used.
async fn without(
    store: &Arc<PostgresStore>,
    file: &SnapshotFile,
    clock: &dyn Clock,
    counts: &RegistryMetrics,
) -> Option<Arc<Registry>> {
    let error = store.prepare().await.err().filter(is_away)?;
    let restored = restore(file, store, clock, counts).await?;
    tracing::warn!(
        age_s = restored.age().as_secs(),
        "{error}: starting with the configuration in {}",
        file.path.display()
    );
    Some(restored)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use postrider_store_sql::PostgresOptions;
    use postrider_testkit::{FirstQuery, LoginOnly, eventually};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(60);

    fn away(server: &LoginOnly) -> Away {
        let counts = StoreMetrics::register(&Metrics::new()).unwrap();
        let options = PostgresOptions {
            acquire_timeout: Duration::from_secs(1),
            ..PostgresOptions::default()
        };
        let store = PostgresStore::unopened(server.url(), options, counts).unwrap();
        Away(Arc::new(store))
    }

    #[tokio::test]
    async fn a_store_that_comes_back_and_goes_again_does_not_end_what_went_on_without_it() {
        for then in [
            FirstQuery::Cut,
            FirstQuery::Unanswered,
            FirstQuery::Refused("57P01"),
            FirstQuery::Refused("25006"),
        ] {
            let server = LoginOnly::start(then).await.unwrap();
            let shutdown = CancellationToken::new();
            let going_on = tokio::spawn(away(&server).run(shutdown.clone()));
            let again = async || (server.logins() > 1 || going_on.is_finished()).then_some(());
            eventually("it is asked again", DEADLINE, again)
                .await
                .unwrap();
            assert!(!going_on.is_finished(), "{then:?}");
            shutdown.cancel();
            going_on.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_store_that_forbids_ends_what_went_on_without_it() {
        let server = LoginOnly::start(FirstQuery::Refused("42501"))
            .await
            .unwrap();
        let ended = tokio::time::timeout(DEADLINE, away(&server).run(CancellationToken::new()));
        let words = ended.await.unwrap().unwrap_err().to_string();
        assert!(words.contains("cannot be used"), "{words}");
    }
}
