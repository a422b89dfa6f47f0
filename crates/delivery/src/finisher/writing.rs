//! A commit, from where it is asked for to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use postrider_failpoint::fail_point;
use postrider_log::{Committer, Completion, LogError, complete_or_less};
use tokio_util::sync::CancellationToken;

use crate::DeliveryMetrics;
use crate::emptied::Emptied;
use crate::finished::{Finished, is_copy};

/// A commit that ended: where it was written, what followed from it is gone.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(super) batch: Vec<Finished>,
    /// The batch was of what the log had not held before.
    pub(super) again: bool,
    pub(crate) result: Result<(), LogError>,
}

/// Has `completion` written, and waits for as long as the log takes nothing, until `stop`. `again` says that the log had not
/// held the batch before.
pub(super) async fn write(
    committer: Arc<dyn Committer>,
    completion: Completion,
    (batch, again): (Emptied, bool),
    refused: Arc<AtomicBool>,
    metrics: DeliveryMetrics,
    stop: CancellationToken,
) -> Commit {
    fail_point!("worker.complete.before");
    let less = batch.finished.len() > 1 || completion.outputs.iter().any(is_copy);
    let result = complete_or_less(&*committer, &completion, less, &stop, |error| {
        if !refused.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "nothing is started until the log takes what is finished");
        }
        metrics.commit_failures.inc();
    })
    .await;
    fail_point!("worker.complete.after");
    // Also where it ended otherwise: it may be the last commit, and nothing would be read to make another.
    let ends = |error: &LogError| !error.is_passing() || less && matches!(error, LogError::Full(_));
    if result.as_ref().err().is_none_or(ends) {
        refused.store(false, Ordering::Relaxed);
    }
    let batch = match result {
        Ok(()) => batch.finished,
        Err(_) => batch.filled(completion.outputs),
    };
    Commit {
        batch,
        again,
        result,
    }
}
