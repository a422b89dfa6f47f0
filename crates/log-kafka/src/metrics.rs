//! What the log on Kafka counts.

postrider_metrics::label! {
    /// Why a group does not go on where it was.
    pub enum Misplaced("reason") {
        /// Its position lies behind the end: the topic was made anew, or lost records with its brokers.
        Beyond = "beyond",
        /// It has no position, and the first records of the partition are gone: they may have been its.
        Missing = "missing",
    }
}

postrider_metrics::metrics! {
    /// What the log on Kafka counts.
    pub struct LogMetrics {
        records: Counter("postrider_kafka_records_total", "records", "Records that Kafka acknowledged."),
        refused: Counter("postrider_kafka_refused_total", "records", "Records that Kafka did not acknowledge in time, or refused."),
        too_large: Counter("postrider_kafka_too_large_total", "records", "Outputs that brokers refused for their size although we take them: deliveries became dead letters, dead letters lost their payload."),
        unknown_partitions: Gauge("postrider_kafka_unknown_partitions", "partitions", "Partitions of our topics beyond the configured number: they are read, and nothing is written there."),
        busy: Counter("postrider_kafka_busy_total", "requests", "Appends refused because too much was on its way already."),
        queued: Gauge("postrider_kafka_queued_bytes", "bytes", "Records on their way to Kafka."),
        append_seconds: Histogram("postrider_kafka_append_seconds", "seconds", "From an append to its acknowledgement.", postrider_metrics::LATENCY_BUCKETS),
        commits: Counter("postrider_kafka_commits_total", "commits", "Commits of positions that Kafka acknowledged, those that only renew a lease included."),
        commits_repeated: Counter("postrider_kafka_commits_repeated_total", "commits", "Commits that have to be repeated, for instance with a new epoch after a rebalance."),
        owned: Gauge("postrider_kafka_owned_partitions", "partitions", "Partitions that members in this process own."),
        given_up: Counter("postrider_kafka_given_up_partitions_total", "partitions", "Partitions given up in order at a rebalance."),
        lost: Counter("postrider_kafka_lost_partitions_total", "partitions", "Partitions lost with the work in hand."),
        gone: Counter("postrider_kafka_gone_records_total", "records", "Records that were removed before they were read, at least: an operator has lost data."),
        misplaced: CounterVec<Misplaced>("postrider_kafka_misplaced_partitions_total", "partitions", "Partitions that a group took over without going on where it was."),
        clock_off: FloatGauge("postrider_kafka_clock_off_seconds", "seconds", "How far the clock of the broker that acknowledged last is off ours, at least. 0 when none has for ten minutes."),
        rebuilt: Counter("postrider_kafka_rebuilt_clients_total", "clients", "Clients built anew after an error that they could not recover from."),
    }
}
