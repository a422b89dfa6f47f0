//! What the store counts.

use postrider_metrics::LATENCY_BUCKETS;

postrider_metrics::label! {
    /// What is asked of the store.
    pub enum Operation("operation") {
        ConfigRead = "config_read",
        ConfigWrite = "config_write",
        Feed = "feed",
        HistoryRead = "history_read",
        HistoryWrite = "history_write",
        DeadLetterRead = "dead_letter_read",
        DeadLetterWrite = "dead_letter_write",
        Replay = "replay",
        Claim = "claim",
        Retention = "retention",
    }
}

postrider_metrics::label! {
    /// What an operation failed with.
    pub enum Failure("kind") {
        Conflict = "conflict",
        NotFound = "not_found",
        Refused = "refused",
        Unreadable = "unreadable",
        Unavailable = "unavailable",
        Damaged = "damaged",
    }
}

postrider_metrics::label! {
    /// What a row is.
    pub enum RowKind("kind") {
        Event = "event",
        Fanout = "fanout",
        Attempt = "attempt",
        DeadLetter = "dead_letter",
    }
}

postrider_metrics::label! {
    /// What a row that was skipped is.
    pub enum Skipped("kind") {
        Application = "application",
        Endpoint = "endpoint",
        EventType = "event_type",
        Token = "token",
        Removal = "removal",
        Event = "event",
        Attempt = "attempt",
        DeadLetter = "dead_letter",
        Replay = "replay",
    }
}

postrider_metrics::metrics! {
    /// What the store counts.
    pub struct StoreMetrics {
        operations: HistogramVec<Operation>(
            "postrider_store_operation_seconds", "seconds",
            "From the call to its answer, waiting for the connection included, by what was asked.",
            LATENCY_BUCKETS,
        ),
        failures: CounterVec<Failure>(
            "postrider_store_failures_total", "operations", "Operations that returned an error, by its kind.",
        ),
        written: CounterVec<RowKind>(
            "postrider_store_rows_written_total", "rows",
            "Rows of history and dead letters that were committed, repeats included, by kind.",
        ),
        deleted: CounterVec<RowKind>(
            "postrider_store_rows_deleted_total", "rows", "Rows that retention deleted, by kind.",
        ),
        skipped: CounterVec<Skipped>(
            "postrider_store_rows_skipped_total", "rows",
            "Rows that could not be read and were left out of the feed or of a listing, each time, by kind.",
        ),
    }
}
