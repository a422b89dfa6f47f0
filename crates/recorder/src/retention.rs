//! Deleting history by age, in small batches, the kinds [in turn](in_turn).

use std::sync::Arc;
use std::time::Duration;

use postrider_model::{Clock, Timestamp};
use postrider_store::{Claims, ConfigFeed, History, StoreError, in_turn};
use tokio_util::sync::CancellationToken;

use crate::{Deleted, RecorderError, RecorderMetrics, Retention};

/// Who has not asked for changes of configuration for so long reads everything again instead.
const REMOVALS: Duration = Duration::from_secs(7 * 24 * 3600);

/// Deletes what is old, round by round, until `stop`.
pub(crate) async fn run<S: History + Claims + ConfigFeed + ?Sized>(
    store: Arc<S>,
    clock: Arc<dyn Clock>,
    options: Retention,
    metrics: RecorderMetrics,
    stop: CancellationToken,
) -> Result<(), RecorderError> {
    let rounds = async {
        loop {
            tokio::time::sleep(options.every).await;
            round(store.as_ref(), clock.now(), &options, &metrics).await;
        }
    };
    // A batch that is cut off is deleted whole or not at all.
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        () = rounds => Ok(()),
    }
}

/// A round ends for all when nothing of before `now` is left of any kind.
async fn round<S: History + Claims + ConfigFeed + ?Sized>(
    store: &S,
    now: Timestamp,
    options: &Retention,
    metrics: &RecorderMetrics,
) {
    let kinds = [
        (Deleted::Attempt, options.attempts),
        (Deleted::Event, options.events),
        (Deleted::Claim, Some(options.claims)),
        (Deleted::Removal, Some(REMOVALS)),
    ];
    let kinds = kinds
        .into_iter()
        .filter_map(|(kind, keep)| Some((kind, now.minus(keep?))));
    let batch = |(kind, before)| delete(store, kind, before, options.batch, metrics);
    let failed = |(kind, _), error| {
        tracing::warn!(?kind, %error, "old history could not be deleted; trying again later");
        metrics.store_failures.inc();
    };
    in_turn(kinds.collect(), batch, failed).await;
}

/// Deletes one batch. True if there may be more.
async fn delete<S: History + Claims + ConfigFeed + ?Sized>(
    store: &S,
    kind: Deleted,
    before: Timestamp,
    limit: usize,
    metrics: &RecorderMetrics,
) -> Result<bool, StoreError> {
    let deleted = match kind {
        Deleted::Event => store.delete_events(before, limit).await?,
        Deleted::Attempt => store.delete_attempts(before, limit).await?,
        Deleted::Claim => store.delete_claims(before, limit).await?,
        Deleted::Removal => store.forget_removals(before, limit).await?,
    };
    metrics.deleted.of(kind).inc_by(deleted as u64);
    Ok(deleted >= limit)
}
