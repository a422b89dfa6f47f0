//! Any wait, built from tiers of fixed delays.
//!
//! A record hops down the tiers, the longest that fits first, until what is left is less than the shortest. Late is
//! cheap and early is forbidden, so a tier that ends a little after the wait is taken in place of several short ones;
//! that is what bounds the hops.

use std::time::Duration;

use crate::topics::Tier;

/// The most hops that any wait up to [`Schedule::MAX_WAIT`](crate::Schedule::MAX_WAIT) with its jitter takes.
pub const MAX_HOPS: usize = 12;

/// How much later than asked a wait may end by the choice of tiers: half of what is promised, max(1 s, 2 %), so that
/// the hops themselves may take the other half.
fn slack(whole: Duration) -> Duration {
    (whole / 100).max(Duration::from_millis(500))
}

/// The tier that a delivery goes to while `remaining` is left of the `whole` wait.
///
/// `tiers` are sorted, the shortest first. `None` when less than the shortest is left: it is due, or a lane can hold it
/// for that long.
pub fn tier_for(
    tiers: &'static [Tier],
    remaining: Duration,
    whole: Duration,
) -> Option<&'static Tier> {
    let fits = tiers.partition_point(|tier| tier.delay <= remaining);
    let longest = tiers.get(fits.checked_sub(1)?);
    let last_hop = tiers
        .get(fits)
        .filter(|tier| tier.delay - remaining <= slack(whole));
    last_hop.or(longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Schedule;
    use crate::topics::{PARK, RETRY};
    use proptest::prelude::*;

    /// The hops that `whole` takes and when it ends, if each hop takes `late` longer than its tier.
    fn walk(tiers: &'static [Tier], whole: Duration, late: Duration) -> (usize, Duration) {
        let (mut hops, mut at) = (0, Duration::ZERO);
        while let Some(tier) = tier_for(tiers, whole.saturating_sub(at), whole) {
            hops += 1;
            at += tier.delay + late;
        }
        (hops, at.max(whole))
    }

    #[test]
    fn tiers_are_sorted_and_no_two_share_a_topic() {
        for tiers in [&RETRY, &PARK] {
            assert!(tiers.windows(2).all(|pair| pair[0].delay < pair[1].delay));
            assert!(tiers.windows(2).all(|pair| pair[0].topic != pair[1].topic));
        }
    }

    #[test]
    fn what_is_due_or_nearly_due_needs_no_tier() {
        let whole = Duration::from_secs(300);
        for millis in [0, 1, 999] {
            assert_eq!(tier_for(&RETRY, Duration::from_millis(millis), whole), None);
        }
    }

    #[test]
    fn a_wait_just_above_a_tier_takes_that_tier_alone() {
        let whole = Duration::from_millis(5_400);
        let first = tier_for(&RETRY, whole, whole).unwrap();
        assert_eq!(first.delay, Duration::from_secs(5));
        let left = Duration::from_millis(400);
        assert_eq!(tier_for(&RETRY, left, whole), None);
    }

    #[test]
    fn no_wait_of_any_whole_second_takes_more_than_twelve_hops() {
        let longest = Schedule::MAX_WAIT.as_secs() * 11 / 10;
        let worst = (0..=longest)
            .flat_map(|s| [s * 1000, s * 1000 + 999])
            .map(|ms| walk(&PARK, Duration::from_millis(ms), Duration::ZERO).0)
            .max();
        assert!(worst.unwrap() <= MAX_HOPS, "{worst:?} hops");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn no_wait_takes_more_than_twelve_hops_and_none_ends_early_or_much_late(
            millis in prop_oneof![
                0..(Schedule::MAX_WAIT.as_millis() as u64 * 11 / 10),
                0..90_000_000u64,
                0..4_000_000u64,
                0..100_000u64,
            ],
            late_millis in 0..30u64,
        ) {
            let whole = Duration::from_millis(millis);
            let late = Duration::from_millis(late_millis);
            let (hops, ends) = walk(&RETRY, whole, late);
            prop_assert!(hops <= MAX_HOPS, "{hops} hops");
            let allowed = (whole / 50).max(Duration::from_secs(1));
            prop_assert!(ends >= whole && ends <= whole + allowed, "{whole:?} ended at {ends:?}");
        }
    }
}
