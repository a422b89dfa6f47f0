//! Deleting by age in batches: whose turn it is, and how much of the store's time it takes.

use std::time::Duration;

use tokio::time::Instant;

use crate::StoreError;

/// The pause after a batch, in times that the batch took (waiting for other writers included): so deleting has a third of the
/// store's one writer at most, is as fast as the store is, and gives way where that is busy.
const PAUSE: u32 = 2;

/// The pause is no shorter, whatever the clock says.
const LEAST_PAUSE: Duration = Duration::from_millis(1);

/// Carries out one `batch` of each of `kinds` in turn, until none of them says that there may be more: one that never ends
/// takes its turn and no more. One that fails is left to the next round, the others go on.
///
/// Between batches there is a pause, which follows what they take.
pub async fn in_turn<K: Copy, F>(
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
