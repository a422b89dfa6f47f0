//! The present, as it is passed to policy code.

use std::time::Duration;

use postrider_model::{Clock, Timestamp};
use tokio::time::Instant;

/// Two clocks that are asked within this tell of one moment: less than the shortest part of a millisecond that a timer
/// leaves over.
const TOGETHER: Duration = Duration::from_micros(20);
/// A thread is not held up so often in a row.
const TRIES: usize = 8;

/// One moment on both clocks: the monotonic one measures waits inside this process, the wall clock is what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For waits and limits in this process.
    pub instant: Instant,
    /// For what is written down.
    pub wall: Timestamp,
}

impl Now {
    /// Asks both clocks, once more where the thread was held up between the two: by the wall clock the next start would
    /// come too soon after one that is written down too late.
    pub fn of(clock: &dyn Clock) -> Self {
        let mut instant = Instant::now();
        let mut wall = clock.now();
        for _ in 0..TRIES {
            let after = Instant::now();
            if after - instant < TOGETHER {
                break;
            }
            (instant, wall) = (after, clock.now());
        }
        Self { instant, wall }
    }

    /// A moment for tests to begin at.
    #[cfg(test)]
    pub(crate) fn some() -> Self {
        Self {
            instant: Instant::now(),
            wall: Timestamp::from_millis(1_700_000_000_000),
        }
    }

    /// The moment `by` later.
    pub fn plus(self, by: Duration) -> Self {
        Self {
            instant: self.instant + by,
            wall: self.wall.plus(by),
        }
    }

    /// The wall-clock time of `instant`; the present for what is past.
    pub fn wall_of(self, instant: Instant) -> Timestamp {
        self.wall
            .plus(instant.saturating_duration_since(self.instant))
    }

    /// The instant of the wall-clock time `at` that somebody told at `told_at`: no farther off than it was then, also where the
    /// clock was set back since.
    pub fn instant_of_told(self, at: Timestamp, told_at: Timestamp) -> Instant {
        self.instant + at.since(self.wall.max(told_at))
    }

    /// The instant of the wall-clock time `at`; the present for what is past.
    pub fn instant_of(self, at: Timestamp) -> Instant {
        self.instant + at.since(self.wall)
    }
}
