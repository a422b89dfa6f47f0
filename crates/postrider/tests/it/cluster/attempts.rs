//! The attempts that a worker started, by its log: which of them, on which partition, as whose owner, and when it asked
//! whether its lease lasted.

use super::Cluster;
use super::losses::number;

/// What makes workers log each attempt and each commit.
pub(crate) const LOGGED: (&str, &str) = (
    "LOGS__LEVEL",
    "info,postrider_delivery=debug,postrider_log_kafka=debug",
);

/// One that was let through.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// The number of its partition.
    pub(crate) partition: u32,
    /// When the worker took the partition over, in milliseconds since 1970.
    pub(crate) owned_since: i64,
    /// When the lease was asked for, in milliseconds since 1970.
    pub(crate) asked_at: i64,
    /// The lease lasted, and it went.
    pub(crate) went: bool,
}

impl Attempt {
    /// All of one worker.
    pub(crate) fn all_of(cluster: &Cluster, worker: &str) -> Vec<Self> {
        let log = cluster.server(worker).log();
        log.lines().filter_map(Self::of).collect()
    }

    fn of(line: &str) -> Option<Self> {
        if !line.contains(": an attempt event=") {
            return None;
        }
        let (_, behind_topic) = line.split_once(" at=")?.1.split_once('/')?;
        let number = |before| i64::try_from(number(line, before)?).ok();
        Some(Self {
            partition: super::losses::number(behind_topic, "")?.try_into().ok()?,
            owned_since: number(" epoch=")?,
            asked_at: number(" asked_at=")?,
            went: line.contains(" goes=true"),
        })
    }
}
