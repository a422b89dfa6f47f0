//! Puts the process together: adapters behind the ports, services on the ports, routes on their listener, and the order in
//! which all of it stops.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use postrider_metrics::Registry as Metrics;
use postrider_registry::{Keeper, KeeperMetrics};
use tokio::signal::unix::{SignalKind, signal};

use crate::condition::Condition;
use crate::config::{Config, LogKind};
use crate::data_dir::Address;
use crate::doors::Doors;
use crate::observe::{LogWatch, watch_store};
use crate::opening::{self, Ports};
use crate::parts::Parts;
use crate::process::ProcessMetrics;
use crate::reload::{Origin, Reload};
use crate::roles::Roles;
use crate::routes::Admin;
use crate::signals::Signals;
use crate::supervise::{self, Stage};
use crate::{options, out, services, traces};

/// What a stage gets to finish a batch: a commit each in log and store.
const FINISH: Duration = Duration::from_secs(10);

/// The parts of the process that stop one after the other, in this order.
pub(crate) struct Stages {
    /// What takes requests.
    pub(crate) front: Stage,
    /// What feeds the worker.
    pub(crate) feeding: Stage,
    pub(crate) worker: Stage,
    /// What writes the store.
    pub(crate) recording: Stage,
    /// What all others need to the end.
    pub(crate) base: Stage,
}

impl Stages {
    fn new(config: &Config) -> Self {
        Self {
            front: Stage::new(config.http.leave + config.http.drain + FINISH),
            feeding: Stage::new(FINISH),
            worker: Stage::new(config.delivery.drain + FINISH),
            recording: Stage::new(FINISH),
            base: Stage::new(FINISH),
        }
    }

    fn in_order(self) -> Vec<Stage> {
        vec![
            self.front,
            self.feeding,
            self.worker,
            self.recording,
            self.base,
        ]
    }
}

/// Plays `roles` until the process is told to stop or a service ends.
pub(crate) async fn serve(config: Config, roles: Roles, origin: Origin) -> anyhow::Result<()> {
    let hangups = signal(SignalKind::hangup()).context("cannot handle signals")?;
    let mut stop = pin!(Signals::new().context("cannot handle signals")?.stop());
    let metrics = Metrics::new();
    let condition = Condition::new(roles.use_store());
    let admin = Admin {
        condition: Arc::clone(&condition),
        registry: metrics.clone(),
        process: ProcessMetrics::start(&metrics, &roles)?,
        parts: Parts::start(
            &metrics,
            (config.log.kind == LogKind::Embedded).then(|| config.data.clone()),
        )?,
    };
    let mut stages = Stages::new(&config);
    let mut doors = Doors::bind(&config, &roles, admin).await?;
    if config.log.kind == LogKind::Kafka {
        // Servers may have to be waited for, and meanwhile somebody may ask how it goes.
        doors.answer(&mut stages.front, &mut stages.base);
    }
    let mut ports = tokio::select! {
        opened = opening::open(&config, &roles, &metrics, &condition) => opened?,
        why = &mut stop => {
            tracing::info!("{why}: stopping before everything was there");
            return Ok(());
        }
    };
    // After the locks were had, so that nobody takes the address of another process for this one's.
    let _said = match config.store.url.is_sqlite() && roles.use_store() {
        true => Some(Address::say(&config.data, doors.address())?),
        false => None,
    };
    ports.tracer = traces::start(&mut stages.base, &config, &roles, &metrics)?;
    watch(&mut stages.base, &ports, &roles, &metrics, &condition)?;
    let guard = options::guard(&config);
    let reload = Reload::new(origin, &roles, &config, &guard, &metrics)?;
    reload.start(&mut stages.base, hangups);
    services::start(&mut stages, &ports, &roles, &config, &guard, &metrics)?;
    let base = &mut stages.base;
    doors.open(services::routes(
        base, &ports, &roles, &config, guard, &metrics,
    )?);
    doors.answer(&mut stages.front, &mut stages.base);
    // A log that has stopped already ends the services, which say why.
    if ports.log.sync().await.is_ok() {
        condition.start();
        let address = doors.address();
        out::line(format_args!("ready http://{address}"))?;
        tracing::info!(%address, roles = roles.names(), data = %config.data.display(), "ready");
    }

    let ran = supervise::run(stages.in_order(), stop, || condition.drain()).await;
    ran.and(close(&ports).await)?;
    tracing::info!("stopped");
    Ok(())
}

/// The log first: what it finishes may still be told to the store.
async fn close(ports: &Ports) -> anyhow::Result<()> {
    let closed = ports.log.close().await;
    if let Ok(store) = ports.store()
        && tokio::time::timeout(FINISH, store.close()).await.is_err()
    {
        tracing::warn!("the store was not closed in time; nothing in it is lost");
    }
    closed.context("the log could not be closed")
}

/// What looks after the ports.
fn watch(
    base: &mut Stage,
    ports: &Ports,
    roles: &Roles,
    metrics: &Metrics,
    condition: &Arc<Condition>,
) -> anyhow::Result<()> {
    let log = LogWatch::new(Arc::clone(&ports.log), Arc::clone(condition), metrics)?;
    base.spawn("metrics", |shutdown| log.run(shutdown));
    if roles.use_registry() {
        let registry = ports.registry()?;
        if let Some(file) = ports.snapshot.clone() {
            let (clock, counts) = (Arc::clone(&ports.clock), KeeperMetrics::register(metrics)?);
            let keeper = Keeper::new(Arc::clone(&registry), file, clock, counts);
            base.spawn("snapshot", |shutdown| async move {
                keeper.run(shutdown).await;
                Ok(())
            });
        }
        base.spawn("registry", |shutdown| async move {
            registry.run(shutdown).await;
            Ok(())
        });
        if let Some(away) = ports.away.clone() {
            base.spawn("store", |shutdown| away.run(shutdown));
        }
    } else if roles.use_store() {
        let (store, condition) = (ports.store()?, Arc::clone(condition));
        base.spawn("store", |shutdown| watch_store(store, condition, shutdown));
    }
    Ok(())
}
