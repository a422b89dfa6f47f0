//! Keeps the WAL within its bound.

use std::cell::Cell;
use std::fs::File;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::checkpoint::{Moved, Whole};
use crate::schema::FRAME_BYTES;
use crate::shared::Shared;
use crate::space::WalBounds;

/// What the WAL begins with.
const HEADER_BYTES: u64 = 32;
/// A WAL of fewer bytes is not worth emptying where space is short, nor one that was emptied a moment ago.
const WORTH_BYTES: u64 = 32 * FRAME_BYTES;
const AGAIN: Duration = Duration::from_secs(1);
/// How long each commit waits at the WAL's limit for whoever reads from it.
const PATIENCE: Duration = Duration::from_secs(2);

thread_local! {
    /// Pages in the WAL after the last commit of this thread's connection: SQLite tells a plain function only.
    static PAGES: Cell<u64> = const { Cell::new(0) };
}

/// What the writer knows of the WAL.
pub(crate) struct Wal {
    bound: u64,
    /// What it held when a passive checkpoint was last asked for, in bytes.
    asked_at: u64,
    /// Somebody reads from it: what it is to hold before it is tried again to empty it, in bytes. 0 if nobody does.
    again_at: u64,
    /// That was told.
    told: bool,
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
            again_at: 0,
            told: false,
            given_back: None,
        }
    }

    /// Passive checkpoints run beside the writer, an eighth of the bound each: a larger one would keep the disk from the
    /// fsyncs that appends wait for. Under steady writing they never reach the end, so at the bound the writer waits
    /// here, between two commits, while the last eighth is moved and the WAL begins anew.
    ///
    /// That cannot be while somebody reads from it, a backup or a shell as well as one of the log's own readers. It then
    /// grows by an eighth of its bound before the writer tries again, so that commits do not wait for readers that do not
    /// end; only at the limit does each.
    pub(crate) fn bound(&mut self, shared: &Shared, WalBounds { bound, limit }: WalBounds) {
        let held = PAGES.get() * FRAME_BYTES;
        if held < self.asked_at {
            self.asked_at = 0;
        }
        if held >= bound.max(self.again_at.min(limit)) {
            let began = Instant::now();
            let mut moved = self.begin_anew(shared, held > bound + bound / 8);
            while moved == Moved::Blocked && held >= limit && began.elapsed() < PATIENCE {
                moved = self.begin_anew(shared, true);
            }
            let stalled = began.elapsed();
            shared.metrics.stall_seconds.observe_duration(stalled);
            match moved {
                Moved::Blocked => self.blocked(shared, held, bound),
                Moved::All | Moved::Full => (self.again_at, self.told) = (0, false),
            }
            self.asked_at = 0;
        } else if held >= self.asked_at + bound / 8 {
            self.ask(shared, held);
        }
        shared.metrics.wal.set(held as i64);
    }

    /// What it grew beyond its bound goes back to the disk.
    fn begin_anew(&self, shared: &Shared, has_grown: bool) -> Moved {
        shared.checkpoints.finish(match has_grown {
            true => Whole::Truncate,
            false => Whole::Restart,
        })
    }

    fn blocked(&mut self, shared: &Shared, held: u64, bound: u64) {
        shared.metrics.blocked.inc();
        self.again_at = held + bound / 8;
        // One of the log's own readers has gone long before.
        if held >= 2 * bound && !self.told {
            self.told = true;
            tracing::warn!(
                file = %shared.file.display(),
                wal_bytes = held,
                "somebody has been reading the log's file for long, a backup or a shell perhaps: its WAL cannot be emptied \
                 and grows, and at four times its bound commits wait for them"
            );
        }
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
