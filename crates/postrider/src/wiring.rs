//! Puts the process together: adapters behind the ports, services on the ports, routes on one listener, and the order in
//! which all of it stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use postrider_log::Log;
use postrider_log_embedded::EmbeddedLog;
use postrider_metrics::Registry as Metrics;
use postrider_model::{Clock, SystemClock, topics};
use postrider_registry::Registry;
use postrider_store::Store;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::condition::Condition;
use crate::config::{Config, LogKind};
use crate::http::{self, Bounds};
use crate::observe::{LogWatch, ProcessMetrics};
use crate::routes::Admin;
use crate::signals::Signals;
use crate::supervise::{self, Stage};
use crate::{data_dir, options, out, routes, services, token};

/// What a stage gets to finish a batch: a commit each in log and store.
const FINISH: Duration = Duration::from_secs(10);
/// Connections to the listener for health and metrics.
const ADMIN_CONNECTIONS: usize = 100;

/// What every service works on.
#[derive(Clone)]
pub(crate) struct Ports {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Runs the server until it is told to stop or a service ends.
pub(crate) async fn serve(config: Config) -> anyhow::Result<()> {
    let metrics = Metrics::new();
    let ports = open(&config, &metrics).await?;
    let condition = Condition::new(Arc::clone(&ports.registry));
    let admin = Admin {
        condition: Arc::clone(&condition),
        registry: metrics.clone(),
        process: ProcessMetrics::start(&metrics)?,
    };
    let watch = LogWatch::new(Arc::clone(&ports.log), Arc::clone(&condition), &metrics)?;

    let mut front = Stage::new(config.http.drain + FINISH);
    let mut feeding = Stage::new(FINISH);
    let mut worker = Stage::new(config.delivery.drain + FINISH);
    let mut recording = Stage::new(FINISH);
    let mut base = Stage::new(FINISH);
    services::feeding(&mut feeding, &ports, &config, &metrics)?;
    services::worker(&mut worker, &ports, &config, &metrics)?;
    services::recording(&mut recording, &ports, &config, &metrics)?;
    let registry = Arc::clone(&ports.registry);
    base.spawn("registry", |shutdown| async move {
        registry.run(shutdown).await;
        Ok(())
    });
    base.spawn("metrics", |shutdown| watch.run(shutdown));

    let signals = Signals::new().context("cannot handle signals")?;
    let api = services::routes(&ports, &config, &metrics)?;
    let address = listen(&mut front, &mut base, api, admin, &config).await?;
    out::line(format_args!("ready http://{address}"))?;
    tracing::info!(%address, data = %config.data.display(), "ready");

    let stages = vec![front, feeding, worker, recording, base];
    let ran = supervise::run(stages, signals.stop(), || condition.drain()).await;
    let closed = ports
        .log
        .close()
        .await
        .context("the log could not be closed");
    ran.and(closed)
}

/// Opens log and store in the data directory, and reads the configuration that is in the store.
async fn open(config: &Config, metrics: &Metrics) -> anyhow::Result<Ports> {
    data_dir::make(&config.data)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let log = open_log(config, metrics)?;
    let store_metrics = postrider_store_sql::StoreMetrics::register(metrics)?;
    let store = postrider_store_sql::open(&options::store_url(config), store_metrics).await?;
    token::ensure(&config.data, store.as_ref(), clock.as_ref()).await?;
    let registry_metrics = postrider_registry::RegistryMetrics::register(metrics)?;
    let registry = Registry::load(Arc::clone(&store) as _, registry_metrics)
        .await
        .context("the configuration in the store cannot be read")?;
    Ok(Ports {
        log,
        store,
        registry,
        clock,
    })
}

fn open_log(config: &Config, metrics: &Metrics) -> anyhow::Result<Arc<dyn Log>> {
    match config.log.kind {
        LogKind::Embedded => {
            let metrics = postrider_log_embedded::LogMetrics::register(metrics)?;
            let defaults =
                postrider_log_embedded::Options::new(&config.data, topics::all(), metrics);
            Ok(Arc::new(EmbeddedLog::open(options::log(config, defaults))?))
        }
    }
}

/// Binds the listeners and starts to answer. Health and metrics are answered to the end of the drain if they have a
/// listener of their own.
async fn listen(
    front: &mut Stage,
    base: &mut Stage,
    api: Router,
    admin: Admin,
    config: &Config,
) -> anyhow::Result<SocketAddr> {
    let listener = bind(config.listen, "listen").await?;
    let address = listener.local_addr()?;
    let timeout = config.http.request_timeout;
    let front_bounds = Bounds {
        connections: config.http.max_connections,
        drain: config.http.drain,
    };
    let api = match config.admin.listen {
        None => api.merge(routes::admin(admin)),
        Some(own) => {
            let listener = bind(own, "admin.listen").await?;
            tracing::info!(address = %listener.local_addr()?, "health and metrics are answered");
            let bounds = Bounds {
                connections: ADMIN_CONNECTIONS,
                drain: Duration::from_secs(1),
            };
            let router = routes::finish(routes::admin(admin), timeout);
            base.spawn("admin listener", |shutdown| {
                answer(listener, router, bounds, shutdown)
            });
            api
        }
    };
    let router = routes::finish(api, timeout);
    front.spawn("listener", |shutdown| {
        answer(listener, router, front_bounds, shutdown)
    });
    Ok(address)
}

async fn answer(
    listener: TcpListener,
    router: Router,
    bounds: Bounds,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    http::serve(listener, router, bounds, shutdown).await;
    Ok(())
}

async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} ({key})"))
}
