//! Moves the WAL's pages into the database, on a thread of its own: inside the writer it would stall every commit.

use std::fs::File;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use postrider_failpoint::thread_fail_point;
use rusqlite::Connection;

use crate::error::is_full;
use crate::shared::Shared;

/// How much is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    Nothing,
    /// What is there, beside the writer. Under steady writing this never reaches the WAL's end.
    Passive,
    /// All of it, while the writer waits.
    Whole(Whole),
}

/// What becomes of a WAL that is in the database as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Whole {
    /// It begins anew in its file.
    Restart,
    /// Its file is emptied, too: the disk has the space.
    Truncate,
}

struct Inner {
    wanted: Wanted,
    /// Whole checkpoints done.
    wholes: u64,
    closed: bool,
}

/// What the writer wants of the checkpointer.
pub(crate) struct Checkpoints {
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Default for Checkpoints {
    fn default() -> Self {
        let inner = Inner {
            wanted: Wanted::Nothing,
            wholes: 0,
            closed: false,
        };
        Self {
            inner: Mutex::new(inner),
            changed: Condvar::new(),
        }
    }
}

impl Checkpoints {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics halfway through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for what can be done beside the writer.
    pub(crate) fn begin(&self) {
        let mut inner = self.inner();
        inner.wanted = inner.wanted.max(Wanted::Passive);
        self.changed.notify_all();
    }

    /// Waits until all of the WAL is in the database; the caller writes nothing meanwhile.
    pub(crate) fn finish(&self, whole: Whole) {
        let mut inner = self.inner();
        inner.wanted = Wanted::Whole(whole);
        self.changed.notify_all();
        let before = inner.wholes;
        let waits = |inner: &mut Inner| inner.wholes == before && !inner.closed;
        drop(self.changed.wait_while(inner, waits));
    }

    pub(crate) fn close(&self) {
        self.inner().closed = true;
        self.changed.notify_all();
    }

    fn next(&self) -> Option<Wanted> {
        let inner = self.inner();
        let waits = |inner: &mut Inner| inner.wanted == Wanted::Nothing && !inner.closed;
        let waited = self.changed.wait_while(inner, waits);
        let mut inner = waited.unwrap_or_else(PoisonError::into_inner);
        (!inner.closed).then(|| std::mem::replace(&mut inner.wanted, Wanted::Nothing))
    }

    fn finished_whole(&self) {
        self.inner().wholes += 1;
        self.changed.notify_all();
    }
}

/// The thread. `file` is the database: what a passive checkpoint has moved is made durable at once, so that the writer
/// does not wait for all of it at the next whole one. (SQLite itself syncs only where it has reached the WAL's end.)
pub(crate) fn run(shared: &Shared, connection: &Connection, file: &File) {
    while let Some(wanted) = shared.checkpoints.next() {
        let mode = match wanted {
            Wanted::Nothing | Wanted::Passive => "PASSIVE",
            Wanted::Whole(Whole::Restart) => "RESTART",
            Wanted::Whole(Whole::Truncate) => "TRUNCATE",
        };
        thread_fail_point!("embedded.checkpoint.before");
        // A reader in the middle of a batch may keep a whole one from being complete; the writer asks again.
        match connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(())) {
            Ok(()) => {}
            // What cannot be moved stays in the WAL, where it is safe.
            Err(error) if is_full(&error) => {
                // The writer finds the disk full, too, and says so once.
                tracing::debug!(file = %shared.file.display(), "the disk is too full for a checkpoint of the log");
            }
            Err(error) => return shared.fail("a checkpoint of", &error),
        }
        thread_fail_point!("embedded.checkpoint.after");
        if matches!(wanted, Wanted::Whole(_)) {
            shared.checkpoints.finished_whole();
        } else if let Err(error) = file.sync_data()
            && error.kind() != std::io::ErrorKind::StorageFull
        {
            return shared.fail("syncing", &error);
        }
    }
}

/// The checkpointer's connection.
pub(crate) fn connect(file: &Path) -> rusqlite::Result<Connection> {
    crate::schema::open_checkpointing(file)
}
