//! Makes commits durable: the thread that fsyncs the WAL, beside the writer, which never waits for it.

use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use postrider_failpoint::thread_fail_point;
use postrider_log::LogError;
use tokio::sync::{Notify, oneshot};

use crate::queue::Places;
use crate::shared::Shared;

/// How long an Ordered commit may stay unsynced (a crash of the machine loses what is younger).
const DIRTY_AT_MOST: Duration = Duration::from_secs(1);

/// Whom to tell that a commit is durable.
pub(crate) enum Waiter {
    Append(oneshot::Sender<Result<Places, LogError>>, Places),
    Sync(oneshot::Sender<Result<(), LogError>>),
}

impl Waiter {
    fn tell(self, outcome: Result<(), LogError>) {
        // Whoever asked may have gone.
        match self {
            Self::Append(reply, places) => drop(reply.send(outcome.map(|()| places))),
            Self::Sync(reply) => drop(reply.send(outcome)),
        }
    }
}

#[derive(Default)]
struct Inner {
    /// The newest commit.
    committed: u64,
    /// The newest commit that an fsync which began after it has covered.
    synced: u64,
    /// The newest commit that somebody waits for.
    wanted: u64,
    waiting: Vec<(u64, Waiter)>,
    closed: bool,
    stopped: Option<String>,
}

/// Which commits are durable, and who waits for that.
#[derive(Default)]
pub(crate) struct Syncs {
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Syncs {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics halfway through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer has made this commit, and these wait until it is durable.
    pub(crate) fn committed(&self, commit: u64, waiters: impl IntoIterator<Item = Waiter>) {
        let mut inner = self.inner();
        if let Some(reason) = inner.stopped.clone() {
            drop(inner);
            let stopped = || Err(LogError::Stopped(reason.clone()));
            return waiters
                .into_iter()
                .for_each(|waiter| waiter.tell(stopped()));
        }
        let clean = inner.committed == inner.synced;
        inner.committed = commit;
        let before = inner.waiting.len();
        inner
            .waiting
            .extend(waiters.into_iter().map(|waiter| (commit, waiter)));
        let waits = inner.waiting.len() > before;
        if waits {
            inner.wanted = commit;
        }
        drop(inner);
        // The first Ordered commit starts the clock of `DIRTY_AT_MOST`.
        if waits || clean {
            self.changed.notify_one();
        }
    }

    /// Waits until everything committed so far is durable.
    pub(crate) async fn sync(&self) -> Result<(), LogError> {
        let (tell, told) = oneshot::channel();
        {
            let mut inner = self.inner();
            if let Some(reason) = &inner.stopped {
                return Err(LogError::Stopped(reason.clone()));
            }
            if inner.synced == inner.committed {
                return Ok(());
            }
            let commit = inner.committed;
            inner.wanted = commit;
            inner.waiting.push((commit, Waiter::Sync(tell)));
        }
        self.changed.notify_one();
        let closed = |_| Err(LogError::Stopped("it was closed".to_owned()));
        told.await.unwrap_or_else(closed)
    }

    /// Syncs once more, then ends.
    pub(crate) fn close(&self) {
        self.inner().closed = true;
        self.changed.notify_all();
    }

    pub(crate) fn stop(&self, reason: &str) {
        let waiting = {
            let mut inner = self.inner();
            inner.closed = true;
            inner.stopped.get_or_insert_with(|| reason.to_owned());
            std::mem::take(&mut inner.waiting)
        };
        self.changed.notify_all();
        for (_, waiter) in waiting {
            waiter.tell(Err(LogError::Stopped(reason.to_owned())));
        }
    }

    /// Waits until an fsync is due; the commit that it will cover, or none if the log ends.
    fn next(&self) -> Option<u64> {
        let mut inner = self.inner();
        let mut dirty_since = None;
        loop {
            if inner.stopped.is_some() {
                return None;
            }
            if inner.synced == inner.committed {
                if inner.closed {
                    return None;
                }
                dirty_since = None;
                inner = self
                    .changed
                    .wait(inner)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let since = *dirty_since.get_or_insert_with(Instant::now);
            let left = DIRTY_AT_MOST.saturating_sub(since.elapsed());
            if inner.wanted > inner.synced || inner.closed || left.is_zero() {
                return Some(inner.committed);
            }
            let waited = self.changed.wait_timeout(inner, left);
            (inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn synced(&self, commit: u64) -> Vec<Waiter> {
        let mut inner = self.inner();
        inner.synced = commit;
        // In order of commits.
        let covered = inner.waiting.partition_point(|(needs, _)| *needs <= commit);
        inner
            .waiting
            .drain(..covered)
            .map(|(_, waiter)| waiter)
            .collect()
    }
}

/// The thread. `wal` stays open as long as it runs; SQLite keeps the file while the writer's connection is open.
pub(crate) fn run(shared: &Arc<Shared>, wal: &File) {
    let mut wake: Vec<Arc<Notify>> = Vec::new();
    while let Some(commit) = shared.syncs.next() {
        let began = Instant::now();
        thread_fail_point!("embedded.sync.before");
        if let Err(error) = wal.sync_data() {
            // What the kernel could not write it has dropped: a second fsync would succeed without it.
            return shared.fail("an fsync of", &error);
        }
        shared
            .metrics
            .fsync_seconds
            .observe_duration(began.elapsed());
        thread_fail_point!("embedded.sync.after");
        let covered = shared.syncs.synced(commit);
        // Seen by readers first, so that whoever is told finds it there.
        shared.state().synced(commit, &mut wake);
        wake.drain(..).for_each(|reader| reader.notify_one());
        covered.into_iter().for_each(|waiter| waiter.tell(Ok(())));
    }
}
