//! What the recorder counts.

use postrider_metrics::{BATCH_BUCKETS, LATENCY_BUCKETS};

postrider_metrics::label! {
    /// What a row is.
    pub enum RowKind("kind") { Event = "event", Fanout = "fanout", Attempt = "attempt" }
}

postrider_metrics::label! {
    /// Why a record was set aside.
    pub enum Reason("reason") {
        /// It could not be read.
        Malformed = "malformed",
        /// The store refused its row.
        Refused = "refused",
    }
}

postrider_metrics::label! {
    /// What was deleted by age.
    pub enum Deleted("kind") { Event = "event", Attempt = "attempt", Claim = "claim", Removal = "removal" }
}

postrider_metrics::label! {
    /// Why an endpoint was disabled.
    pub enum DisabledFor("reason") { Gone = "gone", Failing = "failing" }
}

postrider_metrics::metrics! {
    /// The recorder's metrics.
    #[allow(missing_docs, reason = "the macro documents each field with its help")]
    pub struct RecorderMetrics {
        recorded: CounterVec<RowKind>(
            "postrider_recorder_recorded_total", "rows", "Rows written into the store."),
        batch_seconds: Histogram(
            "postrider_recorder_batch_seconds", "seconds",
            "From a batch's end to its commit in the log: sync, store, commit.", LATENCY_BUCKETS),
        batch_records: Histogram(
            "postrider_recorder_batch_records", "records", "Records of a batch.", BATCH_BUCKETS),
        set_aside: CounterVec<Reason>(
            "postrider_recorder_set_aside_total", "records",
            "Records put into events.rejected because they could not be read or stored."),
        store_failures: Counter(
            "postrider_recorder_store_failures_total", "calls", "Calls that the store could not answer; they are made again."),
        log_refusals: Counter(
            "postrider_recorder_log_refusals_total", "completions", "Completions that a busy or full log did not take at once."),
        trimmed: Counter(
            "postrider_recorder_trimmed_total", "gaps", "Places where records were gone before they were read: history lost."),
        disabled: CounterVec<DisabledFor>(
            "postrider_recorder_endpoints_disabled_total", "endpoints", "Endpoints disabled, by reason."),
        unjudged: Counter(
            "postrider_recorder_unjudged_total", "attempts",
            "Attempts after which the store could not read whether their endpoint is to be disabled."),
        deleted: CounterVec<Deleted>(
            "postrider_recorder_deleted_total", "rows", "Rows deleted by age."),
    }
}
