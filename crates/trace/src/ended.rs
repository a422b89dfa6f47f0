//! What becomes of a span when it ends: it goes to the queue of the exporter, or is dropped if that has no room.

use std::time::Duration;

use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::{Lost, TraceMetrics};

/// The end of the queue of ended spans, for the [`Exporter`](crate::Exporter).
#[derive(Debug)]
pub struct Ended(pub(crate) mpsc::Receiver<SpanData>);

/// The attribute by which a span tells the [`Queue`], and nobody else, of its end. It is the last one and taken off here:
/// what `tracing` gives an ended span to knows neither an earlier beginning nor a span that is not to be told.
const ASIDE: &str = "postrider.aside";

/// That it began so long before it was asked for.
pub(crate) fn began_before(ago: Duration) -> KeyValue {
    KeyValue::new(ASIDE, i64::try_from(ago.as_nanos()).unwrap_or(i64::MAX))
}

/// That nobody ended it.
pub(crate) fn untold() -> KeyValue {
    KeyValue::new(ASIDE, false)
}

/// Where ended spans wait for the exporter. In the manner of the SDK's processors, which count nothing of what they drop.
#[derive(Debug)]
pub(crate) struct Queue {
    room: mpsc::Sender<SpanData>,
    metrics: TraceMetrics,
}

impl Queue {
    /// One for so many spans.
    pub(crate) fn of(spans: usize, metrics: TraceMetrics) -> (Self, Ended) {
        let (room, ended) = mpsc::channel(spans.max(1));
        (Self { room, metrics }, Ended(ended))
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, mut span: SpanData) {
        let aside = span.attributes.pop_if(|last| last.key.as_str() == ASIDE);
        match aside.map(|aside| aside.value) {
            None => {}
            Some(Value::I64(ago)) => {
                let ago = Duration::from_nanos(ago.unsigned_abs());
                span.start_time = span.start_time.checked_sub(ago).unwrap_or(span.start_time);
            }
            Some(_) => return,
        }
        // The clock may have been put back.
        span.end_time = span.end_time.max(span.start_time);
        let lost = match self.room.try_send(span) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => Lost::QueueFull,
            Err(TrySendError::Closed(_)) => Lost::Stopped,
        };
        self.metrics.dropped.of(lost).inc();
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
