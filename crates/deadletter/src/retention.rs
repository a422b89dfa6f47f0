//! Deleting dead letters, and replays that ended, by age, in small batches with pauses.

use postrider_store::{DeadLetters, Replays, StoreError};
use tokio_util::sync::CancellationToken;

use crate::{DeadLetterError, DeadLetterMetrics, Options, Ports};

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
            if let Err(error) = round(&ports, &options, &metrics).await {
                tracing::warn!(%error, "old dead letters could not be deleted; trying again later");
                metrics.store_failures.inc();
            }
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
) -> Result<(), StoreError> {
    let Some(keep) = options.keep else {
        return Ok(());
    };
    let (before, limit) = (ports.clock.now().minus(keep), options.delete_batch);
    loop {
        let deleted = ports.store.delete_dead_letters(before, limit).await?;
        metrics.deleted.inc_by(deleted as u64);
        if deleted < limit {
            break;
        }
        tokio::time::sleep(options.delete_pause).await;
    }
    while ports.store.delete_replays(before, limit).await? >= limit {
        tokio::time::sleep(options.delete_pause).await;
    }
    Ok(())
}
