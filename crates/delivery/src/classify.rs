//! What an attempt's end means. The only place that decides it.

use std::time::Duration;

use postrider_model::{DeathReason, Outcome, Schedule};

use crate::{Answer, Failure};

/// The longest wait that an endpoint can ask for by `Retry-After`.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);
/// The wait after a fault of our own.
const AFTER_OWN_FAULT: Duration = Duration::from_secs(5);

/// What follows from an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: it is delivered.
    Done,
    /// The next attempt of the schedule, after this wait.
    Retry(Duration),
    /// No attempt any more.
    Dead(DeathReason),
    /// The same attempt once more after this wait: this one counts for nothing.
    Again(Duration),
}

/// How an attempt ended, given the statuses that the endpoint's policy lists as final.
pub fn outcome(result: &Result<Answer, Failure>, final_statuses: &[u16]) -> Outcome {
    match result {
        Ok(answer) => match answer.status {
            200..=299 => Outcome::Succeeded,
            410 => Outcome::Gone,
            status if final_statuses.contains(&status) => Outcome::Final,
            300..=399 => Outcome::Redirected,
            429 | 502 | 503 | 504 => Outcome::Throttled,
            _ => Outcome::Refused,
        },
        Err(Failure::TimedOut(_)) => Outcome::TimedOut,
        Err(Failure::Unreachable(_)) => Outcome::Unreachable,
        Err(Failure::Forbidden(_)) => Outcome::Forbidden,
        Err(Failure::OwnFault(_)) => Outcome::OwnFault,
    }
}

/// What follows when the attempt that `outcome` ended was number `made` of its schedule. `retry_after` is what the
/// answer asked for; it counts only where the endpoint is overloaded, only to wait longer than the schedule has it, and
/// up to [`LONGEST_RETRY_AFTER`]. `draw` lies in 0..1.
pub fn verdict(
    outcome: Outcome,
    made: u32,
    schedule: &Schedule,
    retry_after: Option<Duration>,
    draw: f64,
) -> Verdict {
    let scheduled = || {
        schedule
            .wait_after(made)
            .map(|wait| Schedule::with_jitter(wait, draw))
    };
    let exhausted = Verdict::Dead(DeathReason::Exhausted);
    match outcome {
        Outcome::Succeeded => Verdict::Done,
        Outcome::Gone | Outcome::Final => Verdict::Dead(DeathReason::Refused),
        Outcome::Throttled => {
            let asked = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
            scheduled().map_or(exhausted, |wait| Verdict::Retry(wait.max(asked)))
        }
        Outcome::Redirected
        | Outcome::Refused
        | Outcome::TimedOut
        | Outcome::Unreachable
        | Outcome::Forbidden => scheduled().map_or(exhausted, Verdict::Retry),
        Outcome::OwnFault => Verdict::Again(Schedule::with_jitter(AFTER_OWN_FAULT, draw)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answered(status: u16) -> Result<Answer, Failure> {
        Ok(Answer {
            status,
            retry_after: None,
            body: bytes::Bytes::new(),
        })
    }

    #[test]
    fn each_status_has_its_outcome() {
        for (status, expected) in [
            (200, Outcome::Succeeded),
            (204, Outcome::Succeeded),
            (299, Outcome::Succeeded),
            (301, Outcome::Redirected),
            (304, Outcome::Redirected),
            (399, Outcome::Redirected),
            (400, Outcome::Refused),
            (404, Outcome::Refused),
            (410, Outcome::Gone),
            (418, Outcome::Final),
            (429, Outcome::Throttled),
            (500, Outcome::Refused),
            (502, Outcome::Throttled),
            (503, Outcome::Throttled),
            (504, Outcome::Throttled),
            (101, Outcome::Refused),
            (999, Outcome::Refused),
        ] {
            assert_eq!(
                outcome(&answered(status), &[418, 410, 200]),
                expected,
                "{status}"
            );
        }
    }

    #[test]
    fn each_failure_has_its_outcome() {
        let why = String::new;
        for (failure, expected) in [
            (Failure::TimedOut(why()), Outcome::TimedOut),
            (Failure::Unreachable(why()), Outcome::Unreachable),
            (Failure::Forbidden(why()), Outcome::Forbidden),
            (Failure::OwnFault(why()), Outcome::OwnFault),
        ] {
            assert_eq!(outcome(&Err(failure), &[]), expected);
        }
    }

    #[test]
    fn a_failed_attempt_is_retried_by_the_schedule_and_the_last_one_is_the_end() {
        let schedule: Schedule = "0s,5s,5m".parse().unwrap();
        let after = |made| verdict(Outcome::Refused, made, &schedule, None, 0.0);
        assert_eq!(after(1), Verdict::Retry(Duration::from_secs(5)));
        assert_eq!(after(2), Verdict::Retry(Duration::from_secs(300)));
        assert_eq!(after(3), Verdict::Dead(DeathReason::Exhausted));
    }

    #[test]
    fn final_answers_end_a_delivery_at_once() {
        for outcome in [Outcome::Gone, Outcome::Final] {
            let verdict = verdict(outcome, 1, &Schedule::default(), None, 0.0);
            assert_eq!(verdict, Verdict::Dead(DeathReason::Refused));
        }
    }

    #[test]
    fn our_own_fault_costs_no_attempt_even_at_the_end_of_the_schedule() {
        let verdict = verdict(Outcome::OwnFault, 10, &Schedule::default(), None, 0.0);
        assert!(matches!(verdict, Verdict::Again(_)));
    }

    proptest! {
        #[test]
        fn retry_after_only_lengthens_the_wait_and_is_clamped(seconds in any::<u64>(), draw in 0.0..1.0f64) {
            let schedule = Schedule::default();
            let asked = Duration::from_secs(seconds);
            let wait = |outcome, asked| match verdict(outcome, 1, &schedule, asked, draw) {
                Verdict::Retry(wait) => wait,
                other => panic!("{other:?}"),
            };
            let plain = wait(Outcome::Throttled, None);
            let honoured = wait(Outcome::Throttled, Some(asked));
            prop_assert_eq!(honoured, plain.max(asked.min(LONGEST_RETRY_AFTER)));
            prop_assert_eq!(wait(Outcome::Refused, Some(asked)), plain);
        }
    }
}
