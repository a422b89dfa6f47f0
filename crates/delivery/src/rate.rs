//! How many attempts may start in a second.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

const WINDOW: Duration = Duration::from_secs(1);
/// Above this many, starts are remembered in groups, so that memory does not grow with the rate (16 KiB).
const MOST_GROUPS: u32 = 1024;

/// Bounds the starts of attempts: in no half-open second are there more than the rate.
///
/// Exact up to 1,024 a second; above, starts are remembered in groups by the time of their last, which errs towards
/// fewer, by a thousandth of the rate at most.
#[derive(Debug)]
pub struct RateLimiter {
    rate: u32,
    /// Starts that may still count, oldest first: how many, and when the last of them was.
    groups: VecDeque<(u32, Instant)>,
    /// The starts in `groups`.
    counted: u32,
    /// Nothing starts before this.
    blocked_until: Option<Instant>,
}

impl RateLimiter {
    /// At most `rate` starts a second; 0 counts as 1.
    pub fn new(rate: u32) -> Self {
        Self {
            rate: rate.max(1),
            groups: VecDeque::new(),
            counted: 0,
            blocked_until: None,
        }
    }

    /// The same for an owner who cannot know what the one before him started up to `since`: nothing for one window.
    pub fn cautious(rate: u32, since: Instant) -> Self {
        Self {
            blocked_until: Some(since + WINDOW),
            ..Self::new(rate)
        }
    }

    /// Another rate from now on. What was started counts against it.
    pub fn set_rate(&mut self, rate: u32) {
        self.rate = rate.max(1);
    }

    /// Starts a second.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// The time that one start takes of a second.
    pub fn interval(&self) -> Duration {
        WINDOW / self.rate
    }

    /// When the next attempt may start: `now`, or later.
    pub fn next_start(&mut self, now: Instant) -> Instant {
        self.forget(now);
        let from = self.blocked_until.map_or(now, |until| until.max(now));
        let mut over = i64::from(self.counted) - i64::from(self.rate) + 1;
        let mut at = from;
        for (count, last) in &self.groups {
            if over <= 0 {
                break;
            }
            over -= i64::from(*count);
            at = at.max(*last + WINDOW);
        }
        at
    }

    /// An attempt starts at `now`.
    pub fn record(&mut self, now: Instant) {
        self.forget(now);
        let size = self.rate.div_ceil(MOST_GROUPS);
        self.counted += 1;
        match self.groups.back_mut() {
            Some((count, last)) if *count < size => {
                *count += 1;
                *last = (*last).max(now);
            }
            _ => self.groups.push_back((1, now)),
        }
    }

    /// What was recorded as started at `at` did not start after all. Above 1,024 a second it may count all the same.
    pub fn take_back(&mut self, at: Instant) {
        let Some(group) = self.groups.iter().rposition(|(_, last)| *last == at) else {
            return;
        };
        self.counted -= 1;
        match &mut self.groups[group] {
            (1, _) => drop(self.groups.remove(group)),
            (count, _) => *count -= 1,
        }
    }

    /// True if nothing that was started counts any more.
    pub fn is_idle(&mut self, now: Instant) -> bool {
        self.forget(now);
        self.groups.is_empty() && self.blocked_until.is_none_or(|until| until <= now)
    }

    fn forget(&mut self, now: Instant) {
        while let Some((count, last)) = self.groups.front() {
            if *last + WINDOW > now {
                break;
            }
            self.counted -= count;
            self.groups.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_may_start_at_once_does_and_the_rest_waits_a_second() {
        let (mut limiter, now) = (RateLimiter::new(3), Instant::now());
        for _ in 0..3 {
            assert_eq!(limiter.next_start(now), now);
            limiter.record(now);
        }
        assert_eq!(limiter.next_start(now), now + WINDOW);
        assert_eq!(limiter.next_start(now + WINDOW), now + WINDOW);
    }

    #[test]
    fn what_did_not_start_after_all_does_not_count_and_nothing_else_is_forgotten_with_it() {
        for rate in [3, 5_000] {
            let (mut limiter, now) = (RateLimiter::new(rate), Instant::now());
            (0..rate).for_each(|_| limiter.record(now));
            assert_eq!(limiter.next_start(now), now + WINDOW);
            limiter.take_back(now + MS);
            assert_eq!(limiter.next_start(now), now + WINDOW);
            limiter.take_back(now);
            assert_eq!(limiter.next_start(now), now);
            limiter.record(now);
            assert_eq!(limiter.next_start(now), now + WINDOW);
            (0..rate).for_each(|_| limiter.take_back(now));
            assert!(limiter.is_idle(now) && limiter.counted == 0);
            limiter.take_back(now);
        }
    }

    #[test]
    fn a_cautious_limiter_waits_one_whole_window_first() {
        let now = Instant::now();
        let mut limiter = RateLimiter::cautious(5, now);
        assert_eq!(limiter.next_start(now + 10 * MS), now + WINDOW);
        assert!(!limiter.is_idle(now + 999 * MS) && limiter.is_idle(now + WINDOW));
    }

    #[test]
    fn a_lowered_rate_counts_what_was_started_under_the_higher() {
        let (mut limiter, now) = (RateLimiter::new(4), Instant::now());
        (0..4).for_each(|n| limiter.record(now + n * 100 * MS));
        limiter.set_rate(2);
        assert_eq!(limiter.next_start(now + 400 * MS), now + 1200 * MS);
    }

    #[test]
    fn a_high_rate_takes_bounded_memory_and_is_nearly_reached() {
        let (mut limiter, start) = (RateLimiter::new(100_000), Instant::now());
        let (mut at, mut starts) = (start, 0u32);
        while at < start + 2 * WINDOW {
            at = limiter.next_start(at).max(at);
            limiter.record(at);
            starts += 1;
            assert!(limiter.groups.len() <= MOST_GROUPS as usize + 2);
        }
        assert!((199_000..=200_001).contains(&starts), "{starts}");
    }

    proptest! {
        #[test]
        fn no_sliding_second_has_more_starts_than_the_rate(
            rate in prop_oneof![1..20u32, 1_000..5_000u32],
            gaps in prop::collection::vec(prop_oneof![8 => Just(0u64), 2 => 0..400_000u64], 50..3_000),
        ) {
            let mut limiter = RateLimiter::new(rate);
            let mut at = Instant::now();
            let mut starts = Vec::new();
            for gap in gaps {
                at += Duration::from_micros(gap);
                let next = limiter.next_start(at);
                prop_assert!(next >= at);
                at = next;
                prop_assert_eq!(limiter.next_start(at), at, "the time it names is one at which it lets through");
                limiter.record(at);
                starts.push(at);
            }
            for pair in starts.windows(rate as usize + 1) {
                prop_assert!(pair[rate as usize] - pair[0] >= WINDOW);
            }
        }

        #[test]
        fn an_exact_limiter_never_waits_longer_than_it_must(
            rate in 1..20u32,
            gaps in prop::collection::vec(0..400u64, 1..200),
        ) {
            let mut limiter = RateLimiter::new(rate);
            let mut at = Instant::now();
            let mut starts: Vec<Instant> = Vec::new();
            for gap in gaps {
                at += Duration::from_millis(gap);
                let must = starts.iter().rev().nth(rate as usize - 1).map_or(at, |s| (*s + WINDOW).max(at));
                at = limiter.next_start(at);
                prop_assert_eq!(at, must);
                limiter.record(at);
                starts.push(at);
            }
        }
    }
}
