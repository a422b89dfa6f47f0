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
    /// The schedule of endpoints that set none.
    pub schedule: Schedule,
    /// What is added to a schedule's length for the deadline of a resent delivery.
    pub slack: Duration,
    /// How many deliveries a second a replay publishes that says nothing of it.
    pub replay_rate: u32,
    /// The largest body, and how long it may take.
    pub body: BodyLimit,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(5),
            waiting: 256,
            schedule: Schedule::default(),
            slack: Duration::from_secs(24 * 3600),
            replay_rate: 100,
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
