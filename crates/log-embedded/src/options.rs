//! How a log is opened.

use std::path::PathBuf;
use std::sync::Arc;

use postrider_log::TopicSpec;
use postrider_model::{Clock, SystemClock};

use crate::schema::PAGE_BYTES;
use crate::{LogMetrics, OpenError};

const MIB: u64 = 1 << 20;

/// How a log is opened. Sizes are in bytes.
#[derive(Clone)]
pub struct Options {
    /// The data directory; made if it is not there. `log.db`, `log.db-wal`, `log.db-shm` and `log.lock` lie in it.
    pub dir: PathBuf,
    /// Every topic.
    pub topics: Vec<TopicSpec>,
    /// The largest record: key, headers and value.
    pub record_bytes: usize,
    /// What is kept in memory for readers, over all topics.
    pub tail_bytes: usize,
    /// What may wait for the writer; beyond it callers wait, and beyond four times as much they are refused as busy.
    pub queue_bytes: usize,
    /// How large the WAL may grow before the writer pauses while it is emptied.
    pub wal_bytes: u64,
    /// Free space below which new work is refused.
    pub reserve_bytes: u64,
    /// What it may hold before new work is refused, the reserve included. Finishing what is inside may take more for a while.
    pub max_bytes: Option<u64>,
    /// Times the records.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: LogMetrics,
}

impl Options {
    /// The defaults: records up to 8 MiB, a tail of 32 MiB, a WAL of 64 MiB, a reserve of 128 MiB, no bound of its own.
    pub fn new(dir: impl Into<PathBuf>, topics: Vec<TopicSpec>, metrics: LogMetrics) -> Self {
        Self {
            dir: dir.into(),
            topics,
            record_bytes: 8 << 20,
            tail_bytes: 32 << 20,
            queue_bytes: 8 << 20,
            wal_bytes: 64 * MIB,
            reserve_bytes: 128 * MIB,
            max_bytes: None,
            clock: Arc::new(SystemClock),
            metrics,
        }
    }

    /// Says what contradicts what.
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let least_wal = 64 * u64::from(PAGE_BYTES);
        let fault = if self.topics.is_empty() {
            "no topics are given".to_owned()
        } else if self.wal_bytes < least_wal {
            format!(
                "the WAL may hold {} bytes: at least {least_wal} are needed",
                self.wal_bytes
            )
        } else if self.record_bytes == 0 || self.record_bytes > 256 << 20 {
            format!(
                "records of {} bytes: 1 to 256 MiB are possible",
                self.record_bytes
            )
        } else if self.queue_bytes == 0 || self.queue_bytes > 1 << 28 {
            format!(
                "a queue of {} bytes: 1 to 256 MiB are possible",
                self.queue_bytes
            )
        } else if self.max_bytes.is_some_and(|max| max <= self.reserve_bytes) {
            format!(
                "the reserve ({} bytes) must be less than what the log may use",
                self.reserve_bytes
            )
        } else {
            return Ok(());
        };
        Err(OpenError::Options(fault))
    }
}
