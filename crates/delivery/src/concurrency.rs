//! How many attempts one endpoint bears at a time.

use tokio::time::Instant;

/// A limit that finds what the endpoint bears: it doubles with each round of answers until the first pushback, then
/// grows by one a round, and halves when the endpoint says that it is too much (throttled, timed out).
#[derive(Debug)]
pub struct Concurrency {
    limit: u32,
    max: u32,
    /// Until the first pushback.
    doubling: bool,
    /// Successes at the limit since it last grew.
    successes: u32,
    /// A pushback of an attempt that began before this was already answered by a cut.
    last_cut: Option<Instant>,
}

impl Concurrency {
    /// Begins at `first` (1 for an endpoint of which nothing is known) and stays within 1 and `max`.
    pub fn new(first: u32, max: u32) -> Self {
        let max = max.max(1);
        Self {
            limit: first.clamp(1, max),
            max,
            doubling: true,
            successes: 0,
            last_cut: None,
        }
    }

    /// Attempts at a time, at least 1.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Another upper bound from now on.
    pub fn set_max(&mut self, max: u32) {
        self.max = max.max(1);
        self.limit = self.limit.min(self.max);
    }

    /// An attempt was answered well while `in_flight` were out, itself among them.
    pub fn succeeded(&mut self, in_flight: u32) {
        // Success below the limit says nothing about the limit.
        if in_flight < self.limit || self.limit >= self.max {
            return;
        }
        self.successes += 1;
        if self.doubling || self.successes >= self.limit {
            self.limit += 1;
            self.successes = 0;
        }
    }

    /// An attempt that began at `began` found the endpoint overloaded.
    pub fn pushed_back(&mut self, began: Instant, now: Instant) {
        if self.last_cut.is_some_and(|cut| began < cut) {
            return;
        }
        self.limit = (self.limit / 2).max(1);
        self.doubling = false;
        self.successes = 0;
        self.last_cut = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_good_endpoint_reaches_the_highest_limit_in_a_few_rounds() {
        let mut concurrency = Concurrency::new(2, 64);
        let mut rounds = 0;
        while concurrency.limit() < 64 {
            let limit = concurrency.limit();
            (0..limit).for_each(|_| concurrency.succeeded(concurrency.limit()));
            rounds += 1;
        }
        assert_eq!(rounds, 5);
    }

    #[test]
    fn one_wave_of_pushbacks_halves_once() {
        let (mut concurrency, began) = (Concurrency::new(64, 64), Instant::now());
        let now = began + Duration::from_secs(15);
        (0..64).for_each(|_| concurrency.pushed_back(began, now));
        assert_eq!(concurrency.limit(), 32);
        concurrency.pushed_back(now, now + Duration::from_secs(15));
        assert_eq!(concurrency.limit(), 16);
    }

    #[test]
    fn after_a_pushback_it_grows_by_one_a_round() {
        let (mut concurrency, now) = (Concurrency::new(8, 64), Instant::now());
        concurrency.pushed_back(now, now);
        (0..4).for_each(|_| concurrency.succeeded(4));
        assert_eq!(concurrency.limit(), 5);
    }

    #[test]
    fn successes_below_the_limit_do_not_raise_it() {
        let mut concurrency = Concurrency::new(8, 64);
        (0..100).for_each(|_| concurrency.succeeded(3));
        assert_eq!(concurrency.limit(), 8);
    }

    proptest! {
        #[test]
        fn the_limit_stays_between_one_and_the_highest(
            first in 0..200u32, max in 0..100u32, answers in prop::collection::vec(any::<bool>(), 0..500),
        ) {
            let mut concurrency = Concurrency::new(first, max);
            let mut now = Instant::now();
            for good in answers {
                now += Duration::from_millis(1);
                if good { concurrency.succeeded(concurrency.limit()) } else { concurrency.pushed_back(now, now) }
                prop_assert!((1..=max.max(1)).contains(&concurrency.limit()));
            }
        }
    }
}
