//! How quickly the sockets come back.

use std::time::Duration;

use tokio::time::Instant;

/// What is looked at as one: long enough that a commit or a checkpoint of the log does not look like slow endpoints.
const WINDOW: Duration = Duration::from_millis(500);
/// Each socket so often in a window: a tenth of a second for an answer.
const QUICK: u32 = 5;

/// Counts the sockets that endpoints which answer gave back.
#[derive(Debug, Default)]
pub(crate) struct Turnover {
    began: Option<Instant>,
    counted: u32,
    /// In the window before.
    last: u32,
}

impl Turnover {
    /// One more.
    pub(crate) fn count(&mut self, now: Instant) {
        match self.began {
            Some(began) if now < began + WINDOW => self.counted += 1,
            Some(began) if now < began + WINDOW * 2 => {
                (self.began, self.last, self.counted) = (Some(began + WINDOW), self.counted, 1);
            }
            _ => (self.began, self.last, self.counted) = (Some(now), 0, 1),
        }
    }

    /// True if `sockets` came back quickly in the last whole window.
    pub(crate) fn is_quick(&self, sockets: u32, now: Instant) -> bool {
        let last = match self.began {
            Some(began) if now < began + WINDOW => self.last,
            Some(began) if now < began + WINDOW * 2 => self.counted,
            _ => 0,
        };
        last >= sockets.saturating_mul(QUICK)
    }
}
