//! This machine's clock, held against those of the database and of the brokers.

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

const BROKERS: &str = "brokers' clock";
/// What is older says nothing of today.
const NEW: Duration = Duration::from_secs(86_400);
/// An event is accepted before it is written: by no more than this, but where a claim was taken over later.
const WRITTEN_WITHIN: Duration = Duration::from_secs(15);

/// The newest record of a partition: when its broker took it, by the broker's clock, and when the event in it was accepted,
/// by the clock of a process of ours, if it was.
pub(super) struct Newest {
    pub(super) stamped: Timestamp,
    pub(super) accepted: Option<Timestamp>,
}

/// What is found of the brokers' clocks. Brokers tell no time, so it is read from what lies there.
pub(super) fn judge_brokers(ours: Timestamp, newest: &[Newest]) -> Finding {
    let new: Vec<&Newest> = newest
        .iter()
        .filter(|record| {
            ours.since(
                record
                    .stamped
                    .max(record.accepted.unwrap_or(record.stamped)),
            ) < NEW
        })
        .collect();
    if new.is_empty() {
        let seen = "no event of the last day shows it; while servers run, postrider_kafka_clock_off_seconds does";
        return Finding::ok(BROKERS, seen);
    }
    let both = || {
        let new = new.iter();
        new.filter_map(|record| Some((record.accepted?, record.stamped)))
    };
    let behind = both()
        .map(|(accepted, stamped)| accepted.since(stamped))
        .max();
    let after = both()
        .map(|(accepted, stamped)| stamped.since(accepted))
        .min();
    let of_future = new.iter().map(|record| record.stamped.since(ours)).max();
    let ahead = after
        .filter(|after| *after > WRITTEN_WITHIN)
        .max(of_future)
        .unwrap_or_default();
    let behind = behind.unwrap_or_default();
    let (apart, word) = match ahead >= behind {
        true => (ahead, "before"),
        false => (behind, "behind"),
    };
    let seen = format!(
        "by the newest events one is {:.1} s {word} ours",
        apart.as_secs_f64()
    );
    let advice = "have the brokers keep their time by NTP (chrony, systemd-timesyncd): they date what producers write, and \
                  what is told of the age of records goes by it";
    match apart {
        apart if apart >= WRONG => Finding::wrong(BROKERS, seen, advice),
        apart if apart >= BORNE => Finding::warning(BROKERS, seen, advice),
        _ => Finding::ok(BROKERS, "by the newest events it agrees with ours"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    const NOW_MS: i64 = 1_000_000_000;

    /// Of records that were stamped and accepted so many ms before now.
    fn brokers(records: &[(i64, Option<i64>)]) -> Finding {
        let before = |ms: i64| Timestamp::from_millis(NOW_MS - ms);
        let newest = records.iter().map(|(stamped, accepted)| Newest {
            stamped: before(*stamped),
            accepted: accepted.map(before),
        });
        let newest: Vec<_> = newest.collect();
        judge_brokers(Timestamp::from_millis(NOW_MS), &newest)
    }

    #[test]
    fn a_brokers_clock_is_judged_by_what_it_dated_before_acceptance_or_in_the_future() {
        assert_eq!(brokers(&[]).verdict, Verdict::Ok);
        let well = brokers(&[(5_000, Some(5_010)), (9_000, None), (60_000, Some(69_000))]);
        assert_eq!(well.verdict, Verdict::Ok, "{}", well.seen);
        let behind = brokers(&[(605_000, Some(5_000)), (5_000, Some(5_010))]);
        assert_eq!(behind.verdict, Verdict::Wrong);
        assert!(behind.seen.contains("600.0 s behind"), "{}", behind.seen);
        let future = brokers(&[(-10_000, None), (5_000, Some(5_010))]);
        assert_eq!(future.verdict, Verdict::Warning);
        assert!(future.seen.contains("10.0 s before"), "{}", future.seen);
        let past_future = brokers(&[(100_000, Some(700_000))]);
        assert!(
            past_future.seen.contains("600.0 s before"),
            "{}",
            past_future.seen
        );
        // Where one was written soon, another was accepted long before for another reason.
        let taken_over = brokers(&[(100_000, Some(700_000)), (5_000, Some(5_010))]);
        assert_eq!(taken_over.verdict, Verdict::Ok, "{}", taken_over.seen);
        let old = brokers(&[(90_000_000, Some(90_600_000))]);
        assert!(old.seen.contains("no event"), "{}", old.seen);
    }

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
