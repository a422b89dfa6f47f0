//! Asking the log again, after a while, for what it refuses only for now.

use postrider_model::Backoff;
use tokio_util::sync::CancellationToken;

use crate::{Committer, Completion, Log, LogError};

/// Completes, and asks again for as long as the log is busy, full or silent. `refused` is told each time.
///
/// # Errors
/// Any other error at once; once `stop` is cancelled, also those that [pass](LogError::is_passing). No position was
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
            Err(error) if error.is_passing() => error,
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
            Err(error) if error.is_passing() => error,
            done => return done,
        };
        tokio::select! {
            () = stop.cancelled() => return Err(error),
            () = tokio::time::sleep(backoff.next_wait()) => {}
        }
    }
}
