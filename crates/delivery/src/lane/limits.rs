//! What bounds a lane: for every endpoint, and for this one.

use std::time::Duration;

use crate::BreakerPolicy;

/// What bounds a lane.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneLimits {
    /// Deliveries waiting in memory, at most.
    pub deliveries: usize,
    /// Their bytes, at most.
    pub bytes: usize,
    /// What is not due, or by the endpoint's rate limit cannot start, within this time is parked.
    pub hold: Duration,
    /// What would start later than this at the pace at which the endpoint answers is parked, too. A guess, so it is larger.
    pub ahead: Duration,
    /// Deliveries waiting for a probe's answer, at most.
    pub behind_probe: usize,
    /// Bytes parked, at most; past it, the oldest that come round become dead letters, at twice it newcomers too.
    pub parked_bytes: u64,
    /// Attempts in flight at first.
    pub first_in_flight: u32,
    /// Attempts in flight where the policy does not say, at most.
    pub max_in_flight: u32,
    /// The breaker's thresholds and waits.
    pub breaker: BreakerPolicy,
}

impl Default for LaneLimits {
    fn default() -> Self {
        Self {
            deliveries: 20_000,
            bytes: 24 << 20,
            hold: Duration::from_secs(3),
            ahead: Duration::from_secs(30),
            behind_probe: 64,
            parked_bytes: 4 << 30,
            first_in_flight: 4,
            max_in_flight: 64,
            breaker: BreakerPolicy::default(),
        }
    }
}

/// What an endpoint's configuration asks of its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Starts of attempts in any second, at most; `None`: no limit.
    pub rate: Option<u32>,
    /// Attempts in flight, at most.
    pub max_in_flight: u32,
    /// The endpoint's version: whoever changed it may have repaired it. 0 where none is known.
    pub version: u64,
}
