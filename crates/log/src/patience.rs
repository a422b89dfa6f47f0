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
    ask: impl FnMut() -> Asked + Send,
    refused: impl FnMut(&LogError) + Send,
) -> Result<(), LogError>
where
    Asked: Future<Output = Result<(), LogError>> + Send,
{
    patiently_unless(stop, |_| false, ask, refused).await
}

/// Likewise, but an error that `ends` says of is returned at once: of a log that is full less may be asked, which fits.
///
/// # Errors
/// As there, and those.
pub async fn patiently_unless<Asked>(
    stop: &CancellationToken,
    mut ends: impl FnMut(&LogError) -> bool + Send,
    mut ask: impl FnMut() -> Asked + Send,
    mut refused: impl FnMut(&LogError) + Send,
) -> Result<(), LogError>
where
    Asked: Future<Output = Result<(), LogError>> + Send,
{
    let mut backoff = Backoff::default();
    loop {
        let error = match ask().await {
            Err(error) if error.is_passing() && !ends(&error) => error,
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

/// Likewise; where `less` may be asked, a log that is full is not asked for as much again.
///
/// # Errors
/// As there, and [`LogError::Full`] at once if `less` may be asked.
pub async fn complete_or_less(
    committer: &dyn Committer,
    completion: &Completion,
    less: bool,
    stop: &CancellationToken,
    refused: impl FnMut(&LogError) + Send,
) -> Result<(), LogError> {
    let ends = |error: &LogError| less && matches!(error, LogError::Full(_));
    let ask = || committer.complete(completion.clone());
    patiently_unless(stop, ends, ask, refused).await
}

/// Syncs, [patiently].
///
/// # Errors
/// As there.
pub async fn sync_patiently(log: &dyn Log, stop: &CancellationToken) -> Result<(), LogError> {
    patiently(stop, || log.sync(), |_| {}).await
}
