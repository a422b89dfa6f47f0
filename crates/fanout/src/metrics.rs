//! What fan-out counts.

use postrider_model::RefusedFor;

postrider_metrics::label! {
    /// Why a record of `events` was set aside.
    pub enum Rejected("reason") {
        /// An attribute is missing, comes twice, or has a value that it cannot have.
        Malformed = "malformed",
        /// Its event type is not one.
        EventType = "event_type",
        /// A header is not UTF-8.
        NotUtf8 = "not_utf8",
        /// It has no value at all.
        NoValue = "no_value",
        /// It is in a format or mode that is not taken.
        Unsupported = "unsupported",
        /// Its application does not exist.
        NoApplication = "no_application",
        /// Its event type is not registered, and only registered ones are taken.
        UnknownType = "unknown_type",
        /// It is larger than is taken, or a delivery of it would be larger than the log takes.
        TooLarge = "too_large",
    }
}

impl From<RefusedFor> for Rejected {
    fn from(kind: RefusedFor) -> Self {
        match kind {
            RefusedFor::Malformed => Self::Malformed,
            RefusedFor::EventType => Self::EventType,
            RefusedFor::NotUtf8 => Self::NotUtf8,
            RefusedFor::NoValue => Self::NoValue,
            RefusedFor::TooLarge => Self::TooLarge,
            RefusedFor::Unsupported => Self::Unsupported,
        }
    }
}

postrider_metrics::metrics! {
    /// What fan-out counts.
    pub struct FanoutMetrics {
        events: Counter("postrider_fanout_events_total", "events", "Events matched, continuations not counted."),
        deliveries: Counter("postrider_fanout_deliveries_total", "deliveries", "Deliveries made."),
        rejected: CounterVec<Rejected>("postrider_fanout_rejected_total", "records", "Records of the events topic set aside, by reason."),
        too_large: Counter("postrider_fanout_too_large_total", "records", "Records that the log could not carry for their size: deliveries became dead letters."),
        repeats: Counter("postrider_fanout_repeats_total", "records", "Records of events that were fanned out a moment before and came again; nothing followed from them."),
        stale: Counter("postrider_fanout_stale_events_total", "events", "Events matched while the configuration could not be refreshed."),
        lost: Counter("postrider_fanout_lost_ranges_total", "ranges", "Times that records were trimmed before they were read."),
        batch: Histogram("postrider_fanout_batch_seconds", "seconds", "From a batch read to its commit.",
            postrider_metrics::LATENCY_BUCKETS),
    }
}
