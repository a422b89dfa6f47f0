//! What the pump counts.

postrider_metrics::label! {
    /// Why deliveries wait.
    pub enum Kind("kind") { Retry = "retry", Park = "park" }
}

postrider_metrics::label! {
    /// Where the pump sent a record.
    pub enum Route("route") {
        /// To the worker: its time had come.
        Due = "due",
        /// To the worker although its endpoint's breaker is open: it may probe.
        LetThrough = "let_through",
        /// To a further tier.
        Hop = "hop",
        /// To the dead letters: its deadline had passed.
        Expired = "expired",
        /// Nowhere: its like was moved a moment before.
        Repeat = "repeat",
        /// To the rejected records: it could not be read.
        Rejected = "rejected",
    }
}

/// Bounds for how late the pump was, in seconds.
const LATE_BUCKETS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0,
];

postrider_metrics::metrics! {
    /// The pump's metrics.
    #[allow(missing_docs, reason = "the macro documents each field with its help")]
    pub struct PumpMetrics {
        moved: CounterVec<(Kind, Route)>(
            "postrider_pump_moved_total", "records", "Waiting records that were moved on, by where they went."),
        late: HistogramVec<Kind>(
            "postrider_pump_late_seconds", "seconds",
            "How long after the end of its tier's delay the first record of a batch was moved.", LATE_BUCKETS),
        held: GaugeVec<Kind>(
            "postrider_pump_held", "records", "Waiting records read and held until they are due."),
        open_endpoints: Gauge(
            "postrider_pump_open_endpoints", "endpoints", "Endpoints whose breaker is not closed, as far as the pump knows."),
        log_refusals: Counter(
            "postrider_pump_log_refusals_total", "completions", "Completions that a busy or full log did not take at once."),
        trimmed: Counter(
            "postrider_pump_trimmed_total", "gaps", "Places where waiting records were gone before they were read: loss."),
        too_large: Counter(
            "postrider_pump_too_large_total", "records",
            "Records that the log refused for their size: deliveries became dead letters, dead letters lost their payload."),
    }
}
