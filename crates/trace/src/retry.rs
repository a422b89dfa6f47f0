//! When a batch that was not taken is sent again.

use std::time::Duration;

/// The wait after the first try; each is twice the one before.
const FIRST: Duration = Duration::from_millis(500);
/// All waits together: four, between five tries. Meanwhile the queue fills, and what does not fit is dropped.
const ALL: Duration = FIRST.saturating_mul(1 + 2 + 4 + 8);

/// The waits of one batch.
#[derive(Debug)]
pub(crate) struct Waits {
    next: Duration,
    left: Duration,
}

impl Waits {
    /// None was waited yet.
    pub(crate) fn new() -> Self {
        Self {
            next: FIRST,
            left: ALL,
        }
    }

    /// How long to wait before the batch is sent again, not less than the collector `asked` for, unless that were longer
    /// than a batch is kept. `None` if it is given up.
    pub(crate) fn after(&mut self, asked: Option<Duration>) -> Option<Duration> {
        let wait = self.next.max(asked.unwrap_or_default()).min(self.left);
        self.left -= wait;
        self.next *= 2;
        (!wait.is_zero()).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In tenths of a second.
    fn waits(asked: Option<u64>) -> Vec<u128> {
        let mut waits = Waits::new();
        std::iter::from_fn(|| waits.after(asked.map(Duration::from_secs)))
            .map(|wait| wait.as_millis() / 100)
            .collect()
    }

    #[test]
    fn each_wait_is_twice_the_one_before_until_the_batch_is_given_up() {
        assert_eq!(waits(None), [5, 10, 20, 40]);
        assert_eq!(waits(Some(0)), [5, 10, 20, 40]);
    }

    #[test]
    fn a_collector_that_asks_for_time_gets_it_within_the_same_bound() {
        assert_eq!(waits(Some(1)), [10, 10, 20, 35]);
        assert_eq!(waits(Some(3)), [30, 30, 15]);
        assert_eq!(waits(Some(u64::MAX)), [75]);
    }
}
