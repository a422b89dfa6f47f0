//! What can be set.

use std::time::Duration;

use postrider_model::{IntakeLimits, Schedule};

/// What can be set. The default is right for one machine.
#[derive(Debug, Clone)]
pub struct Options {
    /// Events read at once, at most.
    pub batch_records: usize,
    /// Bytes of events read at once, at most.
    pub batch_bytes: usize,
    /// Endpoints to which one part of an event goes. An event with more goes out in parts, in class bulk.
    pub part_endpoints: usize,
    /// Bytes (payload × endpoints) of one part; at least one delivery is made whatever its size.
    pub part_bytes: usize,
    /// The schedule of endpoints that set none.
    pub schedule: Schedule,
    /// How long after its schedule a delivery may still wait (limits, breaker) before it becomes a dead letter.
    pub slack: Duration,
    /// How much producers on the topic may send; the same as over HTTP.
    pub intake: IntakeLimits,
    /// Reject their events of a type that nobody registered; the same as over HTTP.
    pub strict_event_types: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch_records: 500,
            batch_bytes: 4 << 20,
            part_endpoints: 1_000,
            part_bytes: 8 << 20,
            schedule: Schedule::default(),
            slack: Duration::from_secs(24 * 3600),
            intake: IntakeLimits::default(),
            strict_event_types: false,
        }
    }
}
