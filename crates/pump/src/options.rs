//! What can be set.

use std::time::Duration;

use postrider_model::{OptionsError, out_of_range};

/// How the pump works. Checked by [`Options::check`].
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Records read or moved at once, at most; 1 to 10,000.
    pub batch_records: usize,
    /// Bytes moved at once, at most, but for a larger record, which is moved alone; at least 4 KiB. Whoever else writes
    /// to the log waits meanwhile.
    pub move_bytes: usize,
    /// Bytes held of waiting records, of retries and of parked ones each; at least 1 MiB. Spread over the partitions that
    /// are read.
    pub hand_bytes: usize,
    /// The share of its time that moving parked deliveries may take; above 0, at most 1.
    pub park_share: f64,
    /// How often one delivery of an open endpoint is let through once its probe is due; at least 1 s.
    pub let_through_interval: Duration,
    /// Parked deliveries that go on waiting which are written again in a second, at least 1: of one open endpoint at most,
    /// for which they stay the longer in one tier the more there are; and of all together as long as that makes none later
    /// than a tenth of its tier's delay.
    pub rewrites_per_second: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch_records: 1000,
            move_bytes: 128 << 10,
            hand_bytes: 8 << 20,
            park_share: 0.5,
            let_through_interval: Duration::from_secs(5),
            rewrites_per_second: 1000,
        }
    }
}

impl Options {
    /// Every option that is out of its range.
    pub fn check(&self) -> Vec<OptionsError> {
        out_of_range([
            (
                "batch_records",
                "1 to 10000",
                (1..=10_000).contains(&self.batch_records),
            ),
            ("move_bytes", "at least 4 KiB", self.move_bytes >= (4 << 10)),
            ("hand_bytes", "at least 1 MiB", self.hand_bytes >= (1 << 20)),
            (
                "park_share",
                "above 0 and at most 1",
                self.park_share > 0.0 && self.park_share <= 1.0,
            ),
            (
                "let_through_interval",
                "at least 1 s",
                self.let_through_interval >= Duration::from_secs(1),
            ),
            (
                "rewrites_per_second",
                "at least 1",
                self.rewrites_per_second >= 1,
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
            move_bytes: 0,
            hand_bytes: 0,
            park_share: 0.0,
            let_through_interval: Duration::ZERO,
            rewrites_per_second: 0,
        };
        assert_eq!(wrong.check().len(), 6);
    }
}
