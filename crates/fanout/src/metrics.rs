//! What fan-out counts.

postrider_metrics::label! {
    /// Why a record of `events` was set aside.
    pub enum Rejected("reason") {
        /// It cannot be read.
        Malformed = "malformed",
        /// Its application does not exist.
        NoApplication = "no_application",
        /// A delivery of it would be larger than the log takes.
        TooLarge = "too_large",
    }
}

postrider_metrics::metrics! {
    /// What fan-out counts.
    pub struct FanoutMetrics {
        events: Counter("postrider_fanout_events_total", "events", "Events matched, continuations not counted."),
        deliveries: Counter("postrider_fanout_deliveries_total", "deliveries", "Deliveries made."),
        rejected: CounterVec<Rejected>("postrider_fanout_rejected_total", "records", "Records of the events topic set aside, by reason."),
        stale: Counter("postrider_fanout_stale_events_total", "events", "Events matched while the configuration could not be refreshed."),
        lost: Counter("postrider_fanout_lost_ranges_total", "ranges", "Times that records were trimmed before they were read."),
        batch: Histogram("postrider_fanout_batch_seconds", "seconds", "From a batch read to its commit.",
            postrider_metrics::LATENCY_BUCKETS),
    }
}
