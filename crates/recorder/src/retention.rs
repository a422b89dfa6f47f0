//! Deleting history by age, in small batches with pauses, the kinds in turn.

use std::sync::Arc;
use std::time::Duration;

use postrider_model::{Clock, Timestamp};
use postrider_store::{Claims, ConfigFeed, History, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Deleted, RecorderError, RecorderMetrics, Retention};

/// Who has not asked for changes of configuration for so long reads everything again instead.
const REMOVALS: Duration = Duration::from_secs(7 * 24 * 3600);

/// The pause after a batch, in times that the batch took (waiting for other writers included): so deleting has a third of the
/// store's one writer at most, is as fast as the store is, and gives way where that is busy.
const PAUSE: u32 = 2;

/// The pause is no shorter, whatever the clock says.
const LEAST_PAUSE: Duration = Duration::from_millis(1);

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

/// Carries out one `batch` of each of `kinds` in turn, until none of them says that there may be more: one that never ends
/// takes its turn and no more. One that fails is left to the next round, the others go on.
async fn in_turn<K: Copy, F>(
    mut kinds: Vec<K>,
    batch: impl Fn(K) -> F,
    failed: impl Fn(K, StoreError),
) where
    F: Future<Output = Result<bool, StoreError>>,
{
    while !kinds.is_empty() {
        let mut left = Vec::with_capacity(kinds.len());
        for kind in kinds {
            let began = Instant::now();
            match batch(kind).await {
                Ok(true) => left.push(kind),
                Ok(false) => {}
                Err(error) => failed(kind, error),
            }
            tokio::time::sleep((began.elapsed() * PAUSE).max(LEAST_PAUSE)).await;
        }
        kinds = left;
    }
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const BATCH: Duration = Duration::from_millis(30);

    /// What is left of each kind, and which were asked for, and when.
    struct Heaps {
        left: RefCell<Vec<u32>>,
        asked: RefCell<Vec<(usize, Instant)>>,
    }

    impl Heaps {
        fn of(left: &[u32]) -> Self {
            Self {
                left: RefCell::new(left.to_vec()),
                asked: RefCell::default(),
            }
        }

        async fn delete(&self, kind: usize) -> Result<bool, StoreError> {
            self.asked.borrow_mut().push((kind, Instant::now()));
            tokio::time::sleep(BATCH).await;
            let mut left = self.left.borrow_mut();
            left[kind] = left[kind].saturating_sub(1);
            Ok(left[kind] > 0)
        }

        fn kinds_asked(&self) -> Vec<usize> {
            self.asked.borrow().iter().map(|(kind, _)| *kind).collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_is_always_refilled_keeps_none_of_the_others_waiting() {
        let heaps = Heaps::of(&[u32::MAX, 3, 1]);
        let endless = in_turn(vec![0, 1, 2], |kind| heaps.delete(kind), |_, _| ());
        let cut = tokio::time::timeout(BATCH * 30, endless).await;
        assert!(cut.is_err(), "it ended");
        assert_eq!(heaps.kinds_asked()[..7], [0, 1, 2, 0, 1, 0, 1]);
        assert_eq!(heaps.left.borrow()[1..], [0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn deleting_has_a_third_of_the_time() {
        let heaps = Heaps::of(&[4]);
        in_turn(vec![0], |kind| heaps.delete(kind), |_, _| ()).await;
        let asked = heaps.asked.borrow();
        assert_eq!(asked.len(), 4);
        for pair in asked.windows(2) {
            assert_eq!(pair[1].1 - pair[0].1, BATCH * 3);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_fails_is_told_once_and_ends_the_round_for_no_other() {
        let heaps = Heaps::of(&[9, 3]);
        let failures = RefCell::new(Vec::new());
        let batch = async |kind| match kind {
            0 => Err(StoreError::Unavailable("the disk is full".into())),
            kind => heaps.delete(kind).await,
        };
        in_turn(vec![0, 1], batch, |kind, _| {
            failures.borrow_mut().push(kind)
        })
        .await;
        assert_eq!(*failures.borrow(), [0]);
        assert_eq!(heaps.kinds_asked(), [1, 1, 1]);
    }
}
