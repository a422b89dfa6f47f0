//! Asking the log again, after a while, for what it refuses only for now.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{Committer, Completion, Log, LogError};

/// Waits that double up to a limit, for what is refused only for now.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// Waits of `first`, twice that, and so on, none longer than `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            next: first,
            longest,
        }
    }

    /// The next wait.
    pub fn next_wait(&mut self) -> Duration {
        let wait = self.next.min(self.longest);
        self.next = wait.saturating_mul(2);
        wait
    }
}

/// For a log that is busy or full: 10 ms to a second.
impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_millis(10), Duration::from_secs(1))
    }
}

/// Completes, and asks again for as long as the log is busy or full. `refused` is told each time.
///
/// # Errors
/// Any other error at once; once `stop` is cancelled, also [`LogError::Busy`] and [`LogError::Full`]. Nothing was
/// written then, so the next owner does it again.
pub async fn complete_patiently(
    committer: &dyn Committer,
    completion: &Completion,
    stop: &CancellationToken,
    mut refused: impl FnMut(&LogError) + Send,
) -> Result<(), LogError> {
    let mut backoff = Backoff::default();
    loop {
        let error = match committer.complete(completion.clone()).await {
            Err(error @ (LogError::Busy(_) | LogError::Full(_))) => error,
            done => return done,
        };
        refused(&error);
        tokio::select! {
            () = stop.cancelled() => return Err(error),
            () = tokio::time::sleep(backoff.next_wait()) => {}
        }
    }
}

/// Syncs, and asks again for as long as the log is busy.
///
/// # Errors
/// As [`complete_patiently`].
pub async fn sync_patiently(log: &dyn Log, stop: &CancellationToken) -> Result<(), LogError> {
    let mut backoff = Backoff::default();
    loop {
        let error = match log.sync().await {
            Err(error @ (LogError::Busy(_) | LogError::Full(_))) => error,
            done => return done,
        };
        tokio::select! {
            () = stop.cancelled() => return Err(error),
            () = tokio::time::sleep(backoff.next_wait()) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(35));
        let waits: Vec<u128> = (0..4).map(|_| backoff.next_wait().as_millis()).collect();
        assert_eq!(waits, [10, 20, 35, 35]);
    }
}
