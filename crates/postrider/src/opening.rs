//! Opening what the roles work on: the log by its kind, the store by its URL, the configuration in memory. What is away at
//! the start is waited for, but for a store whose configuration was kept in a file; what is wrong ends the start.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use postrider_log::Log;
use postrider_log_embedded::EmbeddedLog;
use postrider_log_kafka as kafka_log;
use postrider_metrics::Registry as Metrics;
use postrider_model::{Clock, SystemClock, topics};
use postrider_registry::{Registry, SnapshotFile};
use postrider_store::Store;
use postrider_trace::Tracer;
use tokio::time::Instant;

use crate::condition::{Condition, Name};
use crate::config::{Config, LogKind};
use crate::roles::Roles;
use crate::{data_dir, kafka, options, token};

pub(crate) mod store;

/// How often what is away is asked again, and how often that is said.
const ASK_EVERY: Duration = Duration::from_secs(1);
const SAY_EVERY: Duration = Duration::from_secs(30);

/// What every service works on; the store and the registry only where a role of the process needs them.
#[derive(Clone)]
pub(crate) struct Ports {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Gives no spans until it is replaced.
    pub(crate) tracer: Tracer,
    store: Option<Arc<dyn Store>>,
    pipeline: Option<Arc<dyn Store>>,
    registry: Option<Arc<Registry>>,
    /// The store, if it was away at the start and is still to be opened.
    pub(crate) away: Option<store::Away>,
    /// Where the registry is kept, if it is.
    pub(crate) snapshot: Option<SnapshotFile>,
}

impl Ports {
    /// The store.
    ///
    /// # Errors
    /// If no role of this process was said to need it.
    pub(crate) fn store(&self) -> anyhow::Result<Arc<dyn Store>> {
        self.store
            .clone()
            .context("a role needs the store, and it was not opened")
    }

    /// The store for the pipeline, whose questions do not wait for those of the API.
    ///
    /// # Errors
    /// If no role of this process was said to need it.
    pub(crate) fn pipeline_store(&self) -> anyhow::Result<Arc<dyn Store>> {
        self.pipeline
            .clone()
            .context("a role needs the store, and it was not opened")
    }

    /// The registry.
    ///
    /// # Errors
    /// If no role of this process was said to need it.
    pub(crate) fn registry(&self) -> anyhow::Result<Arc<Registry>> {
        self.registry
            .clone()
            .context("a role needs the registry, and it was not read")
    }
}

/// Opens what `roles` need. Ends only once all of it is there, or if something is wrong.
pub(crate) async fn open(
    config: &Config,
    roles: &Roles,
    metrics: &Metrics,
    condition: &Condition,
) -> anyhow::Result<Ports> {
    let local_store = roles.use_store() && config.store.url.is_sqlite();
    if config.log.kind == LogKind::Embedded || local_store {
        data_dir::make(&config.data)?;
    }
    if config.log.kind == LogKind::Embedded && data_dir::check_log(&config.data)? {
        tracing::error!("{}", data_dir::NEW_LOG_BEGINS);
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let log = open_log(config, metrics, condition).await?;
    let mut ports = Ports {
        log,
        clock,
        tracer: Tracer::default(),
        store: None,
        pipeline: None,
        registry: None,
        away: None,
        snapshot: None,
    };
    if roles.use_store() {
        let configuration = roles.use_registry().then_some(&ports.clock);
        let opened = store::open(config, configuration, metrics, condition).await?;
        if local_store {
            token::ensure(&config.data, opened.store.as_ref(), ports.clock.as_ref()).await?;
        }
        if let Some(registry) = opened.registry {
            condition.watch(Arc::clone(&registry));
            ports.registry = Some(registry);
        }
        condition.set(Name::Store, None);
        ports.store = Some(opened.store);
        ports.pipeline = Some(opened.pipeline);
        ports.away = opened.away;
        ports.snapshot = opened.snapshot;
    }
    Ok(ports)
}

async fn open_log(
    config: &Config,
    metrics: &Metrics,
    condition: &Condition,
) -> anyhow::Result<Arc<dyn Log>> {
    let log: Arc<dyn Log> = match config.log.kind {
        LogKind::Embedded => {
            let metrics = postrider_log_embedded::LogMetrics::register(metrics)?;
            let defaults =
                postrider_log_embedded::Options::new(&config.data, topics::all(), metrics);
            Arc::new(EmbeddedLog::open(options::log(config, defaults))?)
        }
        LogKind::Kafka => {
            let metrics = kafka_log::LogMetrics::register(metrics)?;
            let open = async || kafka::open(config, metrics.clone()).await;
            let away = |error: &kafka_log::OpenError| {
                matches!(error, kafka_log::OpenError::Unreachable { .. })
            };
            when_there(condition, Name::Log, open, away).await?
        }
    };
    condition.set(Name::Log, None);
    Ok(log)
}

/// Tries until it succeeds or fails with an error that is not `away`.
async fn when_there<T, E: Display>(
    condition: &Condition,
    part: Name,
    attempt: impl AsyncFn() -> Result<T, E>,
    away: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let mut waiting = Waiting::default();
    loop {
        match attempt().await {
            Err(error) if away(&error) => {
                condition.set(part, Some(format!("{error}; the start waits for it")));
                waiting.wait(&error.to_string()).await;
            }
            ended => return ended,
        }
    }
}

/// Waits for what is away, and says so now and then.
#[derive(Default)]
struct Waiting {
    say_at: Option<Instant>,
}

impl Waiting {
    async fn wait(&mut self, why: &str) {
        if self.say_at.is_none_or(|at| Instant::now() >= at) {
            self.say_at = Some(Instant::now() + SAY_EVERY);
            tracing::warn!(
                "{why}: waiting for it, and asking again every {} s",
                ASK_EVERY.as_secs()
            );
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}
