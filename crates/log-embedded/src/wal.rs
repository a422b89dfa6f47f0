//! Keeps the WAL within its bound.

use std::cell::Cell;
use std::fs::File;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::checkpoint::Whole;
use crate::schema::FRAME_BYTES;
use crate::shared::Shared;

/// What the WAL begins with.
const HEADER_BYTES: u64 = 32;
/// A WAL of fewer bytes is not worth emptying where space is short, nor one that was emptied a moment ago.
const WORTH_BYTES: u64 = 32 * FRAME_BYTES;
const AGAIN: Duration = Duration::from_secs(1);

thread_local! {
    /// Pages in the WAL after the last commit of this thread's connection: SQLite tells a plain function only.
    static PAGES: Cell<u64> = const { Cell::new(0) };
}

/// What the writer knows of the WAL.
pub(crate) struct Wal {
    bound: u64,
    /// What it held when a passive checkpoint was last asked for, in bytes.
    asked_at: u64,
    /// When it was last emptied for want of space.
    given_back: Option<Instant>,
}

impl Wal {
    /// On the writer's thread.
    pub(crate) fn new(connection: &Connection, bound: u64) -> Self {
        connection.wal_hook(Some(|_, pages| {
            PAGES.set(u64::try_from(pages).unwrap_or(0));
            Ok(())
        }));
        Self {
            bound,
            asked_at: 0,
            given_back: None,
        }
    }

    /// Passive checkpoints run beside the writer, an eighth of the bound each: a larger one would keep the disk from the
    /// fsyncs that appends wait for. Under steady writing they never reach the end, so at the bound the writer waits
    /// here, between two commits, while the last eighth is moved and the WAL begins anew.
    ///
    /// The bound is `most` where that is less: a full disk has no room for more.
    pub(crate) fn bound(&mut self, shared: &Shared, most: u64) {
        let bound = self.bound.min(most);
        let held = PAGES.get() * FRAME_BYTES;
        if held < self.asked_at {
            self.asked_at = 0;
        }
        if held >= bound {
            let began = Instant::now();
            shared.checkpoints.finish(Whole::Restart);
            shared
                .metrics
                .stall_seconds
                .observe_duration(began.elapsed());
            self.asked_at = 0;
        } else if held >= self.asked_at + bound / 8 {
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

    /// There is too little space: gives back to the disk what the WAL's file holds, if that is worth it. The caller writes
    /// nothing meanwhile. True if there may be more space now.
    pub(crate) fn give_back(&mut self, shared: &Shared) -> bool {
        let held = std::fs::metadata(&shared.wal).map_or(0, |file| file.len());
        let lately = self.given_back.is_some_and(|at| at.elapsed() < AGAIN);
        if held < WORTH_BYTES || lately {
            return false;
        }
        self.given_back = Some(Instant::now());
        shared.checkpoints.finish(Whole::Truncate);
        self.asked_at = 0;
        true
    }

    /// A write found the disk full: gives back what it had added to the WAL's file by then. Nobody reads behind the last commit,
    /// and a checkpoint may need the room.
    pub(crate) fn cut_back(&self, shared: &Shared) {
        let held = HEADER_BYTES + PAGES.get() * FRAME_BYTES;
        let cut = File::options()
            .write(true)
            .open(&shared.wal)
            .and_then(|file| {
                let longer = file.metadata()?.len() > held;
                if longer { file.set_len(held) } else { Ok(()) }
            });
        if let Err(error) = cut {
            tracing::warn!(%error, file = %shared.wal.display(), "what a failed write left behind stays");
        }
    }

    fn ask(&mut self, shared: &Shared, held: u64) {
        shared.checkpoints.begin();
        self.asked_at = held;
    }
}
