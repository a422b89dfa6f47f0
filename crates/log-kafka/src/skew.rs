//! How far a broker's clock is off ours, as far as an acknowledgement shows it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use postrider_metrics::FloatGauge;
use postrider_model::Timestamp;

/// What was said longer ago says nothing of the present.
const NEW: Duration = Duration::from_secs(600);

/// Tells how far the clock was off that the newest acknowledgement was stamped by, as long as that is new.
pub(crate) struct Skew {
    off: FloatGauge,
    heard: Mutex<Option<Instant>>,
}

impl Skew {
    pub(crate) fn new(off: FloatGauge) -> Self {
        let heard = Mutex::default();
        Self { off, heard }
    }

    /// As [`off_by`] has it; heard at `now`.
    pub(crate) fn is(&self, off: Duration, now: Instant) {
        self.off.set(off.as_secs_f64());
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// A process that writes no more knows no more of the brokers' clocks.
    pub(crate) fn forget_old(&self, now: Instant) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.is_some_and(|heard| now.saturating_duration_since(heard) > NEW) {
            *heard = None;
            self.off.set(0.0);
        }
    }
}

/// A record was handed over at `sent` and acknowledged by `heard`, by our clock, and stamped in between by the broker's.
/// Where the stamp does not lie in between, the clocks differ by what it lies outside, at least.
pub(crate) fn off_by(sent: Timestamp, stamped: Timestamp, heard: Timestamp) -> Duration {
    sent.since(stamped).max(stamped.since(heard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_of_a_clock_is_told_until_it_is_old() {
        let registry = postrider_metrics::Registry::new();
        let metrics = crate::LogMetrics::register(&registry).unwrap();
        let (skew, now) = (Skew::new(metrics.clock_off.clone()), Instant::now());
        skew.forget_old(now);
        skew.is(Duration::from_secs(90), now);
        skew.forget_old(now + NEW);
        assert_eq!(metrics.clock_off.get(), 90.0);
        skew.forget_old(now + NEW + Duration::from_secs(1));
        assert_eq!(metrics.clock_off.get(), 0.0);
    }

    #[test]
    fn a_stamp_between_sending_and_hearing_says_nothing_against_a_clock() {
        let off = |stamped: i64| {
            let at = Timestamp::from_millis;
            off_by(at(10_000), at(stamped), at(12_000)).as_millis()
        };
        assert_eq!([10_000, 11_000, 12_000].map(off), [0, 0, 0]);
        assert_eq!(off(7_000), 3_000, "behind");
        assert_eq!(off(612_000), 600_000, "ahead");
    }
}
