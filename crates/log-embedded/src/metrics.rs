//! What the embedded log counts.

postrider_metrics::metrics! {
    /// What the embedded log counts.
    pub struct LogMetrics {
        commits: Counter("postrider_log_commits_total", "commits", "Transactions committed to the log."),
        records: Counter("postrider_log_records_total", "records", "Records appended to the log."),
        trimmed: Counter("postrider_log_trimmed_total", "records", "Records removed because every group had finished them or they had grown too old."),
        full: Counter("postrider_log_full_total", "requests", "Appends refused because the disk, or what the log may use of it, was full."),
        behind: Counter("postrider_log_disk_reads_total", "reads", "Batches that readers behind the tail read from disk."),
        commit_seconds: Histogram("postrider_log_commit_seconds", "seconds", "Duration of a commit, without any fsync.", COMMIT_BUCKETS),
        commit_records: Histogram("postrider_log_commit_records", "records", "Records written by one commit.", postrider_metrics::BATCH_BUCKETS),
        fsync_seconds: Histogram("postrider_log_fsync_seconds", "seconds", "Duration of an fsync of the log.", postrider_metrics::LATENCY_BUCKETS),
        stall_seconds: Histogram("postrider_log_stall_seconds", "seconds", "How long the writer paused while a full WAL was emptied.", postrider_metrics::LATENCY_BUCKETS),
        blocked: Counter("postrider_log_checkpoints_blocked_total", "checkpoints", "Times that a full WAL could not be emptied because somebody read from it; it grows meanwhile, up to four times its bound."),
        wal: Gauge("postrider_log_wal_bytes", "bytes", "What the WAL holds."),
        disk: Gauge("postrider_log_disk_bytes", "bytes", "Size of the log's files."),
        room: Gauge("postrider_log_room_bytes", "bytes", "What may still be written until new events are refused: on the disk or of log.max, whichever is less, without what is kept to finish what was accepted."),
        max: Gauge("postrider_log_max_bytes", "bytes", "What new events may fill by log.max, the reserve left out; 0 if only the disk bounds it."),
        tail: Gauge("postrider_log_tail_bytes", "bytes", "Records kept in memory for readers."),
        stopped: Gauge("postrider_log_stopped", "logs", "1 if the log has stopped after an error that it cannot recover from."),
    }
}

/// From ten microseconds (an ordinary commit) to a second.
const COMMIT_BUCKETS: &[f64] = &[
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.05, 0.25, 1.0,
];
