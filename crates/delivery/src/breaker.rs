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
        let until = state
            .probe_at
            .map_or(now.instant, |at| now.instant_of_told(at, state.updated_at));
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
#[path = "breaker_tests.rs"]
mod tests;
