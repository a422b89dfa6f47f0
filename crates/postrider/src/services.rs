//! The services, each with its ports, options and metrics.

use std::sync::Arc;

use axum::Router;
use postrider_api::{Api, ApiMetrics};
use postrider_deadletter::DeadLetterMetrics;
use postrider_delivery::{DeliveryMetrics, HttpOptions, HttpSender, Worker};
use postrider_fanout::FanoutMetrics;
use postrider_guard::Guard;
use postrider_ingest::{Ingest, IngestMetrics};
use postrider_metrics::Registry as Metrics;
use postrider_pump::PumpMetrics;
use postrider_recorder::RecorderMetrics;

use crate::config::Config;
use crate::opening::Ports;
use crate::options;
use crate::roles::{Role, Roles};
use crate::supervise::Stage;
use crate::wiring::Stages;

/// Starts the services of `roles`, each in its stage.
pub(crate) fn start(
    stages: &mut Stages,
    ports: &Ports,
    roles: &Roles,
    config: &Config,
    guard: &Guard,
    metrics: &Metrics,
) -> anyhow::Result<()> {
    if roles.has(Role::Fanout) {
        fanout(&mut stages.feeding, ports, config, metrics)?;
    }
    if roles.has(Role::Pump) {
        pump(&mut stages.feeding, ports, metrics)?;
    }
    if roles.has(Role::Worker) {
        worker(&mut stages.worker, ports, config, guard, metrics)?;
    }
    if roles.has(Role::Recorder) {
        recorder(&mut stages.recording, ports, config, metrics)?;
    }
    if roles.has(Role::Deadletter) {
        dead_letters(&mut stages.recording, ports, config, metrics)?;
    }
    Ok(())
}

fn fanout(
    stage: &mut Stage,
    ports: &Ports,
    config: &Config,
    metrics: &Metrics,
) -> anyhow::Result<()> {
    let (log, registry) = (Arc::clone(&ports.log), ports.registry()?);
    let tracer = ports.tracer.clone();
    let (options, counts) = (options::fanout(config), FanoutMetrics::register(metrics)?);
    stage.spawn("fanout", |shutdown| async move {
        Ok(postrider_fanout::run(log, registry, tracer, options, counts, shutdown).await?)
    });
    Ok(())
}

fn pump(stage: &mut Stage, ports: &Ports, metrics: &Metrics) -> anyhow::Result<()> {
    let (log, clock) = (Arc::clone(&ports.log), Arc::clone(&ports.clock));
    let counts = PumpMetrics::register(metrics)?;
    stage.spawn("pump", |shutdown| async move {
        let options = postrider_pump::Options::default();
        Ok(postrider_pump::run(log, clock, options, counts, shutdown).await?)
    });
    Ok(())
}

fn worker(
    stage: &mut Stage,
    ports: &Ports,
    config: &Config,
    guard: &Guard,
    metrics: &Metrics,
) -> anyhow::Result<()> {
    let guard = Arc::new(guard.clone());
    let worker = Worker {
        log: Arc::clone(&ports.log),
        endpoints: ports.registry()? as _,
        sender: Arc::new(HttpSender::new(guard, HttpOptions::default())?),
        clock: Arc::clone(&ports.clock),
        tracer: ports.tracer.clone(),
        options: options::delivery(config),
        metrics: DeliveryMetrics::register(metrics)?,
    };
    stage.spawn("worker", |shutdown| async move {
        Ok(worker.run(shutdown).await?)
    });
    Ok(())
}

fn recorder(
    stage: &mut Stage,
    ports: &Ports,
    config: &Config,
    metrics: &Metrics,
) -> anyhow::Result<()> {
    let (log, store, clock) = (
        Arc::clone(&ports.log),
        ports.pipeline_store()?,
        Arc::clone(&ports.clock),
    );
    let (options, counts) = (
        options::recorder(config),
        RecorderMetrics::register(metrics)?,
    );
    stage.spawn("recorder", |shutdown| async move {
        Ok(postrider_recorder::run(log, store, clock, options, counts, shutdown).await?)
    });
    Ok(())
}

fn dead_letters(
    stage: &mut Stage,
    ports: &Ports,
    config: &Config,
    metrics: &Metrics,
) -> anyhow::Result<()> {
    let dead_letters = postrider_deadletter::Ports {
        log: Arc::clone(&ports.log),
        store: ports.pipeline_store()?,
        endpoints: ports.registry()? as _,
        clock: Arc::clone(&ports.clock),
        tracer: ports.tracer.clone(),
    };
    let (options, counts) = (
        options::dead_letters(config),
        DeadLetterMetrics::register(metrics)?,
    );
    stage.spawn("deadletter", |shutdown| async move {
        Ok(postrider_deadletter::run(dead_letters, options, counts, shutdown).await?)
    });
    Ok(())
}

/// Everything that `roles` answer under /api. The API's role creates events as well, so that a client library needs one
/// address.
pub(crate) fn routes(
    base: &mut Stage,
    ports: &Ports,
    roles: &Roles,
    config: &Config,
    guard: Guard,
    metrics: &Metrics,
) -> anyhow::Result<Router> {
    let bodies = options::bodies(config);
    let mut routes = Router::new();
    if roles.have_routes() {
        routes = routes.merge(intake(
            ports,
            options::ingest(config, bodies.clone()),
            metrics,
        )?);
    }
    if roles.has(Role::Api) {
        let options = options::api(config, bodies);
        routes = routes.merge(api(base, ports, options, guard, metrics)?);
    }
    Ok(routes)
}

fn intake(
    ports: &Ports,
    options: postrider_ingest::Options,
    metrics: &Metrics,
) -> anyhow::Result<Router> {
    let store = ports.store()?;
    let ingest = Ingest::new(
        postrider_ingest::Ports {
            log: Arc::clone(&ports.log),
            registry: ports.registry()?,
            applications: Arc::clone(&store) as _,
            claims: store as _,
            clock: Arc::clone(&ports.clock),
            tracer: ports.tracer.clone(),
        },
        options,
        IngestMetrics::register(metrics)?,
    )?;
    Ok(postrider_ingest::router(ingest))
}

fn api(
    base: &mut Stage,
    ports: &Ports,
    options: postrider_api::Options,
    guard: Guard,
    metrics: &Metrics,
) -> anyhow::Result<Router> {
    let api = Api::new(
        postrider_api::Ports {
            store: ports.store()?,
            log: Arc::clone(&ports.log),
            registry: ports.registry()?,
            guard,
            clock: Arc::clone(&ports.clock),
            tracer: ports.tracer.clone(),
        },
        options,
        ApiMetrics::register(metrics)?,
    );
    let follows = Arc::clone(&api);
    base.spawn("api", |shutdown| async move {
        Ok(follows.follow(shutdown.cancelled_owned()).await?)
    });
    Ok(postrider_api::router(api))
}
