//! Keeps the WAL within its bound.

use std::cell::Cell;
use std::time::Instant;

use rusqlite::Connection;

use crate::schema::FRAME_BYTES;
use crate::shared::Shared;

thread_local! {
    /// Pages in the WAL after the last commit of this thread's connection: SQLite tells a plain function only.
    static PAGES: Cell<u64> = const { Cell::new(0) };
}

/// What the writer knows of the WAL.
pub(crate) struct Wal {
    bound: u64,
    /// What it held when a passive checkpoint was last asked for, in bytes.
    asked_at: u64,
}

impl Wal {
    /// On the writer's thread.
    pub(crate) fn new(connection: &Connection, bound: u64) -> Self {
        connection.wal_hook(Some(|_, pages| {
            PAGES.set(u64::try_from(pages).unwrap_or(0));
            Ok(())
        }));
        Self { bound, asked_at: 0 }
    }

    /// Passive checkpoints run beside the writer, an eighth of the bound each: a larger one would keep the disk from the
    /// fsyncs that appends wait for. Under steady writing they never reach the end, so at the bound the writer waits
    /// here, between two commits, while the last eighth is moved and the WAL begins anew.
    pub(crate) fn bound(&mut self, shared: &Shared) {
        let held = PAGES.get() * FRAME_BYTES;
        if held < self.asked_at {
            self.asked_at = 0;
        }
        if held >= self.bound {
            let began = Instant::now();
            shared.checkpoints.finish();
            shared
                .metrics
                .stall_seconds
                .observe_duration(began.elapsed());
            self.asked_at = 0;
        } else if held >= self.asked_at + self.bound / 8 {
            self.ask(shared, held);
        }
        shared.metrics.wal.set(held as i64);
    }

    /// Nothing is written: what is there can be moved without holding anybody up. Not for a little, since each
    /// checkpoint costs two fsyncs.
    pub(crate) fn idle(&mut self, shared: &Shared) {
        let held = PAGES.get() * FRAME_BYTES;
        if held >= self.asked_at + self.bound / 16 {
            self.ask(shared, held);
        }
    }

    fn ask(&mut self, shared: &Shared, held: u64) {
        shared.checkpoints.begin();
        self.asked_at = held;
    }
}
