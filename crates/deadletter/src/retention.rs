//! Deleting dead letters, and replays that ended, by age, in small batches, both [in turn](in_turn).

use postrider_model::Timestamp;
use postrider_store::{DeadLetters, Replays, StoreError, in_turn};
use tokio_util::sync::CancellationToken;

use crate::{DeadLetterError, DeadLetterMetrics, Options, Ports};

/// What is deleted.
#[derive(Debug, Clone, Copy)]
enum Old {
    DeadLetters,
    Replays,
}

/// Deletes what is old, round by round, until `stop`.
pub(crate) async fn run<S: DeadLetters + Replays + ?Sized>(
    ports: Ports<S>,
    options: Options,
    metrics: DeadLetterMetrics,
    stop: CancellationToken,
) -> Result<(), DeadLetterError> {
    let rounds = async {
        loop {
            tokio::time::sleep(options.delete_every).await;
            round(&ports, &options, &metrics).await;
        }
    };
    // A batch that is cut off is deleted whole or not at all.
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        () = rounds => Ok(()),
    }
}

async fn round<S: DeadLetters + Replays + ?Sized>(
    ports: &Ports<S>,
    options: &Options,
    metrics: &DeadLetterMetrics,
) {
    let Some(keep) = options.keep else {
        return;
    };
    let (before, limit) = (ports.clock.now().minus(keep), options.delete_batch);
    let batch = |kind| delete(&*ports.store, kind, before, limit, metrics);
    let failed = |kind, error| {
        tracing::warn!(?kind, %error, "what is old could not be deleted; trying again later");
        metrics.store_failures.inc();
    };
    in_turn(vec![Old::DeadLetters, Old::Replays], batch, failed).await;
}

/// Deletes one batch. True if there may be more.
async fn delete<S: DeadLetters + Replays + ?Sized>(
    store: &S,
    kind: Old,
    before: Timestamp,
    limit: usize,
    metrics: &DeadLetterMetrics,
) -> Result<bool, StoreError> {
    let deleted = match kind {
        Old::DeadLetters => {
            let deleted = store.delete_dead_letters(before, limit).await?;
            metrics.deleted.inc_by(deleted as u64);
            deleted
        }
        Old::Replays => store.delete_replays(before, limit).await?,
    };
    Ok(deleted >= limit)
}
