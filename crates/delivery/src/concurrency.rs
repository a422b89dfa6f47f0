//! How many attempts one endpoint bears at a time.

use std::time::Duration;

use tokio::time::Instant;

/// Rounds that take longer than twice the best one and this are taken for a queue at the endpoint (or at us).
const CROWDED: Duration = Duration::from_millis(2);
/// After this time the best round is sought again, at a quarter of the limit: an endpoint may become slower for good.
const BEST_FOR: Duration = Duration::from_secs(60);

/// A limit that finds what the endpoint bears: it doubles with each round of answers until the first pushback, then
/// grows by one a round, and halves when the endpoint says that it is too much (throttled, timed out). While a round of
/// answers takes much longer than the best did, it does not grow: more at a time would only queue there, and cost
/// connections that bring nothing.
#[derive(Debug)]
pub struct Concurrency {
    limit: u32,
    max: u32,
    /// Until the first pushback.
    doubling: bool,
    round: Round,
    /// The mean answer time of the best round, and since when it has been sought.
    best: Option<(Duration, Instant)>,
    /// The last round took much longer than the best.
    crowded: bool,
    /// What began before this says nothing of the limit since.
    last_cut: Option<Instant>,
}

/// As many answers as could be out at a time when it began.
#[derive(Debug)]
struct Round {
    of: u32,
    answers: u32,
    took: Duration,
}

impl Round {
    fn of(limit: u32) -> Self {
        Self {
            of: limit,
            answers: 0,
            took: Duration::ZERO,
        }
    }
}

impl Concurrency {
    /// Begins at `first` (1 for an endpoint of which nothing is known) and stays within 1 and `max`.
    pub fn new(first: u32, max: u32) -> Self {
        let max = max.max(1);
        let limit = first.clamp(1, max);
        Self {
            limit,
            max,
            doubling: true,
            round: Round::of(limit),
            best: None,
            crowded: false,
            last_cut: None,
        }
    }

    /// Attempts at a time, at least 1.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Attempts at a time, about, over the next `time`, if each takes `attempt` and nothing is too much: it grows meanwhile.
    pub fn expected(&self, time: Duration, attempt: Duration) -> u32 {
        if self.crowded || self.limit >= self.max {
            return self.limit;
        }
        if self.doubling {
            return self.max;
        }
        let rounds = time.as_secs_f64() / attempt.as_secs_f64().max(1e-6);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and is not negative"
        )]
        let half = (rounds / 2.0) as u32;
        self.limit.saturating_add(half).min(self.max)
    }

    /// Another upper bound from now on.
    pub fn set_max(&mut self, max: u32) {
        self.max = max.max(1);
        self.limit = self.limit.min(self.max);
    }

    /// An attempt that began at `began` was answered well while `in_flight` were out, itself among them.
    pub fn succeeded(&mut self, in_flight: u32, began: Instant, now: Instant) {
        // Success below the limit says nothing about the limit.
        if in_flight < self.limit || self.limit >= self.max || self.is_before_cut(began) {
            return;
        }
        self.round.answers += 1;
        self.round.took += now.saturating_duration_since(began);
        let over = self.round.answers >= self.round.of;
        if over {
            self.judge_round(now);
        }
        if !self.crowded && (self.doubling || over) {
            self.limit += 1;
        }
        if over {
            self.round = Round::of(self.limit);
        }
    }

    /// Compares a round that is over with the best.
    fn judge_round(&mut self, now: Instant) {
        let mean = self.round.took / self.round.answers.max(1);
        let (best, since) = self.best.unwrap_or((mean, now));
        self.crowded = mean > best * 2 + CROWDED;
        self.best = Some((best.min(mean), since));
        if self.crowded && now.saturating_duration_since(since) > BEST_FOR {
            self.best = None;
            self.cut_to(self.limit / 4, now);
        }
    }

    fn is_before_cut(&self, began: Instant) -> bool {
        self.last_cut.is_some_and(|cut| began < cut)
    }

    fn cut_to(&mut self, limit: u32, now: Instant) {
        self.limit = limit.max(1);
        self.doubling = false;
        self.crowded = false;
        self.round = Round::of(self.limit);
        self.last_cut = Some(now);
    }

    /// An attempt that began at `began` found the endpoint overloaded.
    pub fn pushed_back(&mut self, began: Instant, now: Instant) {
        if self.is_before_cut(began) {
            return;
        }
        self.cut_to(self.limit / 2, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const QUICK: Duration = Duration::from_millis(1);

    #[test]
    fn a_good_endpoint_reaches_the_highest_limit_in_a_few_rounds() {
        let mut concurrency = Concurrency::new(2, 64);
        let (mut rounds, began) = (0, Instant::now());
        while concurrency.limit() < 64 {
            let limit = concurrency.limit();
            (0..limit)
                .for_each(|_| concurrency.succeeded(concurrency.limit(), began, began + QUICK));
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
        (0..4).for_each(|_| concurrency.succeeded(4, now, now + QUICK));
        assert_eq!(concurrency.limit(), 5);
    }

    #[test]
    fn successes_below_the_limit_do_not_raise_it() {
        let (mut concurrency, began) = (Concurrency::new(8, 64), Instant::now());
        (0..100).for_each(|_| concurrency.succeeded(3, began, began + QUICK));
        assert_eq!(concurrency.limit(), 8);
    }

    /// The limit that an endpoint has after `seconds` of answers that take `time(limit)`.
    fn settles_at(
        concurrency: &mut Concurrency,
        seconds: u64,
        time: impl Fn(u32) -> Duration,
    ) -> u32 {
        let mut now = Instant::now();
        let end = now + Duration::from_secs(seconds);
        while now < end {
            let limit = concurrency.limit();
            let began = now;
            now += time(limit);
            (0..limit).for_each(|_| concurrency.succeeded(concurrency.limit(), began, now));
        }
        concurrency.limit()
    }

    #[test]
    fn a_distant_endpoint_that_bears_it_reaches_the_highest_limit() {
        let limit = settles_at(&mut Concurrency::new(4, 64), 10, |_| {
            Duration::from_millis(100)
        });
        assert_eq!(limit, 64);
    }

    #[test]
    fn where_more_at_a_time_only_queue_it_stops_growing_however_long_that_lasts() {
        for seconds in [1, 59, 61, 300, 1_000] {
            // Answers one a millisecond, whatever is out.
            let one_by_one = |limit: u32| Duration::from_millis(limit.into());
            let limit = settles_at(&mut Concurrency::new(4, 64), seconds, one_by_one);
            assert!((4..=40).contains(&limit), "{limit} after {seconds} s");
        }
    }

    #[test]
    fn an_endpoint_that_became_slower_for_good_reaches_its_limit_again() {
        let mut concurrency = Concurrency::new(4, 32);
        concurrency.pushed_back(Instant::now(), Instant::now());
        let before = settles_at(&mut concurrency, 1, |limit| {
            Duration::from_millis(limit.into())
        });
        assert!(before < 32);
        let after = settles_at(&mut concurrency, 120, |_| Duration::from_millis(50));
        assert_eq!(after, 32);
    }

    proptest! {
        #[test]
        fn the_limit_stays_between_one_and_the_highest(
            first in 0..200u32, max in 0..100u32, answers in prop::collection::vec(any::<bool>(), 0..500),
        ) {
            let mut concurrency = Concurrency::new(first, max);
            let mut now = Instant::now();
            let began = now;
            for good in answers {
                now += Duration::from_millis(1);
                if good { concurrency.succeeded(concurrency.limit(), began, began + QUICK) } else { concurrency.pushed_back(now, now) }
                prop_assert!((1..=max.max(1)).contains(&concurrency.limit()));
            }
        }
    }
}
