//! How fast an endpoint takes deliveries.

use std::time::Duration;

use tokio::time::Instant;

/// Successes a second, over the last whole second in which there were any.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    second: Option<Instant>,
    counted: u32,
    last: u32,
}

impl Pace {
    /// One more.
    pub(crate) fn count(&mut self, now: Instant) {
        const SECOND: Duration = Duration::from_secs(1);
        match self.second {
            Some(began) if now < began + SECOND => self.counted += 1,
            _ => {
                self.last = self.counted;
                (self.second, self.counted) = (Some(now), 1);
            }
        }
    }

    /// How long so many take; between a second and a minute. A second where nothing is known.
    pub(crate) fn time_for(&self, deliveries: usize) -> Duration {
        let pace = f64::from(self.last.max(self.counted));
        let seconds = if pace > 0.0 {
            deliveries as f64 / pace
        } else {
            0.0
        };
        Duration::from_secs_f64(seconds.clamp(1.0, 60.0))
    }
}
