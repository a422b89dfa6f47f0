//! How much may still be written.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Statement};

use crate::schema::PAGE_BYTES;

/// Bytes after which the free space is asked for again.
const STRIDE_BYTES: u64 = 1 << 20;
/// Time after which it is asked for again.
const STRIDE: Duration = Duration::from_secs(1);

/// Watches the free space: on the disk, and within what the log may use.
pub(crate) struct Space<'c> {
    dir: PathBuf,
    reserve: u64,
    /// Pages that the file may have.
    max_pages: Option<u64>,
    count: Statement<'c>,
    free: Statement<'c>,
    left: u64,
    stride: u64,
    written: u64,
    asked: Instant,
}

impl<'c> Space<'c> {
    pub(crate) fn new(
        connection: &'c Connection,
        dir: &Path,
        reserve: u64,
        max_bytes: Option<u64>,
    ) -> rusqlite::Result<Self> {
        let max_pages = max_bytes.map(|max| max / u64::from(PAGE_BYTES));
        if let Some(pages) = max_pages {
            // SQLite itself keeps the bound; an existing larger file keeps its size.
            connection.pragma_update_and_check(None, "max_page_count", pages as i64, |_| Ok(()))?;
        }
        let mut space = Self {
            dir: dir.to_owned(),
            reserve,
            max_pages,
            count: connection.prepare("PRAGMA page_count")?,
            free: connection.prepare("PRAGMA freelist_count")?,
            left: 0,
            stride: STRIDE_BYTES.min(reserve / 8),
            written: 0,
            asked: Instant::now(),
        };
        space.ask()?;
        Ok(space)
    }

    /// True if there is less than the reserve, after `bytes` more were written.
    pub(crate) fn is_low(&mut self, bytes: u64) -> rusqlite::Result<bool> {
        self.written += bytes;
        let low = self.left < self.reserve;
        if low || self.written >= self.stride || self.asked.elapsed() >= STRIDE {
            self.ask()?;
        }
        Ok(self.left < self.reserve)
    }

    /// What is left, in bytes, when it was last asked for.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    fn ask(&mut self) -> rusqlite::Result<()> {
        let page = u64::from(PAGE_BYTES);
        let number = |statement: &mut Statement<'_>| {
            statement
                .query_row([], |row| row.get::<_, i64>(0))
                .map(|n| n as u64)
        };
        let free = number(&mut self.free)? * page;
        let used = number(&mut self.count)? * page;
        let allowed = self
            .max_pages
            .map_or(u64::MAX, |pages| (pages * page).saturating_sub(used));
        // A file system that does not tell is taken to have room: a full one is still an error when it comes.
        let on_disk =
            rustix::fs::statvfs(&self.dir).map_or(u64::MAX, |at| at.f_bavail * at.f_frsize);
        self.left = allowed.min(on_disk).saturating_add(free);
        self.written = 0;
        self.asked = Instant::now();
        Ok(())
    }
}
