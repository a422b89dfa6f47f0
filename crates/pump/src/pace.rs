//! How long the pump rests after a batch of parked deliveries. Pure.

use std::time::Duration;

use crate::Options;

/// The longest rest: partitions are to be given up without delay.
const LONGEST_REST: Duration = Duration::from_secs(1);
/// Of its tier's delay, the part that a hop may be late.
const TOLERANCE: f64 = 0.1;
/// How many times faster hops go than they must when they are almost that late.
const HURRY: f64 = 15.0;

/// What a batch took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Work {
    pub(crate) took: Duration,
    /// Deliveries that go on waiting.
    pub(crate) hops: u32,
    /// How late the latest was, as a part of its tier's delay.
    pub(crate) late: f64,
}

/// The rest after `work`.
///
/// Moving has a capped share of the time. Hops are spread over time as well, because many at once would slow everybody's
/// appends for a while; those that are late go faster, and when they are as late as is allowed only the share counts.
pub(crate) fn rest(work: Work, options: &Options) -> Duration {
    let took = work.took.as_secs_f64();
    let for_share = took * (1.0 - options.park_share) / options.park_share;
    let lateness = work.late / TOLERANCE;
    let for_hops = if lateness < 1.0 {
        let rate = f64::from(options.rewrites_per_second) * (1.0 + HURRY * lateness);
        f64::from(work.hops) / rate - took
    } else {
        0.0
    };
    let longest = LONGEST_REST.as_secs_f64();
    Duration::from_secs_f64(for_share.max(for_hops).clamp(0.0, longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rested(hops: u32, late: f64) -> f64 {
        let work = Work {
            took: Duration::from_millis(2),
            hops,
            late,
        };
        rest(work, &Options::default()).as_secs_f64()
    }

    #[test]
    fn hops_in_time_keep_to_their_rate_and_late_ones_only_to_their_share() {
        assert!((rested(100, 0.0) - 0.098).abs() < 1e-6);
        assert!((rested(100, 0.1) - 0.002).abs() < 1e-6);
        assert!((rested(100, 5.0) - 0.002).abs() < 1e-6);
    }

    #[test]
    fn the_later_they_are_the_shorter_is_the_rest() {
        let rests: Vec<f64> = (0..10)
            .map(|part| rested(100, f64::from(part) / 100.0))
            .collect();
        assert!(
            rests.is_sorted_by(|earlier, later| earlier > later),
            "{rests:?}"
        );
    }

    #[test]
    fn what_leaves_is_held_up_by_the_share_alone_and_no_rest_is_long() {
        assert!((rested(0, 0.0) - 0.002).abs() < 1e-6);
        assert!((rested(1_000_000, 0.0) - 1.0).abs() < 1e-6);
    }
}
