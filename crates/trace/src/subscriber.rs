//! The subscriber of `tracing` that makes spans of OpenTelemetry. It is not that of the logs: their filter has no say in
//! what is traced, and what is traced is not formatted for them.

use opentelemetry::InstrumentationScope;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanLimits};
use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

use crate::ended::Queue;

/// The target of our spans.
pub(crate) const TARGET: &str = "postrider.spans";

/// One that gives each span that has ended to `queue`.
pub(crate) fn of(queue: Queue) -> Dispatch {
    // Whatever the SDK takes from `OTEL_…` variables is given here: our configuration is the only one.
    let provider = SdkTracerProvider::builder()
        // Who makes a span has asked before whether it is sampled.
        .with_sampler(Sampler::AlwaysOn)
        .with_span_limits(SpanLimits::default())
        // The exporter has it.
        .with_resource(Resource::builder_empty().build())
        .with_span_processor(queue)
        .build();
    let scope = InstrumentationScope::builder("postrider").with_version(env!("CARGO_PKG_VERSION"));
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer_with_scope(scope.build()))
        // A span is never entered: it lies with what it tells of, in queues too.
        .with_context_activation(false)
        .with_tracked_inactivity(false)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false);
    // `tracing` asks every subscriber about every call site. That this one wants nothing else, and only the highest level,
    // is what keeps log lines that nobody wants as cheap as they are without it.
    let ours = Targets::new().with_target(TARGET, LevelFilter::ERROR);
    Dispatch::new(Registry::default().with(spans).with(ours))
}
