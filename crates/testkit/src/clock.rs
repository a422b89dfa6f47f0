//! One clock for all processes of a test.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Microseconds on the machine's monotonic clock, which all its processes share.
#[must_use]
pub fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let since_boot = Duration::new(
        u64::try_from(now.tv_sec).unwrap_or_default(),
        u32::try_from(now.tv_nsec).unwrap_or_default(),
    );
    u64::try_from(since_boot.as_micros()).unwrap_or(u64::MAX)
}
