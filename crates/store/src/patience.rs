//! Waiting for a store that does not answer, and writing into it until it has all that it will ever take.

use std::ops::Range;
use std::time::Duration;

use postrider_model::Backoff;
use tokio_util::sync::CancellationToken;

use crate::{Halving, StoreError};

/// We are to stop before it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

/// Waits for a store that does not answer: 50 ms at first, 5 s at most.
#[derive(Debug)]
pub struct Patience<F> {
    backoff: Backoff,
    stop: CancellationToken,
    told: F,
}

impl<F: Fn(&str, Duration)> Patience<F> {
    /// `told` hears of each wait: why, and how long it is. Waits end when `stop` is cancelled.
    pub fn new(stop: CancellationToken, told: F) -> Self {
        Self {
            backoff: backoff(),
            stop,
            told,
        }
    }

    /// Waits, longer each time.
    ///
    /// # Errors
    /// Once it is to stop.
    pub async fn wait(&mut self, why: &str) -> Result<(), Stopped> {
        let wait = self.backoff.next_wait();
        (self.told)(why, wait);
        tokio::select! {
            () = self.stop.cancelled() => Err(Stopped),
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }

    /// The store has answered: the next wait is short again.
    pub fn answered(&mut self) {
        self.backoff = backoff();
    }
}

/// Writes a number of items, all but those that the store will never take, for as long as that lasts.
///
/// Write the items of [`Writing::part`], say [how it went](Writing::after), and so on until there is no part.
#[derive(Debug)]
pub struct Writing<F> {
    halving: Halving,
    patience: Patience<F>,
    refused: Vec<(usize, String)>,
}

impl<F: Fn(&str, Duration)> Writing<F> {
    /// Of that many items.
    pub fn of(len: usize, patience: Patience<F>) -> Self {
        Self {
            halving: Halving::over(len),
            patience,
            refused: Vec::new(),
        }
    }

    /// The items to write now, by their indices; `None` when nothing is left.
    pub fn part(&self) -> Option<Range<usize>> {
        self.halving.part()
    }

    /// The part was written, or why not. Where the store does not answer it waits, and half of the part is asked for: it may
    /// answer for less within the time that it has. One that is damaged is waited for, too: nothing is wrong with the items.
    ///
    /// # Errors
    /// Once it is to stop, if it would wait.
    pub async fn after(&mut self, written: Result<(), StoreError>) -> Result<(), Stopped> {
        match written {
            Ok(()) => {
                self.halving.written();
                self.patience.answered();
            }
            Err(why @ (StoreError::Unavailable(_) | StoreError::Damaged(_))) => {
                self.halving.halve();
                self.patience.wait(&why.to_string()).await?;
            }
            Err(error) => {
                if let Some(index) = self.halving.refused() {
                    self.refused.push((index, error.to_string()));
                }
            }
        }
        Ok(())
    }

    /// The items that the store will never take, by their indices, and why.
    pub fn into_refused(self) -> Vec<(usize, String)> {
        self.refused
    }
}

fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A store that takes even numbers, and does not answer every third call.
    #[tokio::test(start_paused = true)]
    async fn everything_is_written_once_but_what_is_refused_however_often_the_store_is_away() {
        let (waits, mut calls, mut kept) = (Mutex::new(Vec::new()), 0, Vec::new());
        let told = |_: &str, wait: Duration| waits.lock().unwrap().push(wait);
        let patience = Patience::new(CancellationToken::new(), told);
        let mut writing = Writing::of(10, patience);
        while let Some(part) = writing.part() {
            calls += 1;
            let written = if calls % 3 == 0 {
                Err(StoreError::Unavailable("away".to_owned()))
            } else if part.clone().any(|item| item % 2 == 1) {
                Err(StoreError::Refused("odd".to_owned()))
            } else {
                kept.extend(part);
                Ok(())
            };
            assert_eq!(writing.after(written).await, Ok(()));
        }
        assert_eq!(kept, [0, 2, 4, 6, 8]);
        let refused: Vec<usize> = writing
            .into_refused()
            .iter()
            .map(|(item, _)| *item)
            .collect();
        assert_eq!(refused, [1, 3, 5, 7, 9]);
        assert!(waits.into_inner().unwrap().len() > 3);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_refused_by_a_store_that_is_damaged() {
        let (waits, stop) = (Mutex::new(Vec::new()), CancellationToken::new());
        let told = |why: &str, _| waits.lock().unwrap().push(why.to_owned());
        let mut writing = Writing::of(1, Patience::new(stop.clone(), told));
        for _ in 0..2 {
            assert_eq!(writing.part(), Some(0..1));
            let damaged = Err(StoreError::Damaged("a page of it".to_owned()));
            assert_eq!(writing.after(damaged).await, Ok(()));
        }
        assert_eq!(writing.part(), Some(0..1));
        assert_eq!(writing.after(Ok(())).await, Ok(()));
        assert!(writing.part().is_none() && writing.into_refused().is_empty());
        let waits = waits.into_inner().unwrap();
        assert_eq!(waits, ["the store is damaged: a page of it"; 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_too_slow_for_all_of_it_is_given_less() {
        let patience = Patience::new(CancellationToken::new(), |_: &str, _| ());
        let (mut writing, mut kept, mut calls) = (Writing::of(5_000, patience), Vec::new(), 0);
        while let Some(part) = writing.part() {
            calls += 1;
            let written = if part.len() > 700 {
                Err(StoreError::Unavailable("too slow".to_owned()))
            } else {
                kept.extend(part);
                Ok(())
            };
            assert_eq!(writing.after(written).await, Ok(()));
        }
        assert!(kept.into_iter().eq(0..5_000) && calls < 20, "{calls} calls");
        assert!(writing.into_refused().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn waits_grow_until_the_store_answers_and_end_when_it_is_to_stop() {
        let (waits, stop) = (Mutex::new(Vec::new()), CancellationToken::new());
        let told = |_: &str, wait: Duration| waits.lock().unwrap().push(wait.as_millis());
        let mut patience = Patience::new(stop.clone(), told);
        for _ in 0..2 {
            assert_eq!(patience.wait("away").await, Ok(()));
        }
        patience.answered();
        assert_eq!(patience.wait("away").await, Ok(()));
        stop.cancel();
        assert_eq!(patience.wait("away").await, Err(Stopped));
        assert_eq!(*waits.lock().unwrap(), [50, 100, 50, 100]);
    }
}
