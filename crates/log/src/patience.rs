//! Asking the log again, after a while, for what it refuses only for now.

use std::future::Future;

use postrider_model::Backoff;
use tokio_util::sync::CancellationToken;

use crate::{Committer, Completion, Log, LogError};

/// Asks again for as long as the log is busy, full or silent. `refused` is told each time.
///
/// # Errors
/// Any other error at once; once `stop` is cancelled, also those that [pass](LogError::is_passing).
pub async fn patiently<Asked>(
    stop: &CancellationToken,
    mut ask: impl FnMut() -> Asked + Send,
    mut refused: impl FnMut(&LogError) + Send,
) -> Result<(), LogError>
where
    Asked: Future<Output = Result<(), LogError>> + Send,
{
    let mut backoff = Backoff::default();
    loop {
        let error = match ask().await {
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

/// Completes, [patiently].
///
/// # Errors
/// As there. No position was written then, so the next owner does it again.
pub async fn complete_patiently(
    committer: &dyn Committer,
    completion: &Completion,
    stop: &CancellationToken,
    refused: impl FnMut(&LogError) + Send,
) -> Result<(), LogError> {
    patiently(stop, || committer.complete(completion.clone()), refused).await
}

/// Syncs, [patiently].
///
/// # Errors
/// As there.
pub async fn sync_patiently(log: &dyn Log, stop: &CancellationToken) -> Result<(), LogError> {
    patiently(stop, || log.sync(), |_| {}).await
}
