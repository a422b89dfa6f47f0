//! How fast an endpoint takes deliveries.

use std::time::Duration;

use tokio::time::Instant;

/// How long a window is at least, and how many ends it has at least.
const WINDOW: Duration = Duration::from_secs(5);
const ENDS: u32 = 8;
/// With fewer ends than this nothing is known, nor before a window is over: the first answers of an endpoint that was quiet,
/// or away, take longer than all that follow.
const FEW: u32 = 4;

/// The time that attempts take, over the last window that is over and the present one. How many an endpoint takes in a
/// second follows from it and from how many may be out at a time. Successes of a second are no measure: an endpoint that is
/// sent little takes more, and one that we hold up, too.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// When the first and the last attempt ended.
    ends: Option<(Instant, Instant)>,
    present: Window,
    before: Window,
}

/// What ended in a while.
#[derive(Debug, Default, Clone, Copy)]
struct Window {
    began: Option<Instant>,
    ended: u32,
    took: Duration,
    longest: Duration,
}

impl Pace {
    /// An attempt ended that had been out for so long.
    pub(crate) fn count(&mut self, took: Duration, now: Instant) {
        self.ends = Some((self.ends.map_or(now, |(first, _)| first), now));
        let is_over = |began| self.present.ended >= ENDS && began + WINDOW <= now;
        if self.present.began.is_some_and(is_over) {
            self.before = std::mem::take(&mut self.present);
        }
        let present = &mut self.present;
        present.began.get_or_insert(now);
        present.ended += 1;
        present.took += took;
        present.longest = present.longest.max(took);
    }

    /// The mean time of an attempt, as far as it is known. The longest of each window is left out: of few, one that went
    /// astray would say that the endpoint is slow.
    pub(crate) fn attempt(&self) -> Option<Duration> {
        let both = [self.present, self.before];
        let ended: u32 = both.iter().map(|window| window.ended).sum();
        let (first, last) = self.ends?;
        if ended < FEW || last < first + WINDOW {
            return None;
        }
        let took = |window: &Window| window.took - window.longest;
        let left_out = both.iter().filter(|window| window.ended > 0).count() as u32;
        Some(both.iter().map(took).sum::<Duration>() / (ended - left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn nothing_is_known_of_few_and_one_that_went_astray_says_nothing() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        for _ in 0..3 {
            assert_eq!(pace.attempt(), None);
            pace.count(10 * MS, now);
            now += 2 * S;
        }
        pace.count(15 * S, now);
        assert_eq!(pace.attempt(), Some(10 * MS));
    }

    #[test]
    fn the_first_answers_say_nothing_before_others_have_followed_for_a_while() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        (0..4).for_each(|_| pace.count(3 * S, now));
        for _ in 0..99 {
            now += 50 * MS;
            pace.count(50 * MS, now);
            assert_eq!(pace.attempt(), None);
        }
        pace.count(50 * MS, now + 50 * MS);
        assert!(pace.attempt().unwrap() < 150 * MS);
    }

    #[test]
    fn an_endpoint_that_became_slower_is_known_for_it_after_two_windows_and_vice_versa() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        for took in [10 * MS, S, 10 * MS] {
            for _ in 0..12 {
                now += S;
                pace.count(took, now);
            }
            pace.count(took, now + S);
            let mean = pace.attempt().unwrap();
            assert!(mean > took / 2 && mean < took * 60, "{mean:?}");
            for _ in 0..24 {
                now += S;
                pace.count(took, now);
            }
            assert_eq!(pace.attempt(), Some(took));
        }
    }

    #[test]
    fn an_endpoint_that_answers_once_in_ten_seconds_is_known_for_it() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        for _ in 0..4 {
            now += 10 * S;
            pace.count(10 * S, now);
        }
        assert_eq!(pace.attempt(), Some(10 * S));
    }
}
