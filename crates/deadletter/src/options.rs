//! What can be set.

use std::time::Duration;

use postrider_model::{OptionsError, Schedule, out_of_range};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How the dead-letter consumer works. Checked by [`Options::check`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Dead letters written in one transaction, at most; 1 to 10,000.
    pub batch_records: usize,
    /// Their bytes, at most; at least 64 KiB.
    pub batch_bytes: usize,
    /// How long a dead letter is kept, and a replay once it has ended; `None` for ever.
    pub keep: Option<Duration>,
    /// Between two rounds of deleting.
    pub delete_every: Duration,
    /// Dead letters deleted at once, at most; at least 1.
    pub delete_batch: usize,
    /// Replays carried out at once, at most; at least 1. Others wait for one of these to end or be paused.
    pub concurrent_replays: usize,
    /// How often new replays are looked for.
    pub poll: Duration,
    /// A replay publishes about this often; 10 ms to 1 s. A crash repeats at most what its rate allows in this time.
    pub step: Duration,
    /// How long a replay stands after its owner died; 5 s to 5 min.
    pub lease: Duration,
    /// The retry schedule of endpoints that have none.
    pub schedule: Schedule,
    /// A replayed delivery's deadline lies this long behind the end of its schedule.
    pub deadline_slack: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch_records: 500,
            batch_bytes: 4 << 20,
            keep: Some(DAY * 90),
            delete_every: Duration::from_secs(60),
            delete_batch: 200,
            concurrent_replays: 32,
            poll: Duration::from_millis(500),
            step: Duration::from_millis(200),
            lease: Duration::from_secs(10),
            schedule: Schedule::default(),
            deadline_slack: DAY,
        }
    }
}

impl Options {
    /// Every option that is out of its range.
    pub fn check(&self) -> Vec<OptionsError> {
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
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
            ("delete_batch", "at least 1", self.delete_batch >= 1),
            (
                "concurrent_replays",
                "at least 1",
                self.concurrent_replays >= 1,
            ),
            ("poll", "at least 10 ms", self.poll >= ms(10)),
            (
                "step",
                "10 ms to 1 s",
                self.step >= ms(10) && self.step <= s(1),
            ),
            (
                "lease",
                "5 s to 5 min",
                self.lease >= s(5) && self.lease <= s(300),
            ),
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
            delete_batch: 0,
            concurrent_replays: 0,
            poll: Duration::ZERO,
            step: DAY,
            lease: DAY,
            ..Options::default()
        };
        assert_eq!(wrong.check().len(), 7);
    }
}
