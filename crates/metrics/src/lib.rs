//! How a metric is declared: once, in its crate's `metrics.rs`, with its unit and its help.
//!
//! **In → out.** A service lists its metrics in [`metrics!`]; the binary makes one [`Registry`] and
//! hands it to every service, which calls `XMetrics::register(&registry)` and keeps the handles.
//! `/metrics` answers with [`Registry::render`]; documentation and dashboards are compared with
//! [`Registry::declarations`].
//!
//! **Invariants.** A name begins with `postrider_`, says its unit, and is declared once in a
//! registry. A label's values are an enumeration ([`label!`]), or come from the program and its
//! configuration ([`CounterFamily`], [`GaugeFamily`]); an id only in [`Worst`], of which few are
//! shown at a time: so the number of series is bounded. Series of enumerated labels exist from the
//! start at zero, so a rate over the first occurrence is right.
//!
//! **Authority and crashes.** Nothing here survives the process; counters begin again at zero,
//! which Prometheus expects. There are no globals: two services in one process, or two tests, have
//! what their registries have.
//!
//! **Cost.** A handle is a pointer to an atomic: counting neither locks nor looks anything up.
//!
//! **Failing.** Only declaring can fail, at start, with an [`Error`] that says which declaration
//! is wrong; counting cannot.
//!
//! ```
//! postrider_metrics::label! {
//!     /// Why a request was refused.
//!     pub enum Reason("reason") { TooLarge = "too_large", Unauthorized = "unauthorized" }
//! }
//!
//! postrider_metrics::metrics! {
//!     /// What ingest counts.
//!     pub struct IngestMetrics {
//!         accepted: Counter("postrider_ingest_accepted_total", "events", "Events answered with 202."),
//!         rejected: CounterVec<Reason>("postrider_ingest_rejected_total", "requests", "Requests refused, by reason."),
//!         backlog: Gauge("postrider_ingest_waiting", "events", "Events waiting for the log."),
//!         accept: Histogram("postrider_ingest_accept_seconds", "seconds", "From request to 202.",
//!             postrider_metrics::LATENCY_BUCKETS),
//!     }
//! }
//!
//! let registry = postrider_metrics::Registry::new();
//! let metrics = IngestMetrics::register(&registry)?;
//! metrics.accepted.inc();
//! metrics.rejected.of(Reason::TooLarge).inc();
//! metrics.accept.observe_duration(std::time::Duration::from_millis(3));
//! assert!(registry.render().contains("postrider_ingest_accepted_total 1"));
//! # Ok::<(), postrider_metrics::Error>(())
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod declare;
mod family;
mod label;
mod registry;
mod series;
mod worst;

#[cfg(test)]
mod tests;

pub use declare::{Declaration, Error, Kind};
pub use family::{
    CounterFamily, CounterVec, Family, FloatGaugeFamily, FloatGaugeVec, GaugeFamily, GaugeVec,
    HistogramVec, PerLabel,
};
pub use label::{Label, Labels};
pub use registry::Registry;
pub use series::{Counter, FloatCounter, FloatGauge, Gauge, Histogram, Series};
pub use worst::Worst;

/// The content type of what [`Registry::render`] returns.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Histogram bounds for latencies, in seconds: from half a millisecond (an fsync) to a minute
/// (longer than any attempt's timeout), each at most 2.5 times the one before.
pub const LATENCY_BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0,
    30.0, 60.0,
];

/// Histogram bounds for the number of records in a batch.
pub const BATCH_BUCKETS: &[f64] = &[1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0];

/// Declares the metrics of one crate as a struct with a `register` constructor.
///
/// Each field is `name: Kind("postrider_…", "unit", "Help."[, buckets])`, where `Kind` is
/// [`Counter`], [`FloatCounter`], [`Gauge`], [`FloatGauge`] or [`Histogram`]; or one of those per label,
/// `CounterVec<Reason>`, `HistogramVec<(Class, Outcome)>`; or, where the values of the labels are
/// known only at start, `GaugeFamily<2>("…", "…", "Help.", ["topic", "group"])`. A histogram takes
/// its bounds as the fourth argument, a [`Worst`] the name of its one label. The help becomes the field's documentation, too.
#[macro_export]
macro_rules! metrics {
    (
        $(#[$attr:meta])*
        $vis:vis struct $name:ident {
            $( $(#[$field_attr:meta])*
               $field:ident : $kind:ident $(< $label:tt >)?
               ( $metric:literal, $unit:literal, $help:literal $(, $extra:expr)? $(,)? ) ),* $(,)?
        }
    ) => {
        $(#[$attr])*
        #[derive(Clone, Debug)]
        $vis struct $name {
            $( #[doc = $help] $(#[$field_attr])* $vis $field: $crate::$kind $(< $label >)?, )*
        }

        impl $name {
            /// Declares all of these in `registry`.
            ///
            /// # Errors
            /// The first declaration that is wrong or is there already. Those before it stay
            /// declared: this is for start, where an error ends the process.
            $vis fn register(registry: &$crate::Registry) -> Result<Self, $crate::Error> {
                Ok(Self {
                    $( $field: <$crate::$kind $(< $label >)?>::register(
                        registry, $metric, $unit, $help $(, $extra)?
                    )?, )*
                })
            }
        }
    };
}

/// Declares a label: its name, and every value that it can have.
///
/// See the crate's example. The enumeration is `Copy` and implements [`Label`].
#[macro_export]
macro_rules! label {
    (
        $(#[$attr:meta])*
        $vis:vis enum $name:ident ( $label:literal ) {
            $( $(#[$value_attr:meta])* $value:ident = $text:literal ),+ $(,)?
        }
    ) => {
        $(#[$attr])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $vis enum $name {
            $( #[doc = concat!("`", $text, "`")] $(#[$value_attr])* $value, )+
        }

        impl $crate::Label for $name {
            const NAME: &'static str = $label;
            const VALUES: &'static [&'static str] = &[$($text),+];
            fn index(self) -> usize {
                self as usize
            }
        }
    };
}
