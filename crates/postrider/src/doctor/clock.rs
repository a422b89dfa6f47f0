//! This machine's clock, held against another's.

use std::time::Duration;

use postrider_model::Timestamp;

use super::Finding;

const PART: &str = "clock";
/// Receivers refuse a signature that is older than minutes; waits are kept by several machines' clocks.
const BORNE: Duration = Duration::from_secs(2);
const WRONG: Duration = Duration::from_secs(30);

/// What is found where another clock showed `theirs`, `ours` was read after that was answered, and asking took so long.
pub(super) fn judge(ours: Timestamp, theirs: Timestamp, asked_for: Duration) -> Finding {
    let apart = ours.since(theirs).max(theirs.since(ours));
    // Theirs was read somewhere within the time that asking took.
    let apart = apart.saturating_sub(asked_for);
    let word = if ours < theirs { "behind" } else { "before" };
    let seen = format!(
        "it is {:.1} s {word} that of the database",
        apart.as_secs_f64()
    );
    let advice = "have both machines keep their time by NTP (chrony, systemd-timesyncd): receivers refuse signatures whose \
                  time is some minutes off, and waits are kept by the clocks of several processes";
    match apart {
        apart if apart >= WRONG => Finding::wrong(PART, seen, advice),
        apart if apart >= BORNE => Finding::warning(PART, seen, advice),
        _ => Finding::ok(PART, "it agrees with that of the database"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_clock_is_judged_by_how_far_it_is_off_beyond_what_asking_took() {
        let theirs = Timestamp::from_millis(1_000_000);
        let judged = |ours: i64, asked_ms: u64| {
            let ours = Timestamp::from_millis(1_000_000 + ours);
            judge(ours, theirs, Duration::from_millis(asked_ms))
        };
        assert_eq!(judged(500, 0).verdict, Verdict::Ok);
        assert_eq!(judged(2_900, 1_000).verdict, Verdict::Ok);
        assert_eq!(judged(2_900, 0).verdict, Verdict::Warning);
        let behind = judged(-240_000, 0);
        assert_eq!(behind.verdict, Verdict::Wrong);
        assert_eq!(behind.seen, "it is 240.0 s behind that of the database");
        assert!(judged(240_000, 0).seen.contains("240.0 s before"));
    }
}
