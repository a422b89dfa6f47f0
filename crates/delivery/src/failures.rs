//! How an endpoint's attempts failed of late, and when that is too much.

use postrider_model::Timestamp;
use tokio::time::Instant;

use crate::{BreakerPolicy, Now};

/// The failures in a row, and their share of the attempts of a window.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    in_a_row: u32,
    since: Option<Timestamp>,
    /// One is too much: of an endpoint of which an earlier owner may have known better.
    cautious: bool,
    window_began: Option<Instant>,
    window_attempts: u32,
    window_failures: u32,
}

impl Failures {
    /// Without a valid count of an earlier owner.
    pub(crate) fn cautious() -> Self {
        Self {
            cautious: true,
            ..Self::default()
        }
    }

    /// Goes on where an earlier owner was.
    pub(crate) fn restore(in_a_row: u32, since: Option<Timestamp>) -> Self {
        Self {
            in_a_row,
            since,
            ..Self::default()
        }
    }

    /// An attempt succeeded.
    pub(crate) fn succeeded(&mut self, policy: &BreakerPolicy, now: Instant) {
        self.count(false, policy, now);
        (self.in_a_row, self.since, self.cautious) = (0, None, false);
    }

    /// One more in a row.
    pub(crate) fn failed(&mut self, now: Now) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.since.get_or_insert(now.wall);
    }

    /// Counts an attempt into the window, and begins a new one when it is over.
    pub(crate) fn count(&mut self, failure: bool, policy: &BreakerPolicy, now: Instant) {
        let over = |began: Instant| now.saturating_duration_since(began) >= policy.window;
        if self.window_began.is_none_or(over) {
            (
                self.window_began,
                self.window_attempts,
                self.window_failures,
            ) = (Some(now), 0, 0);
        }
        self.window_attempts = self.window_attempts.saturating_add(1);
        self.window_failures += u32::from(failure);
    }

    /// True if they are too many, in a row or by their share.
    pub(crate) fn are_too_many(&self, policy: &BreakerPolicy) -> bool {
        let threshold = if self.cautious {
            1
        } else {
            policy.consecutive_failures
        };
        let by_share = self.window_attempts >= policy.least_attempts
            && f64::from(self.window_failures)
                >= policy.failure_rate * f64::from(self.window_attempts);
        self.in_a_row >= threshold || by_share
    }

    /// Failures since the last success.
    pub(crate) fn in_a_row(&self) -> u32 {
        self.in_a_row
    }

    /// When the first of them was.
    pub(crate) fn since(&self) -> Option<Timestamp> {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn fail(failures: &mut Failures, policy: &BreakerPolicy, now: Now) -> bool {
        failures.failed(now);
        failures.count(true, policy, now.instant);
        failures.are_too_many(policy)
    }

    #[test]
    fn the_first_of_a_row_says_since_when_and_a_success_ends_the_row() {
        let (policy, now) = (BreakerPolicy::default(), Now::some());
        let mut failures = Failures::default();
        fail(&mut failures, &policy, now);
        fail(&mut failures, &policy, now.plus(Duration::from_secs(1)));
        assert_eq!((failures.in_a_row(), failures.since()), (2, Some(now.wall)));
        failures.succeeded(&policy, now.instant);
        assert_eq!((failures.in_a_row(), failures.since()), (0, None));
    }

    #[test]
    fn a_share_counts_only_within_its_window_and_only_of_enough_attempts() {
        let policy = BreakerPolicy {
            consecutive_failures: u32::MAX,
            least_attempts: 10,
            failure_rate: 0.5,
            ..BreakerPolicy::default()
        };
        let (mut failures, now) = (Failures::default(), Now::some());
        for _ in 0..9 {
            assert!(!fail(&mut failures, &policy, now));
        }
        let later = now.plus(policy.window);
        assert!(!fail(&mut failures, &policy, later), "a new window began");
        for _ in 0..4 {
            failures.succeeded(&policy, later.instant);
            assert!(!failures.are_too_many(&policy));
        }
        let too_many: Vec<bool> = (0..5)
            .map(|_| fail(&mut failures, &policy, later))
            .collect();
        assert_eq!(too_many, [false, false, false, false, true]);
    }

    #[test]
    fn one_is_too_many_for_the_cautious_until_the_first_success() {
        let (policy, now) = (BreakerPolicy::default(), Now::some());
        assert!(fail(&mut Failures::cautious(), &policy, now));
        let mut failures = Failures::cautious();
        failures.succeeded(&policy, now.instant);
        assert!(!fail(&mut failures, &policy, now));
    }
}
