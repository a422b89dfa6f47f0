use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So many that fail are no accident of one.
const SEVERAL: usize = 3;
/// While something worked so lately, what fails is at fault itself.
const QUIET: Duration = Duration::from_secs(2);
/// Failures that are further apart have nothing to do with each other.
const TOGETHER: Duration = Duration::from_secs(60);
/// Failures that are remembered.
const KEPT: usize = 16;

/// Tells what fails for all, which is our own side's doing, from what fails for one: several different ones have failed
/// within a minute, nothing has worked since the first of them nor in the last two seconds, and it has worked for one of them
/// before, or for nobody yet.
///
/// So one that fails alone is at fault, and many that never worked are too, as soon as anything has.
#[derive(Debug)]
pub struct Outage {
    origin: Instant,
    /// When something worked last: milliseconds since `origin`, and one; 0 if nothing has.
    worked: AtomicU64,
    failing: Mutex<VecDeque<Failing>>,
}

#[derive(Debug)]
struct Failing {
    who: Box<str>,
    /// As `worked`.
    at: u64,
    worked_before: bool,
}

impl Default for Outage {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            worked: AtomicU64::new(0),
            failing: Mutex::default(),
        }
    }
}

impl Outage {
    /// Something works. Cheap enough for every attempt.
    pub fn works(&self) {
        let now = self.now();
        // Written by many at once only where it changes.
        if self.worked.load(Ordering::Relaxed) != now {
            self.worked.store(now, Ordering::Relaxed);
        }
    }

    /// `who` has failed, for whom it has `worked_before` or not. True if that is our own side's doing.
    pub fn fails(&self, who: &str, worked_before: bool) -> bool {
        let now = self.now();
        let worked = self.worked.load(Ordering::Relaxed);
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        failing.retain(|one| {
            one.at > worked && now.saturating_sub(one.at) <= millis(TOGETHER) && *one.who != *who
        });
        failing.push_back(Failing {
            who: who.into(),
            at: now,
            worked_before,
        });
        if failing.len() > KEPT {
            let least = failing.iter().position(|one| !one.worked_before);
            failing.remove(least.unwrap_or_default());
        }
        failing.len() >= SEVERAL
            && (worked == 0
                || now.saturating_sub(worked) >= millis(QUIET)
                    && failing.iter().any(|one| one.worked_before))
    }

    fn now(&self) -> u64 {
        millis(self.origin.elapsed()) + 1
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_alone_is_at_fault_however_often() {
        let outage = Outage::default();
        outage.works();
        for _ in 0..100 {
            pass(5).await;
            assert!(!outage.fails("a", true));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn several_that_fail_while_nothing_works_are_not_at_fault() {
        let outage = Outage::default();
        outage.works();
        pass(3).await;
        assert!(!outage.fails("a", true));
        assert!(!outage.fails("b", false));
        assert!(outage.fails("c", false));
        assert!(outage.fails("a", true));
        outage.works();
        assert!(!outage.fails("a", true), "it works again");
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_beside_what_works_is_at_fault() {
        let outage = Outage::default();
        for n in 0..1000 {
            outage.works();
            pass(1).await;
            assert!(!outage.fails(&n.to_string(), true));
            assert!(!outage.fails(&(n + 1).to_string(), true));
            assert!(!outage.fails(&(n + 2).to_string(), true));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_worked_is_at_fault_however_many_they_are_once_anything_has() {
        let outage = Outage::default();
        outage.works();
        pass(3).await;
        for n in 0..1000 {
            assert!(!outage.fails(&n.to_string(), false));
        }
        assert!(outage.fails("this worked", true));
    }

    #[tokio::test(start_paused = true)]
    async fn at_a_start_without_a_network_nobody_is_at_fault() {
        let outage = Outage::default();
        pass(3).await;
        let faults = ["a", "b", "c", "d"].map(|who| outage.fails(who, false));
        assert_eq!(faults, [false, false, true, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_that_are_far_apart_have_nothing_to_do_with_each_other() {
        let outage = Outage::default();
        outage.works();
        for n in 0..100 {
            pass(31).await;
            assert!(!outage.fails(&n.to_string(), true));
        }
    }
}
