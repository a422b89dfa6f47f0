//! A clock that goes on while the machine sleeps.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Time since the machine started, suspension included. A process that was stopped, and a machine that slept, find
/// their leases ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(Duration);

impl Instant {
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::Boottime;
    /// Counts suspension on Apple's systems.
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::Monotonic;

    pub(crate) fn now() -> Self {
        let now = clock_gettime(Self::CLOCK);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        let nanos = u32::try_from(now.tv_nsec).unwrap_or_default();
        Self(Duration::new(seconds, nanos))
    }

    /// So long after this.
    pub(crate) fn plus(self, by: Duration) -> Self {
        Self(self.0 + by)
    }

    /// How long ago this was.
    pub(crate) fn elapsed(self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
}
