//! What the dead-letter consumer counts.

postrider_metrics::label! {
    /// Why a record was set aside.
    pub enum Reason("reason") {
        /// It could not be read.
        Malformed = "malformed",
        /// The store refused its row.
        Refused = "refused",
    }
}

postrider_metrics::metrics! {
    /// The metrics of dead letters and replays.
    #[allow(missing_docs, reason = "the macro documents each field with its help")]
    pub struct DeadLetterMetrics {
        kept: Counter(
            "postrider_deadletter_kept_total", "dead letters", "Dead letters written into the store."),
        set_aside: CounterVec<Reason>(
            "postrider_deadletter_set_aside_total", "records",
            "Dead letters put into events.rejected because they could not be read or stored."),
        deleted: Counter(
            "postrider_deadletter_deleted_total", "dead letters", "Dead letters deleted by age."),
        store_failures: Counter(
            "postrider_deadletter_store_failures_total", "calls", "Calls that the store could not answer; they are made again."),
        log_refusals: Counter(
            "postrider_deadletter_log_refusals_total", "calls", "Writes that a busy or full log did not take at once."),
        trimmed: Counter(
            "postrider_deadletter_trimmed_total", "gaps", "Places where dead letters were gone before they were read: loss."),
        replay_published: Counter(
            "postrider_replay_published_total", "deliveries", "Dead letters published again."),
        replay_failed: Counter(
            "postrider_replay_failed_total", "dead letters",
            "Dead letters of replays not published: their endpoint is disabled or gone, or they are gone or cannot be read."),
        replays_halted: Counter(
            "postrider_replay_halted_total", "replays",
            "Replays paused by us because the store refuses their progress: pausedBecause says why."),
        replays_active: Gauge(
            "postrider_replay_active", "replays", "Replays being carried out here."),
        replay_remaining: Gauge(
            "postrider_replay_remaining", "dead letters",
            "Dead letters that replays being carried out here have still to come to; those that they will leave to others included."),
    }
}
