//! What waits for the writer, bounded in bytes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postrider_log::{
    Committed, Durability, Group, LogError, NewRecord, Position, Purpose, TopicPartition,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Where each record went.
pub(crate) type Places = Vec<(TopicPartition, Position)>;

/// A group's progress in one topic, by their numbers.
pub(crate) struct Finished {
    pub(crate) topic: usize,
    pub(crate) group: usize,
    pub(crate) name: Group,
    pub(crate) committed: Committed,
}

/// What is to be written together.
pub(crate) struct Request {
    pub(crate) records: Vec<NewRecord>,
    pub(crate) finished: Vec<Finished>,
    pub(crate) durability: Durability,
    pub(crate) purpose: Purpose,
    pub(crate) reply: oneshot::Sender<Result<Places, LogError>>,
}

struct Queued {
    request: Request,
    bytes: usize,
    /// Its share of the queue, given back when the writer has dealt with it.
    room: OwnedSemaphorePermit,
}

/// What the writer takes at once.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) requests: Vec<Request>,
    /// Of all records.
    pub(crate) bytes: usize,
    _room: Vec<OwnedSemaphorePermit>,
}

/// What [`Queue::take`] found.
pub(crate) enum Taken {
    Batch(Batch),
    /// Nothing came in time.
    Idle,
    /// Nothing will come any more.
    Closed,
}

struct Inner {
    queued: std::collections::VecDeque<Queued>,
    closed: bool,
}

/// What waits for the writer.
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    filled: Condvar,
    room: Arc<Semaphore>,
    bytes: usize,
    /// Bytes of those who wait for room.
    outside: AtomicUsize,
}

/// Beyond this one commit takes no further request: it bounds the time for which others wait, and the writer's cache.
const BATCH_BYTES: usize = 2 << 20;
const BATCH_REQUESTS: usize = 4096;
/// What a request takes beside its records, so that their number is bounded, too.
const REQUEST_OVERHEAD: usize = 256;

/// Counts a caller outside while it waits, and no longer if it gives up.
struct Outside<'a>(&'a AtomicUsize, usize);

impl Drop for Outside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

impl Queue {
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            inner: Mutex::new(Inner {
                queued: std::collections::VecDeque::new(),
                closed: false,
            }),
            filled: Condvar::new(),
            room: Arc::new(Semaphore::new(bytes)),
            bytes,
            outside: AtomicUsize::new(0),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics halfway through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room, then queues the request.
    pub(crate) async fn send(&self, request: Request, bytes: usize) -> Result<(), LogError> {
        let closed = || LogError::Stopped("it was closed".to_owned());
        // A request larger than the queue takes all of it.
        let share = (bytes + REQUEST_OVERHEAD).min(self.bytes);
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        let room = match Arc::clone(&self.room).try_acquire_many_owned(share) {
            Ok(room) => room,
            Err(_) => {
                let waiting = self.outside.fetch_add(bytes, Ordering::Relaxed);
                let _outside = Outside(&self.outside, bytes);
                if waiting > 4 * self.bytes {
                    return Err(LogError::Busy(format!(
                        "{waiting} bytes wait to be written"
                    )));
                }
                let acquired = Arc::clone(&self.room).acquire_many_owned(share).await;
                acquired.map_err(|_| closed())?
            }
        };
        let mut inner = self.inner();
        if inner.closed {
            return Err(closed());
        }
        let wake = inner.queued.is_empty();
        inner.queued.push_back(Queued {
            request,
            bytes,
            room,
        });
        drop(inner);
        if wake {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Takes everything that waits, up to the bounds of one commit; waits for something at most so long.
    pub(crate) fn take(&self, within: Duration) -> Taken {
        let inner = self.inner();
        let empty = |inner: &mut Inner| inner.queued.is_empty() && !inner.closed;
        let waited = self.filled.wait_timeout_while(inner, within, empty);
        let (mut inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if inner.queued.is_empty() {
            return if inner.closed {
                Taken::Closed
            } else {
                Taken::Idle
            };
        }
        let mut batch = Batch::default();
        while let Some(next) = inner.queued.front() {
            let full =
                batch.bytes + next.bytes > BATCH_BYTES || batch.requests.len() >= BATCH_REQUESTS;
            if full && !batch.requests.is_empty() {
                break;
            }
            let Some(queued) = inner.queued.pop_front() else {
                break;
            };
            batch.bytes += queued.bytes;
            batch.requests.push(queued.request);
            batch._room.push(queued.room);
        }
        Taken::Batch(batch)
    }

    /// True if nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.inner().queued.is_empty()
    }

    /// Takes no more. What waits is still written.
    pub(crate) fn close(&self) {
        self.inner().closed = true;
        self.room.close();
        self.filled.notify_all();
    }

    /// Takes no more, and returns what waits.
    pub(crate) fn abandon(&self) -> Vec<Request> {
        self.close();
        let queued = std::mem::take(&mut self.inner().queued);
        queued.into_iter().map(|queued| queued.request).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        let (reply, _) = oneshot::channel();
        Request {
            records: Vec::new(),
            finished: Vec::new(),
            durability: Durability::Ordered,
            purpose: Purpose::Pipeline,
            reply,
        }
    }

    fn take(queue: &Queue) -> Batch {
        match queue.take(Duration::from_secs(60)) {
            Taken::Batch(batch) => batch,
            Taken::Idle | Taken::Closed => panic!("a batch was due"),
        }
    }

    #[tokio::test]
    async fn callers_wait_when_the_queue_is_full_and_are_refused_when_too_many_do() {
        let queue = Arc::new(Queue::new(10_000));
        queue.send(request(), 10_000).await.unwrap();
        let waiting: Vec<_> = (0..5)
            .map(|_| {
                let queue = Arc::clone(&queue);
                tokio::spawn(async move { queue.send(request(), 9_000).await })
            })
            .collect();
        while queue.outside.load(Ordering::Relaxed) < 45_000 {
            tokio::task::yield_now().await;
        }
        let refused = queue.send(request(), 9_000).await;
        assert!(matches!(refused, Err(LogError::Busy(_))), "{refused:?}");
        assert_eq!(queue.outside.load(Ordering::Relaxed), 45_000);
        for sent in waiting {
            // Room comes when the writer has dealt with what it took.
            drop(take(&queue));
            sent.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_caller_that_gives_up_waits_no_longer() {
        let queue = Arc::new(Queue::new(1000));
        queue.send(request(), 1000).await.unwrap();
        let waiting = queue.send(request(), 1000);
        assert!(
            tokio::time::timeout(Duration::from_millis(1), waiting)
                .await
                .is_err()
        );
        assert_eq!(queue.outside.load(Ordering::Relaxed), 0);
        assert_eq!(take(&queue).requests.len(), 1);
        assert!(queue.is_empty());
    }

    #[tokio::test]
    async fn what_waits_when_the_queue_is_closed_is_still_written() {
        let queue = Queue::new(1000);
        queue.send(request(), 10).await.unwrap();
        queue.close();
        assert!(matches!(
            queue.send(request(), 10).await,
            Err(LogError::Stopped(_))
        ));
        assert_eq!(take(&queue).requests.len(), 1);
        assert!(matches!(queue.take(Duration::ZERO), Taken::Closed));
    }
}
