//! What can be set.

use std::time::Duration;

use postrider_log::BatchLimit;
use postrider_model::Schedule;

use crate::LaneLimits;

/// How the worker works. Plain and valid: whoever makes it has checked it ([`Options::check`]).
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The schedule of endpoints that set none.
    pub schedule: Schedule,
    /// The timeout of endpoints that set none.
    pub timeout: Duration,
    /// What bounds each lane.
    pub lane: LaneLimits,
    /// Attempts in flight, at most.
    pub in_flight: u32,
    /// The share of them, in percent, that only endpoints which answer may use; 0 to 90.
    pub answering_share: u32,
    /// Memory for deliveries that were read and not finished, in bytes.
    pub memory: usize,
    /// Unfinished deliveries of a partition, at most; past it, what is read is parked.
    pub unfinished: usize,
    /// What is read at once.
    pub batch: BatchLimit,
    /// How long a finished delivery waits for others to be committed with.
    pub commit_linger: Duration,
    /// How long attempts may go on when the worker is told to stop.
    pub drain: Duration,
    /// How long attempts may go on when a partition is to be given up.
    pub revoke_drain: Duration,
    /// How long an idle lane is kept.
    pub keep_idle: Duration,
    /// True where the states of an earlier owner may be missing (several machines): an endpoint without one starts
    /// cautiously.
    pub cautious_start: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            schedule: Schedule::default(),
            timeout: Duration::from_secs(15),
            lane: LaneLimits::default(),
            in_flight: 2048,
            answering_share: 25,
            memory: 64 << 20,
            unfinished: 50_000,
            batch: BatchLimit {
                records: 512,
                bytes: 4 << 20,
            },
            commit_linger: Duration::from_millis(1),
            drain: Duration::from_secs(20),
            revoke_drain: Duration::from_secs(5),
            keep_idle: Duration::from_secs(10),
            cautious_start: false,
        }
    }
}

impl Options {
    /// Every value that cannot stand, each with what would be right.
    pub fn check(&self) -> Vec<String> {
        let day = Duration::from_secs(24 * 3600);
        let rules = [
            (
                self.timeout > Duration::ZERO && self.timeout <= day,
                "the timeout must be above zero and at most a day",
            ),
            (self.in_flight >= 8, "attempts in flight must be at least 8"),
            (
                self.answering_share <= 90,
                "the share kept for endpoints that answer must be 0 to 90 percent",
            ),
            (
                self.memory >= 1 << 20,
                "the memory for deliveries must be at least 1 MiB",
            ),
            (
                self.unfinished >= 16,
                "unfinished deliveries of a partition must be at least 16",
            ),
            (
                self.batch.records > 0,
                "a batch must have at least one record",
            ),
            (
                self.lane.deliveries > 0 && self.lane.bytes > 0,
                "a lane must hold at least one delivery",
            ),
            (
                self.lane.max_in_flight > 0,
                "attempts in flight of an endpoint must be at least 1",
            ),
            (
                self.lane.breaker.consecutive_failures > 0,
                "a breaker must bear at least one failure",
            ),
            (
                (0.0..=1.0).contains(&self.lane.breaker.failure_rate),
                "a breaker's share of failures must be 0 to 1",
            ),
            (
                self.lane.breaker.first_wait > Duration::ZERO,
                "a breaker's first wait must be above zero",
            ),
            (
                self.lane.breaker.longest_wait >= self.lane.breaker.first_wait,
                "a breaker's longest wait must not be below its first",
            ),
        ];
        let broken = rules.into_iter().filter(|(holds, _)| !holds);
        broken.map(|(_, rule)| rule.to_owned()).collect()
    }
}
