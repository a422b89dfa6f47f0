//! What the configuration decides.

use std::time::Duration;

use postrider_http::BodyLimit;
use postrider_model::{Endpoint, Schedule, Timestamp};

/// What the configuration decides.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long a read waits for the recorder to archive a young event.
    pub wait: Duration,
    /// How many reads may wait so at once.
    pub waiting: usize,
    /// How many requests may read much at once: pages of events, attempts and dead letters, and counts of those; at least 1.
    pub turns: usize,
    /// How long others wait for one of them to end.
    pub turn_wait: Duration,
    /// The schedule of endpoints that set none.
    pub schedule: Schedule,
    /// What is added to a schedule's length for the deadline of a resent delivery.
    pub slack: Duration,
    /// How many deliveries a second a replay publishes that says nothing of it.
    pub replay_rate: u32,
    /// How many endpoints an application may have; those beyond it that are there already stay.
    pub max_endpoints: usize,
    /// The largest body, and how long it may take.
    pub body: BodyLimit,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(5),
            waiting: 256,
            turns: 4,
            turn_wait: Duration::from_secs(5),
            schedule: Schedule::default(),
            slack: Duration::from_secs(24 * 3600),
            replay_rate: 100,
            max_endpoints: 10_000,
            body: BodyLimit::default(),
        }
    }
}

impl Options {
    /// When a delivery to `endpoint` that begins `now` is given up at the latest: its schedule with jitter, and the slack.
    pub(crate) fn deadline(&self, endpoint: &Endpoint, now: Timestamp) -> Timestamp {
        let schedule = endpoint.policy.schedule.as_ref().unwrap_or(&self.schedule);
        let total = schedule.total();
        now.plus(total + total / 10 + self.slack)
    }
}
