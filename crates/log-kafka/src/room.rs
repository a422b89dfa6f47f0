//! A bound on what is on its way to the brokers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use postrider_log::LogError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::LogMetrics;
use crate::error::closed;

/// What a request takes beside its records, so that their number is bounded, too.
const REQUEST_OVERHEAD: usize = 256;

/// Room in bytes. Callers wait for it in their order, and are refused when they wait too long or too many do.
pub(crate) struct Room {
    free: Arc<Semaphore>,
    bytes: usize,
    wait: Duration,
    /// Bytes of those who wait.
    outside: AtomicUsize,
    metrics: LogMetrics,
}

/// A share of the room, given back when it is dropped.
pub(crate) struct Share {
    _permit: OwnedSemaphorePermit,
    bytes: i64,
    metrics: LogMetrics,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.metrics.queued.add(-self.bytes);
    }
}

/// Counts a caller outside while it waits, and no longer if it gives up.
struct Outside<'a>(&'a AtomicUsize, usize);

impl Drop for Outside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

impl Room {
    pub(crate) fn new(bytes: usize, wait: Duration, metrics: LogMetrics) -> Self {
        Self {
            free: Arc::new(Semaphore::new(bytes)),
            bytes,
            wait,
            outside: AtomicUsize::new(0),
            metrics,
        }
    }

    /// Waits for room.
    pub(crate) async fn take(&self, bytes: usize) -> Result<Share, LogError> {
        // A request larger than the room takes all of it.
        let share = (bytes + REQUEST_OVERHEAD).min(self.bytes);
        let permits = u32::try_from(share).unwrap_or(u32::MAX);
        let permit = match Arc::clone(&self.free).try_acquire_many_owned(permits) {
            Ok(permit) => permit,
            Err(_) => self.wait(bytes, permits).await?,
        };
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.metrics.queued.add(bytes);
        Ok(Share {
            _permit: permit,
            bytes,
            metrics: self.metrics.clone(),
        })
    }

    async fn wait(&self, bytes: usize, permits: u32) -> Result<OwnedSemaphorePermit, LogError> {
        let waiting = self.outside.fetch_add(bytes, Ordering::Relaxed);
        let _outside = Outside(&self.outside, bytes);
        if waiting > 4 * self.bytes {
            self.metrics.busy.inc();
            return Err(LogError::Busy(format!(
                "{waiting} bytes wait to be sent to Kafka"
            )));
        }
        let acquired = Arc::clone(&self.free).acquire_many_owned(permits);
        match tokio::time::timeout(self.wait, acquired).await {
            Ok(permit) => permit.map_err(|_| closed()),
            Err(_) => {
                self.metrics.busy.inc();
                Err(LogError::Busy(format!(
                    "Kafka has not acknowledged anything for {:?} that would make room",
                    self.wait
                )))
            }
        }
    }

    /// Refuses everybody from now on.
    pub(crate) fn close(&self) {
        self.free.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(bytes: usize, wait: Duration) -> Arc<Room> {
        let registry = postrider_metrics::Registry::new();
        let metrics = LogMetrics::register(&registry).unwrap();
        Arc::new(Room::new(bytes, wait, metrics))
    }

    #[tokio::test]
    async fn callers_wait_when_it_is_full_and_are_refused_when_too_many_do() {
        let room = room(10_000, Duration::from_secs(600));
        let first = room.take(10_000).await.unwrap();
        let waiting: Vec<_> = (0..5)
            .map(|_| {
                let room = Arc::clone(&room);
                tokio::spawn(async move { room.take(9_000).await.map(drop) })
            })
            .collect();
        while room.outside.load(Ordering::Relaxed) < 45_000 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(room.take(9_000).await, Err(LogError::Busy(_))));
        assert_eq!(room.metrics.busy.get(), 1);
        drop(first);
        for taken in waiting {
            taken.await.unwrap().unwrap();
        }
        assert_eq!(room.metrics.queued.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_waited_long_enough_is_refused_and_stands_in_nobodys_way() {
        let room = room(1000, Duration::from_secs(2));
        let first = room.take(1000).await.unwrap();
        assert!(matches!(room.take(900).await, Err(LogError::Busy(_))));
        assert_eq!(room.outside.load(Ordering::Relaxed), 0);
        drop(first);
        room.take(900).await.unwrap();
        room.close();
        assert!(matches!(room.take(900).await, Err(LogError::Stopped(_))));
    }
}
