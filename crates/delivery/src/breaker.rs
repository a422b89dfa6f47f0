//! Whether an endpoint is tried at all.

use std::time::Duration;

use postrider_model::{BreakerState, EndpointState, Timestamp};
use tokio::time::Instant;

use crate::Now;
use crate::failures::Failures;

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, PartialEq)]
pub struct BreakerPolicy {
    /// Opens on this many failures without a success between them; at least 1.
    pub consecutive_failures: u32,
    /// Opens when this share of the attempts of a window failed; 0 to 1.
    pub failure_rate: f64,
    /// … if there were at least so many.
    pub least_attempts: u32,
    /// The window.
    pub window: Duration,
    /// The wait of the first opening. Doubles with each.
    pub first_wait: Duration,
    /// The longest wait, before jitter.
    pub longest_wait: Duration,
}

/// Five failures in a row, or nine of ten attempts in half a minute; waits of 2 s to 5 min.
impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            failure_rate: 0.9,
            least_attempts: 20,
            window: Duration::from_secs(30),
            first_wait: Duration::from_secs(2),
            longest_wait: Duration::from_secs(300),
        }
    }
}

/// What a breaker says to an attempt that wants to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may start.
    Pass,
    /// It may start as the one probe.
    Probe,
    /// A probe is out: its answer decides.
    ProbeOut,
    /// Not before this time.
    Refused(Instant),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    Closed,
    Open { until: Instant },
    HalfOpen,
}

/// Closed → open on failures → half-open after a growing, jittered wait → one probe decides.
///
/// A refusal is not an attempt. What began before the breaker opened and ends later decides nothing.
#[derive(Debug)]
pub struct Breaker {
    position: Position,
    /// Since it was last closed.
    openings: u32,
    /// The first of these.
    opened_at: Option<Timestamp>,
    failures: Failures,
    /// When a probe last closed it.
    closed_at: Option<Instant>,
    /// When somebody last said that the endpoint was repaired, since it was last closed.
    repaired_at: Option<Instant>,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            position: Position::Closed,
            openings: 0,
            opened_at: None,
            failures: Failures::default(),
            closed_at: None,
            repaired_at: None,
        }
    }
}

impl Breaker {
    /// Closed, with a threshold of one: the start without a valid state of an earlier owner. Not half-open, or every
    /// healthy endpoint would crawl after each kill.
    pub fn cautious() -> Self {
        Self {
            failures: Failures::cautious(),
            ..Self::default()
        }
    }

    /// Goes on where an earlier owner was. A probe that he had out is sent again.
    pub fn restore(state: &EndpointState, now: Now) -> Self {
        let until = state.probe_at.map_or(now.instant, |at| now.instant_of(at));
        let position = match state.breaker {
            BreakerState::Closed => Position::Closed,
            BreakerState::Open | BreakerState::HalfOpen => Position::Open { until },
        };
        Self {
            position,
            openings: state.openings,
            opened_at: state.opened_at,
            failures: Failures::restore(state.consecutive_failures, state.failing_since),
            closed_at: None,
            repaired_at: None,
        }
    }

    /// Whether an attempt may start.
    pub fn admits(&self, now: Instant) -> Admission {
        match self.position {
            Position::Closed => Admission::Pass,
            Position::HalfOpen => Admission::ProbeOut,
            Position::Open { until } if until <= now => Admission::Probe,
            Position::Open { until } => Admission::Refused(until),
        }
    }

    /// An attempt starts that was admitted as the probe.
    pub fn probe_started(&mut self) {
        self.position = Position::HalfOpen;
    }

    /// An attempt that began at `began` succeeded; `probe` says whether it was the probe. True if the breaker closed with it.
    pub fn succeeded(
        &mut self,
        probe: bool,
        began: Instant,
        policy: &BreakerPolicy,
        now: Now,
    ) -> bool {
        match self.position {
            Position::HalfOpen if probe => {
                *self = Self {
                    closed_at: Some(now.instant),
                    ..Self::default()
                };
                true
            }
            Position::Closed if self.is_from_before(began) => false,
            Position::Open { .. } | Position::HalfOpen => false,
            Position::Closed => {
                self.failures.succeeded(policy, now.instant);
                false
            }
        }
    }

    /// An attempt that began at `began` failed by the endpoint's fault. `draw` lies in 0..1. True if the breaker opened with
    /// it. A probe that began before the endpoint was repaired decides nothing: the next may go at once.
    pub fn failed(
        &mut self,
        probe: bool,
        began: Instant,
        policy: &BreakerPolicy,
        now: Now,
        draw: f64,
    ) -> bool {
        if self.position == Position::Closed && self.is_from_before(began) {
            return false;
        }
        self.failures.failed(now);
        if probe && self.repaired_at.is_some_and(|at| began < at) {
            self.probe_was_lost(now.instant);
            return false;
        }
        let opens = match self.position {
            Position::HalfOpen => probe,
            Position::Open { .. } => false,
            Position::Closed => {
                self.failures.count(true, policy, now.instant);
                self.failures.are_too_many(policy)
            }
        };
        if opens {
            self.openings = self.openings.saturating_add(1);
            self.opened_at.get_or_insert(now.wall);
            let until = now.instant + self.wait(policy, draw);
            self.position = Position::Open { until };
        }
        opens
    }

    /// The probe ended without a word on the endpoint (our own fault): another may go at `at`.
    pub fn probe_was_lost(&mut self, at: Instant) {
        if self.position == Position::HalfOpen {
            self.position = Position::Open { until: at };
        }
    }

    /// The endpoint is another than before `now`, so it may be repaired: the next attempt may go now, as the probe, or, while
    /// a probe of how it was before is out, when that has ended. True if it would have had to wait.
    pub fn repaired(&mut self, now: Instant) -> bool {
        self.repaired_at = Some(now);
        self.try_now(now)
    }

    /// The next attempt may go now, as the probe. True if it would have had to wait.
    pub fn try_now(&mut self, now: Instant) -> bool {
        match &mut self.position {
            Position::Open { until } if *until > now => {
                *until = now;
                true
            }
            Position::Open { .. } | Position::HalfOpen | Position::Closed => false,
        }
    }

    /// Its position, as it is published.
    pub fn state(&self) -> BreakerState {
        match self.position {
            Position::Closed => BreakerState::Closed,
            Position::Open { .. } => BreakerState::Open,
            Position::HalfOpen => BreakerState::HalfOpen,
        }
    }

    /// While open: when the next probe may start.
    pub fn probe_at(&self) -> Option<Instant> {
        match self.position {
            Position::Open { until } => Some(until),
            Position::Closed | Position::HalfOpen => None,
        }
    }

    /// Openings since it was last closed.
    pub fn openings(&self) -> u32 {
        self.openings
    }

    /// When it opened, after it had been closed.
    pub fn opened_at(&self) -> Option<Timestamp> {
        self.opened_at
    }

    /// Failures since the last success.
    pub fn consecutive_failures(&self) -> u32 {
        self.failures.in_a_row()
    }

    /// When the first failure since the last success was.
    pub fn failing_since(&self) -> Option<Timestamp> {
        self.failures.since()
    }

    /// True if a new breaker would say the same.
    pub fn knows_nothing(&self) -> bool {
        self.position == Position::Closed && self.failures.in_a_row() == 0
    }

    /// What began before it was closed last ran while the endpoint was down.
    fn is_from_before(&self, began: Instant) -> bool {
        self.closed_at.is_some_and(|closed_at| began < closed_at)
    }

    fn wait(&self, policy: &BreakerPolicy, draw: f64) -> Duration {
        let doublings = self.openings.saturating_sub(1).min(31);
        let wait = policy.first_wait.saturating_mul(1 << doublings);
        let wait = wait.min(policy.longest_wait);
        wait + wait.mul_f64(0.2 * draw.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use postrider_model::EndpointId;

    use super::*;
    use proptest::prelude::*;

    fn opened(policy: &BreakerPolicy, now: Now) -> Breaker {
        let mut breaker = Breaker::default();
        (1..policy.consecutive_failures)
            .for_each(|_| assert!(!breaker.failed(false, now.instant, policy, now, 0.0)));
        assert!(breaker.failed(false, now.instant, policy, now, 0.0));
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let (policy, now) = (BreakerPolicy::default(), Now::some());
        let mut breaker = Breaker::default();
        for _ in 0..4 {
            (0..4).for_each(|_| assert!(!breaker.failed(false, now.instant, &policy, now, 0.0)));
            breaker.succeeded(false, now.instant, &policy, now);
        }
        assert_eq!(breaker.admits(now.instant), Admission::Pass);
        let breaker = opened(&policy, now);
        assert_eq!(
            breaker.admits(now.instant),
            Admission::Refused(now.instant + policy.first_wait)
        );
    }

    #[test]
    fn a_high_share_of_failures_opens_it_although_some_succeed() {
        let (policy, now) = (
            BreakerPolicy {
                consecutive_failures: 50,
                ..BreakerPolicy::default()
            },
            Now::some(),
        );
        let mut breaker = Breaker::default();
        breaker.succeeded(false, now.instant, &policy, now);
        let opened = (0..30).any(|_| breaker.failed(false, now.instant, &policy, now, 0.0));
        assert!(opened);
    }

    #[test]
    fn one_probe_decides() {
        let (policy, now) = (BreakerPolicy::default(), Now::some());
        let mut breaker = opened(&policy, now);
        let due = now.plus(policy.first_wait);
        assert_eq!(breaker.admits(due.instant), Admission::Probe);
        breaker.probe_started();
        assert_eq!(breaker.admits(due.instant), Admission::ProbeOut);
        assert!(
            !breaker.succeeded(false, due.instant, &policy, due),
            "what began before it opened decides nothing"
        );
        assert!(!breaker.failed(false, due.instant, &policy, due, 0.0));
        assert!(breaker.succeeded(true, due.instant, &policy, due));
        assert!(breaker.knows_nothing());
    }

    #[test]
    fn what_began_before_it_opened_and_ends_after_it_closed_decides_nothing() {
        let (policy, now) = (BreakerPolicy::default(), Now::some());
        let mut breaker = opened(&policy, now);
        let due = now.plus(policy.first_wait);
        breaker.probe_started();
        assert!(breaker.succeeded(true, due.instant, &policy, due));
        let later = due.plus(Duration::from_secs(10));
        for _ in 0..100 {
            assert!(!breaker.failed(false, now.instant, &policy, later, 0.0));
        }
        assert!(breaker.knows_nothing());
        // What begins from now on counts.
        let began = due.instant;
        let opens = (0..100).any(|_| breaker.failed(false, began, &policy, later, 0.0));
        assert!(opens);
    }

    #[test]
    fn the_wait_grows_with_each_failed_probe_up_to_the_longest() {
        let (policy, mut now) = (BreakerPolicy::default(), Now::some());
        let mut breaker = opened(&policy, now);
        let mut waits = Vec::new();
        for _ in 0..10 {
            let until = breaker.probe_at().unwrap();
            waits.push((until - now.instant).as_secs());
            now = now.plus(until - now.instant);
            breaker.probe_started();
            assert!(breaker.failed(true, now.instant, &policy, now, 0.0));
        }
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[test]
    fn what_was_repaired_is_tried_at_once_and_waits_longer_still_if_it_was_not() {
        let (policy, now) = (BreakerPolicy::default(), Now::some());
        let mut breaker = opened(&policy, now);
        assert!(breaker.try_now(now.instant));
        assert!(!breaker.try_now(now.instant), "it waits no more");
        assert_eq!(breaker.admits(now.instant), Admission::Probe);
        breaker.probe_started();
        assert!(!breaker.try_now(now.instant), "one probe at a time");
        assert!(breaker.failed(true, now.instant, &policy, now, 0.0));
        let until = now.instant + 2 * policy.first_wait;
        assert_eq!(breaker.admits(now.instant), Admission::Refused(until));
        assert_eq!(breaker.opened_at(), Some(now.wall));
        assert!(!Breaker::default().try_now(now.instant), "it is closed");
    }

    #[test]
    fn a_probe_that_is_out_while_the_endpoint_is_repaired_decides_nothing_and_the_next_goes_at_once()
     {
        let (policy, now) = (BreakerPolicy::default(), Now::some());
        let mut breaker = opened(&policy, now);
        breaker.probe_started();
        let repaired = now.plus(Duration::from_secs(5));
        assert!(!breaker.repaired(repaired.instant), "one probe at a time");
        assert_eq!(breaker.admits(repaired.instant), Admission::ProbeOut);
        let later = now.plus(Duration::from_secs(10));
        assert!(!breaker.failed(true, now.instant, &policy, later, 0.0));
        assert_eq!(
            (breaker.admits(later.instant), breaker.openings()),
            (Admission::Probe, 1)
        );
        // The next is one of how the endpoint is now.
        breaker.probe_started();
        assert!(breaker.failed(true, later.instant, &policy, later, 0.0));
        let until = later.instant + 2 * policy.first_wait;
        assert_eq!(breaker.admits(later.instant), Admission::Refused(until));
        assert!(breaker.repaired(later.instant));
        breaker.probe_started();
        assert!(breaker.succeeded(true, later.instant, &policy, later));
        assert!(breaker.knows_nothing());
    }

    #[test]
    fn a_lost_probe_lets_another_go_without_a_longer_wait() {
        let (policy, now) = (BreakerPolicy::default(), Now::some());
        let mut breaker = opened(&policy, now);
        breaker.probe_started();
        let again = now.plus(Duration::from_secs(1));
        breaker.probe_was_lost(again.instant);
        assert_eq!(
            breaker.admits(now.instant),
            Admission::Refused(again.instant)
        );
        assert_eq!(
            (breaker.admits(again.instant), breaker.openings()),
            (Admission::Probe, 1)
        );
    }

    #[test]
    fn a_cautious_breaker_opens_on_the_first_failure_and_trusts_after_the_first_success() {
        let (policy, now) = (BreakerPolicy::default(), Now::some());
        assert!(Breaker::cautious().failed(false, now.instant, &policy, now, 0.0));
        let mut breaker = Breaker::cautious();
        breaker.succeeded(false, now.instant, &policy, now);
        assert!(!breaker.failed(false, now.instant, &policy, now, 0.0));
    }

    #[test]
    fn the_next_owner_goes_on_where_this_one_was() {
        let (policy, now) = (BreakerPolicy::default(), Now::some());
        let before = opened(&policy, now);
        let state = EndpointState {
            endpoint_id: EndpointId::from_bytes([1; 16]),
            breaker: before.state(),
            probe_at: before.probe_at().map(|at| now.wall_of(at)),
            openings: before.openings(),
            consecutive_failures: before.consecutive_failures(),
            failing_since: before.failing_since(),
            next_slot: None,
            parked: 0,
            parked_bytes: 0,
            epoch: 1,
            updated_at: now.wall,
            partition: 0,
            nonce: 0,
            newer: Box::default(),
            opened_at: before.opened_at(),
            endpoint_version: 1,
        };
        let later = now.plus(Duration::from_secs(1));
        let after = Breaker::restore(&state, later);
        assert_eq!(
            after.admits(later.instant),
            Admission::Refused(now.instant + policy.first_wait)
        );
        assert_eq!(
            (after.openings(), after.failing_since(), after.opened_at()),
            (1, Some(now.wall), Some(now.wall))
        );
        let half_open = EndpointState {
            breaker: BreakerState::HalfOpen,
            probe_at: None,
            ..state
        };
        assert_eq!(
            Breaker::restore(&half_open, later).admits(later.instant),
            Admission::Probe
        );
    }

    proptest! {
        #[test]
        fn never_are_two_probes_out_and_no_wait_is_longer_than_the_longest(
            steps in prop::collection::vec((0..4u8, 0..200_000u64, 0.0..1.0f64), 1..200),
        ) {
            let policy = BreakerPolicy::default();
            let (mut breaker, mut now) = (Breaker::default(), Now::some());
            let (mut out, mut plain, mut began, mut repaired) = (false, 0u32, now, now);
            for (step, millis, draw) in steps {
                now = now.plus(Duration::from_millis(millis));
                match (step, breaker.admits(now.instant)) {
                    (0, Admission::Pass) => plain += 1,
                    (0, Admission::Probe) => { prop_assert!(!out); breaker.probe_started(); out = true; began = now; }
                    (0, Admission::ProbeOut) => prop_assert!(out),
                    (0, Admission::Refused(until)) => {
                        prop_assert!(until - now.instant <= policy.longest_wait.mul_f64(1.2));
                    }
                    (1, _) if out => {
                        let opened = breaker.failed(true, began.instant, &policy, now, draw);
                        prop_assert_eq!(opened, repaired.instant <= began.instant);
                        prop_assert!(opened || breaker.admits(now.instant) == Admission::Probe);
                        out = false;
                    }
                    (2, _) if out => { prop_assert!(breaker.succeeded(true, now.instant, &policy, now)); out = false; }
                    (1, _) if plain > 0 => { breaker.failed(false, now.instant, &policy, now, draw); plain -= 1; }
                    (2, _) if plain > 0 => { breaker.succeeded(false, now.instant, &policy, now); plain -= 1; }
                    (3, admitted) => {
                        let waited = matches!(admitted, Admission::Refused(_));
                        prop_assert_eq!(breaker.repaired(now.instant), waited);
                        repaired = now;
                    }
                    _ => {}
                }
            }
        }
    }
}
