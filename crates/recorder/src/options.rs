//! What can be set.

use std::time::Duration;

use postrider_model::{OptionsError, out_of_range};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How the recorder works. Checked by [`Options::check`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Records that are not waited beyond; 1 to 10,000. What lies there already is written with them, up to five times as
    /// many more.
    pub batch_records: usize,
    /// Their bytes, at most; at least 64 KiB.
    pub batch_bytes: usize,
    /// How long the first record of a batch waits for others, at most; at most 5 s. Who reads an event right after
    /// creating it waits as long.
    pub linger: Duration,
    /// A batch is written before that if nothing came for so long.
    pub idle: Duration,
    /// An endpoint that has failed for so long without a single success is disabled; `None`: never.
    pub disable_failing_after: Option<Duration>,
    /// How long history is kept.
    pub retention: Retention,
}

/// How long history is kept; `None` for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Events, and whom they went to, since they were accepted.
    pub events: Option<Duration>,
    /// Attempts, since they started.
    pub attempts: Option<Duration>,
    /// Idempotency keys, since they were claimed; at least an hour.
    pub claims: Duration,
    /// Between two rounds of deleting.
    pub every: Duration,
    /// Rows deleted at once, at most; at least 1. Small, so that the recorder never waits long behind it.
    pub batch: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch_records: 1000,
            batch_bytes: 4 << 20,
            linger: Duration::from_millis(100),
            idle: Duration::from_millis(40),
            disable_failing_after: Some(DAY * 5),
            retention: Retention::default(),
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            events: Some(DAY * 90),
            attempts: Some(DAY * 90),
            claims: DAY,
            every: Duration::from_secs(60),
            batch: 500,
        }
    }
}

impl Options {
    /// Every option that is out of its range.
    pub fn check(&self) -> Vec<OptionsError> {
        let kept = self.retention.attempts.unwrap_or(Duration::MAX);
        let bears = self.disable_failing_after.unwrap_or(Duration::ZERO);
        out_of_range([
            (
                "batch_records",
                "1 to 10000",
                (1..=10_000).contains(&self.batch_records),
            ),
            (
                "batch_bytes",
                "at least 64 KiB",
                self.batch_bytes >= (64 << 10),
            ),
            (
                "linger",
                "at most 5 s",
                self.linger <= Duration::from_secs(5),
            ),
            // How long an endpoint has failed is read from the attempts.
            (
                "retention.attempts",
                "more than disable_failing_after",
                kept > bears,
            ),
            (
                "retention.claims",
                "at least 1 h",
                self.retention.claims >= DAY / 24,
            ),
            ("retention.batch", "at least 1", self.retention.batch >= 1),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range_and_everything_out_of_range_is_told_at_once() {
        assert_eq!(Options::default().check(), []);
        let wrong = Options {
            batch_records: 0,
            batch_bytes: 0,
            linger: DAY,
            idle: DAY,
            disable_failing_after: Some(DAY * 5),
            retention: Retention {
                attempts: Some(DAY),
                claims: Duration::ZERO,
                batch: 0,
                ..Retention::default()
            },
        };
        assert_eq!(wrong.check().len(), 6);
    }
}
