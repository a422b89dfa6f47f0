//! How much may still be written.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use postrider_log::Purpose;
use rusqlite::{Connection, Statement};

use crate::Options;
use crate::schema::{FRAME_BYTES, PAGE_BYTES};

/// Bytes after which the free space is asked for again.
const STRIDE_BYTES: u64 = 1 << 20;
/// Time after which it is asked for again.
const STRIDE: Duration = Duration::from_secs(1);

/// What of a disk the reserve may be, and the WAL: on one that is smaller than the log was configured for, new work would
/// be refused for ever.
const RESERVE_SHARE: u64 = 4;
const WAL_SHARE: u64 = 8;
/// The smallest WAL.
const LEAST_WAL_BYTES: u64 = 64 * FRAME_BYTES;

/// How much room there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Room {
    /// For everything.
    Enough,
    /// For what was taken in already.
    Low,
    /// For what ends it.
    Scarce,
}

impl Room {
    /// With so many bytes left, where there was `before` room. New work begins again only `margin` above the mark at which it
    /// ended: it would end and begin with each delivery.
    fn of(left: u64, reserve: u64, margin: u64, before: Self) -> Self {
        let enough = match before {
            Self::Enough => reserve,
            Self::Low | Self::Scarce => reserve.saturating_add(margin),
        };
        if left >= enough {
            Self::Enough
        } else if left >= reserve / 2 {
            Self::Low
        } else {
            Self::Scarce
        }
    }

    /// Whether there is none for this.
    pub(crate) fn refuses(self, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Intake => self >= Self::Low,
            Purpose::Spreading => self >= Self::Scarce,
            Purpose::Pipeline => false,
        }
    }
}

/// Watches the free space: on the disk, and within what the log may use.
pub(crate) struct Space<'c> {
    dir: PathBuf,
    wal: PathBuf,
    /// How large the WAL may grow.
    wal_bytes: u64,
    reserve: u64,
    margin: u64,
    room: Room,
    /// What new work may fill, with the reserve. What finishes that may take more of the disk for a while: it is written
    /// beside what it stands for, and that goes only once everything before it is finished. Were this a bound of the file,
    /// a log full of what failed could never note it, and never be emptied.
    max: Option<u64>,
    count: Statement<'c>,
    free: Statement<'c>,
    left: Left,
    stride: u64,
    written: u64,
    asked: Instant,
}

/// What is left, in bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Left {
    /// On the disk.
    on_disk: u64,
    /// Of what the log may use.
    allowed: u64,
}

impl Left {
    fn least(self) -> u64 {
        self.on_disk.min(self.allowed)
    }
}

impl<'c> Space<'c> {
    /// For the log of these options, whose WAL is the file `wal`.
    pub(crate) fn new(
        connection: &'c Connection,
        options: &Options,
        wal: &Path,
    ) -> rusqlite::Result<Self> {
        let reserve = options
            .reserve_bytes
            .min(disk_bytes(&options.dir) / RESERVE_SHARE);
        let above = options
            .max_bytes
            .map_or(u64::MAX, |max| max.saturating_sub(reserve));
        let mut space = Self {
            dir: options.dir.clone(),
            wal: wal.to_owned(),
            wal_bytes: wal_bytes(options),
            reserve,
            margin: (reserve / 8).min(above / 2),
            room: Room::Enough,
            max: options.max_bytes,
            count: connection.prepare("PRAGMA page_count")?,
            free: connection.prepare("PRAGMA freelist_count")?,
            left: Left::default(),
            stride: STRIDE_BYTES.min(reserve / 8),
            written: 0,
            asked: Instant::now(),
        };
        space.ask()?;
        Ok(space)
    }

    /// How much room there is after `bytes` more were written.
    pub(crate) fn room(&mut self, bytes: u64) -> rusqlite::Result<Room> {
        self.written += bytes;
        if self.room != Room::Enough
            || self.written >= self.stride
            || self.asked.elapsed() >= STRIDE
        {
            self.ask()?;
        }
        self.room = Room::of(self.left.least(), self.reserve, self.margin, self.room);
        Ok(self.room)
    }

    /// What is left, as it was when it was last asked for, for people.
    pub(crate) fn words(&self) -> String {
        let least = self.left.least();
        let place = if self.left.on_disk <= self.left.allowed {
            format!("on the disk of {}", self.dir.display())
        } else {
            let max = self.max.unwrap_or(0);
            format!(
                "of the {max} that the log in {} may use",
                self.dir.display()
            )
        };
        format!(
            "{least} bytes are left {place}, and {} are kept to finish what was accepted",
            self.reserve
        )
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
        let held = used.saturating_sub(free);
        let allowed = self.max.map_or(u64::MAX, |max| max.saturating_sub(held));
        // A file system that does not tell is taken to have room: a full one is still an error when it comes.
        let on_disk =
            rustix::fs::statvfs(&self.dir).map_or(u64::MAX, |at| at.f_bavail * at.f_frsize);
        // Whatever is written lies in the WAL first: free pages are of use only as far as that can grow.
        let wal = std::fs::metadata(&self.wal).map_or(0, |file| file.len());
        let beside_wal = on_disk.checked_sub(self.wal_bytes.saturating_sub(wal));
        self.left = Left {
            on_disk: beside_wal.map_or(0, |bytes| bytes.saturating_add(free)),
            allowed,
        };
        self.written = 0;
        self.asked = Instant::now();
        Ok(())
    }
}

/// How large the WAL may grow: as configured, or what a small disk bears.
pub(crate) fn wal_bytes(options: &Options) -> u64 {
    let share = disk_bytes(&options.dir) / WAL_SHARE;
    options.wal_bytes.min(share.max(LEAST_WAL_BYTES))
}

/// How large the disk is; without end if it does not tell.
fn disk_bytes(dir: &Path) -> u64 {
    rustix::fs::statvfs(dir).map_or(u64::MAX, |at| at.f_blocks.saturating_mul(at.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(left: u64, before: Room) -> [bool; 3] {
        let room = Room::of(left, 100, 10, before);
        [Purpose::Intake, Purpose::Spreading, Purpose::Pipeline].map(|of| room.refuses(of))
    }

    #[test]
    fn new_work_ends_at_the_reserve_spreading_at_half_of_it_and_finishing_never() {
        assert_eq!(refused(100, Room::Enough), [false; 3]);
        assert_eq!(refused(99, Room::Enough), [true, false, false]);
        assert_eq!(refused(49, Room::Enough), [true, true, false]);
        assert_eq!(refused(0, Room::Enough), [true, true, false]);
    }

    #[test]
    fn new_work_begins_again_a_margin_above_the_reserve() {
        for before in [Room::Low, Room::Scarce] {
            assert_eq!(refused(109, before), [true, false, false]);
            assert_eq!(refused(110, before), [false; 3]);
        }
    }
}
