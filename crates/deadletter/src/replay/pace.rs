//! How much a replay publishes at once, and when it may publish again. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// Deliveries published in one step, at most: a step lies in memory whole.
const MOST: usize = 250;
/// Bytes of one step, about.
const STEP_BYTES: usize = 4 << 20;
/// Deliveries of the first step, at most: how heavy they are is not known yet.
const FIRST: usize = 32;

/// The pace of one replay: never more than its rate, and what was missed is not caught up.
#[derive(Debug)]
pub(crate) struct Pace {
    /// A second; at least 1.
    rate: u32,
    /// Deliveries in a step.
    size: usize,
    /// The heaviest delivery seen, in bytes.
    heaviest: Option<usize>,
    next_at: Instant,
}

impl Pace {
    /// `rate` a second, published about every `step`.
    pub(crate) fn new(rate: u32, step: Duration, now: Instant) -> Self {
        let rate = rate.max(1);
        let size = (f64::from(rate) * step.as_secs_f64()) as usize;
        Self {
            rate,
            size: size.clamp(1, MOST),
            heaviest: None,
            next_at: now,
        }
    }

    /// When the next step may be taken.
    pub(crate) fn next_at(&self) -> Instant {
        self.next_at
    }

    /// Dead letters that it may take.
    pub(crate) fn size(&self) -> usize {
        let by_weight = self
            .heaviest
            .map_or(FIRST, |heaviest| STEP_BYTES / heaviest.max(1));
        self.size.min(by_weight.max(1))
    }

    /// `published` deliveries were published at `now`, the heaviest of this weight. What failed costs nothing of the rate.
    pub(crate) fn took(&mut self, published: usize, heaviest: usize, now: Instant) {
        self.heaviest = Some(self.heaviest.unwrap_or(0).max(heaviest));
        let cost = Duration::from_secs_f64(published as f64 / f64::from(self.rate));
        self.next_at = self.next_at.max(now) + cost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(200);

    /// When each of `count` deliveries goes out, if nothing else takes time.
    fn times(rate: u32, count: usize) -> Vec<Duration> {
        let began = Instant::now();
        let mut pace = Pace::new(rate, STEP, began);
        let mut times = Vec::new();
        while times.len() < count {
            let (at, size) = (pace.next_at(), pace.size());
            times.extend((0..size).map(|_| at - began));
            pace.took(size, 1024, at);
        }
        times
    }

    #[test]
    fn the_rate_is_exact_over_time_and_no_second_has_more_than_it_and_one_step() {
        for rate in [1, 3, 7, 100, 1000, 5000] {
            let times = times(rate, rate as usize * 20);
            let whole = times.last().unwrap().as_secs_f64();
            assert!((19.0..=20.01).contains(&whole), "{rate}: {whole}");
            let step = (rate as f64 * 0.2).max(1.0) as usize;
            // The first of each step begins the busiest seconds.
            for index in (0..times.len()).step_by(step) {
                let end = times[index] + Duration::from_secs(1);
                let within = times.partition_point(|later| *later < end) - index;
                assert!(within <= rate as usize + step, "{rate}: {within}");
            }
        }
    }

    #[test]
    fn what_was_missed_is_not_caught_up() {
        let began = Instant::now();
        let mut pace = Pace::new(10, STEP, began);
        pace.took(2, 1, began);
        let later = began + Duration::from_secs(60);
        pace.took(2, 1, later);
        assert_eq!(pace.next_at(), later + STEP);
    }

    #[test]
    fn heavy_deliveries_make_small_steps() {
        let mut pace = Pace::new(100_000, STEP, Instant::now());
        assert_eq!(pace.size(), FIRST);
        pace.took(FIRST, 1 << 20, Instant::now());
        assert_eq!(pace.size(), 4);
        pace.took(4, 100 << 20, Instant::now());
        assert_eq!(pace.size(), 1);
    }
}
