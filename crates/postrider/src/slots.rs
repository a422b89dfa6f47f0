//! The connections that a server has at once: bounded, and the one that is idle longest gives way to the next.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long the one that was asked to give way has before another is.
const AGAIN: Duration = Duration::from_millis(100);
/// How long a connection must have been idle to be asked: the first request of a newcomer may be on its way, and so may the
/// next of a client that is at work.
const LEAST_IDLE_MS: u64 = 1_000;
/// In place of how long a connection has been idle: it has a request, or is being closed.
const BUSY: u64 = 0;

/// All there may be.
pub(crate) struct Slots {
    free: Arc<Semaphore>,
    taken: Mutex<Taken>,
    began: Instant,
}

#[derive(Default)]
struct Taken {
    by: HashMap<u64, Arc<Connection>>,
    next: u64,
}

/// What is known of one connection.
struct Connection {
    /// Since when it is idle, in milliseconds after the server's begin and one; or [`BUSY`].
    idle_since: AtomicU64,
    leave: CancellationToken,
}

impl Slots {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(most)),
            taken: Mutex::default(),
            began: Instant::now(),
        })
    }

    /// A place for one more connection, which is to be closed once `drain` is cancelled or it has to give way. Waits while
    /// each of the others has a request, or had one a moment ago.
    pub(crate) async fn take(self: &Arc<Self>, drain: &CancellationToken) -> Slot {
        loop {
            if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
                return self.slot(permit, drain.child_token());
            }
            self.close_idle(self.now());
            let freed = Arc::clone(&self.free).acquire_owned();
            if let Ok(Ok(permit)) = tokio::time::timeout(AGAIN, freed).await {
                return self.slot(permit, drain.child_token());
            }
        }
    }

    fn slot(self: &Arc<Self>, permit: OwnedSemaphorePermit, leave: CancellationToken) -> Slot {
        let connection = Arc::new(Connection {
            idle_since: AtomicU64::new(self.now()),
            leave,
        });
        let mut taken = self.taken();
        let number = taken.next;
        taken.next += 1;
        taken.by.insert(number, Arc::clone(&connection));
        drop(taken);
        Slot {
            slots: Arc::clone(self),
            number,
            connection,
            _permit: permit,
        }
    }

    /// Asks the one that has been idle longest to close, if it has been for [`LEAST_IDLE_MS`] by `now`.
    fn close_idle(&self, now: u64) {
        let taken = self.taken();
        let idle = taken.by.values().filter_map(|connection| {
            let since = connection.idle_since.load(Ordering::Relaxed);
            (since != BUSY && now.saturating_sub(since) >= LEAST_IDLE_MS)
                .then_some((since, connection))
        });
        if let Some((_, longest)) = idle.min_by_key(|(since, _)| *since) {
            longest.idle_since.store(BUSY, Ordering::Relaxed);
            longest.leave.cancel();
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).map_or(u64::MAX, |ms| ms.saturating_add(1))
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Nothing in here panics halfway through a change.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection, until it is dropped.
pub(crate) struct Slot {
    slots: Arc<Slots>,
    number: u64,
    connection: Arc<Connection>,
    _permit: OwnedSemaphorePermit,
}

impl Slot {
    /// A request has begun.
    pub(crate) fn busy(&self) {
        self.connection.idle_since.store(BUSY, Ordering::Relaxed);
    }

    /// It has its answer.
    pub(crate) fn idle(&self) {
        let now = self.slots.now();
        self.connection.idle_since.store(now, Ordering::Relaxed);
    }

    /// Ends when the connection is to be closed.
    pub(crate) async fn leaves(&self) {
        self.connection.leave.cancelled().await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.taken().by.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn newcomers_do_not_throw_each_other_out_while_their_requests_are_on_their_way() {
        let (slots, drain) = (Slots::new(2), CancellationToken::new());
        let (busy, newcomer) = (slots.take(&drain).await, slots.take(&drain).await);
        busy.busy();
        let since = newcomer.connection.idle_since.load(Ordering::Relaxed);
        slots.close_idle(since + LEAST_IDLE_MS - 1);
        assert!(!newcomer.connection.leave.is_cancelled());
        slots.close_idle(since + LEAST_IDLE_MS);
        assert!(newcomer.connection.leave.is_cancelled());
        assert!(!busy.connection.leave.is_cancelled());
    }

    #[tokio::test]
    async fn the_connection_that_is_idle_longest_gives_way_and_none_that_has_a_request() {
        let (slots, drain) = (Slots::new(3), CancellationToken::new());
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(slots.take(&drain).await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        held[0].busy();
        held[1].busy();
        held[1].idle();
        // The third has been idle longer than the second by now.
        let given_way = {
            let third = held.remove(2);
            tokio::spawn(async move { third.leaves().await })
        };
        let fourth = slots.take(&drain).await;
        given_way.await.unwrap();
        held[1].busy();
        fourth.busy();
        let waits = tokio::time::timeout(2 * AGAIN, slots.take(&drain));
        assert!(waits.await.is_err(), "all have a request");
        held[1].idle();
        let fifth = tokio::time::timeout(Duration::from_secs(60), async {
            let second = held.remove(1);
            tokio::join!(slots.take(&drain), async move { second.leaves().await }).0
        });
        fifth.await.unwrap();
        assert!(!held[0].connection.leave.is_cancelled());
        drain.cancel();
        held[0].leaves().await;
    }
}
