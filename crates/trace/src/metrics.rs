//! What is counted of spans.

postrider_metrics::label! {
    /// Why a span did not come to the collector.
    pub enum Lost("reason") {
        QueueFull = "queue_full",
        Unreachable = "unreachable",
        Refused = "refused",
        Stopped = "stopped",
    }
}

postrider_metrics::metrics! {
    /// What is counted of spans.
    pub struct TraceMetrics {
        exported: Counter("postrider_trace_spans_exported_total", "spans", "Spans that the collector took."),
        dropped: CounterVec<Lost>("postrider_trace_spans_dropped_total", "spans", "Spans that did not come to the collector: the queue was full, the collector was away or refused them, or the process stopped first."),
    }
}
