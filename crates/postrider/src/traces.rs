//! Traces, by the configuration: none, or spans that go to a collector.

use http::HeaderMap;
use postrider_metrics::Registry as Metrics;
use postrider_trace::{Destination, Exporter, Settings, TraceMetrics, Tracer};

use crate::config::{Config, LogKind};
use crate::roles::Roles;
use crate::supervise::Stage;

/// What the process traces with. Where there is a collector, `base` sends to it, to the end.
pub(crate) fn start(
    base: &mut Stage,
    config: &Config,
    roles: &Roles,
    metrics: &Metrics,
) -> anyhow::Result<Tracer> {
    let metrics = TraceMetrics::register(metrics)?;
    let section = &config.traces;
    let Some(endpoint) = &section.endpoint else {
        return Ok(Tracer::default());
    };
    let settings = Settings {
        ratio: section.sampling.ratio(),
        messaging_system: match config.log.kind {
            LogKind::Embedded => "postrider",
            LogKind::Kafka => "kafka",
        },
        queue: section.queue,
    };
    let (tracer, ended) = Tracer::new(settings, metrics.clone());
    let destination = Destination {
        url: endpoint.traces(),
        headers: section
            .headers
            .as_ref()
            .map_or_else(HeaderMap::new, |given| given.0.clone()),
        timeout: section.timeout,
        resource: vec![
            ("service.name", section.service_name.0.clone()),
            ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("service.instance.id", instance()),
            ("postrider.roles", roles.names()),
        ],
    };
    let exporter = Exporter::new(destination, ended, metrics)?;
    base.spawn("traces", |shutdown| async move {
        exporter.run(shutdown).await;
        Ok(())
    });
    Ok(tracer)
}

/// Tells this process from others, and from itself before a restart.
fn instance() -> String {
    format!("{:032x}", rand::random::<u128>())
}
