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

/// What came of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moved {
    /// Everything that it was to move.
    All,
    /// Somebody reads from the WAL, so it cannot begin anew.
    Blocked,
    /// The disk has no room for what is in the WAL.
    Full,
}

struct Inner {
    wanted: Wanted,
    /// Whole checkpoints that were tried.
    wholes: u64,
    /// What came of the last one.
    moved: Moved,
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
            moved: Moved::All,
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

    /// Waits until all of the WAL is in the database, or somebody has kept it from that for a moment; the caller writes
    /// nothing meanwhile.
    pub(crate) fn finish(&self, whole: Whole) -> Moved {
        let mut inner = self.inner();
        inner.wanted = Wanted::Whole(whole);
        self.changed.notify_all();
        let before = inner.wholes;
        let waits = |inner: &mut Inner| inner.wholes == before && !inner.closed;
        let waited = self.changed.wait_while(inner, waits);
        waited.unwrap_or_else(PoisonError::into_inner).moved
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

    fn tried_whole(&self, moved: Moved) {
        let mut inner = self.inner();
        inner.wholes += 1;
        inner.moved = moved;
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
        let checkpoint = format!("PRAGMA wal_checkpoint({mode})");
        // SQLite does not call it an error if a reader keeps a whole one from being complete.
        let moved = match connection.query_row(&checkpoint, [], |row| row.get::<_, bool>(0)) {
            Ok(false) => Moved::All,
            Ok(true) => Moved::Blocked,
            // What cannot be moved stays in the WAL, where it is safe.
            Err(error) if is_full(&error) => {
                // The writer finds the disk full, too, and says so once.
                tracing::debug!(file = %shared.file.display(), "the disk is too full for a checkpoint of the log");
                Moved::Full
            }
            Err(error) => return shared.fail("a checkpoint of", &error),
        };
        thread_fail_point!("embedded.checkpoint.after");
        if matches!(wanted, Wanted::Whole(_)) {
            shared.checkpoints.tried_whole(moved);
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
