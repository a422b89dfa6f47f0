//! Traces: what Postrider did with one event, as spans of OpenTelemetry.
//!
//! **In → out.** A service asks the [`Tracer`] for a [`Span`] under the context that a record or a request carries, writes
//! its facts into it and ends it; the context of the span goes on in what the service writes. It is a span of `tracing`,
//! under a subscriber of its own, of which `tracing-opentelemetry` makes one of OpenTelemetry. The [`Exporter`] sends ended
//! spans to a collector by OTLP over HTTP, in batches.
//!
//! **Invariants.** A span exists only where its trace is sampled: elsewhere [`Span`] is an empty pointer and nothing is
//! computed, allocated or locked. Nobody ever waits for the exporter. What is remembered is bounded. Neither payloads nor
//! secrets are written into a span.
//!
//! **Authority and crashes.** A trace is a hint: what is in the queue when the process dies is gone, and nothing depends on it.
//!
//! **Failing and stopping.** A collector that is away, slow or refuses costs spans, which are counted, and no delivery. Told
//! to stop, the exporter sends what it has for a second at most.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "tests"))]

mod context;
mod ended;
mod export;
mod metrics;
mod retry;
mod send;
mod span;
mod subscriber;
mod tracer;

pub use ended::Ended;
pub use export::{Destination, Exporter};
pub use metrics::{Lost, TraceMetrics};
pub use send::NoClient;
pub use span::{Attributes, Kind, Span};
pub use tracer::{Settings, Tracer};
