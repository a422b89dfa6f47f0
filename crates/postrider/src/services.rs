//! The services, each with its ports, options and metrics.

use std::sync::Arc;

use axum::Router;
use postrider_api::{Api, ApiMetrics};
use postrider_deadletter::DeadLetterMetrics;
use postrider_delivery::{DeliveryMetrics, HttpOptions, HttpSender, Worker};
use postrider_fanout::FanoutMetrics;
use postrider_ingest::{Ingest, IngestMetrics};
use postrider_metrics::Registry as Metrics;
use postrider_pump::PumpMetrics;
use postrider_recorder::RecorderMetrics;

use crate::config::Config;
use crate::options;
use crate::supervise::Stage;
use crate::wiring::Ports;

/// What feeds the worker: fanout and pump.
pub(crate) fn feeding(
    stage: &mut Stage,
    ports: &Ports,
    config: &Config,
    metrics: &Metrics,
) -> anyhow::Result<()> {
    let (log, registry) = (Arc::clone(&ports.log), Arc::clone(&ports.registry));
    let (options, counts) = (options::fanout(config), FanoutMetrics::register(metrics)?);
    stage.spawn("fanout", |shutdown| async move {
        Ok(postrider_fanout::run(log, registry, options, counts, shutdown).await?)
    });
    let (log, clock) = (Arc::clone(&ports.log), Arc::clone(&ports.clock));
    let counts = PumpMetrics::register(metrics)?;
    stage.spawn("pump", |shutdown| async move {
        let options = postrider_pump::Options::default();
        Ok(postrider_pump::run(log, clock, options, counts, shutdown).await?)
    });
    Ok(())
}

/// The delivery worker.
pub(crate) fn worker(
    stage: &mut Stage,
    ports: &Ports,
    config: &Config,
    metrics: &Metrics,
) -> anyhow::Result<()> {
    let guard = Arc::new(options::guard(config));
    let worker = Worker {
        log: Arc::clone(&ports.log),
        endpoints: Arc::clone(&ports.registry) as _,
        sender: Arc::new(HttpSender::new(guard, HttpOptions::default())?),
        clock: Arc::clone(&ports.clock),
        options: options::delivery(config),
        metrics: DeliveryMetrics::register(metrics)?,
    };
    stage.spawn("worker", |shutdown| async move {
        Ok(worker.run(shutdown).await?)
    });
    Ok(())
}

/// What writes the store: recorder and dead-letter consumer.
pub(crate) fn recording(
    stage: &mut Stage,
    ports: &Ports,
    config: &Config,
    metrics: &Metrics,
) -> anyhow::Result<()> {
    let (log, store, clock) = (
        Arc::clone(&ports.log),
        Arc::clone(&ports.store),
        Arc::clone(&ports.clock),
    );
    let (options, counts) = (
        options::recorder(config),
        RecorderMetrics::register(metrics)?,
    );
    stage.spawn("recorder", |shutdown| async move {
        Ok(postrider_recorder::run(log, store, clock, options, counts, shutdown).await?)
    });
    let dead_letters = postrider_deadletter::Ports {
        log: Arc::clone(&ports.log),
        store: Arc::clone(&ports.store),
        endpoints: Arc::clone(&ports.registry) as _,
        clock: Arc::clone(&ports.clock),
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

/// Everything that is answered under /api.
pub(crate) fn routes(ports: &Ports, config: &Config, metrics: &Metrics) -> anyhow::Result<Router> {
    let ingest = Ingest::new(
        postrider_ingest::Ports {
            log: Arc::clone(&ports.log),
            registry: Arc::clone(&ports.registry),
            applications: Arc::clone(&ports.store) as _,
            claims: Arc::clone(&ports.store) as _,
            clock: Arc::clone(&ports.clock),
        },
        options::ingest(config),
        IngestMetrics::register(metrics)?,
    )?;
    let api = Api::new(
        postrider_api::Ports {
            store: Arc::clone(&ports.store),
            log: Arc::clone(&ports.log),
            registry: Arc::clone(&ports.registry),
            guard: options::guard(config),
            clock: Arc::clone(&ports.clock),
        },
        options::api(config),
        ApiMetrics::register(metrics)?,
    );
    Ok(postrider_ingest::router(ingest).merge(postrider_api::router(api)))
}
