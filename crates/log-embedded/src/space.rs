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
/// How often its bound the WAL may hold while somebody's reading keeps it from being emptied.
const WAL_MOST: u64 = 4;
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
            // These are judged by what the disk holds beside what they write.
            Purpose::Waiting | Purpose::Moving | Purpose::Pipeline => false,
        }
    }
}

/// What of the disk is kept from this, beside what new work is kept from: without it, what finishes records and so makes
/// room could not be written.
fn kept_from(purpose: Purpose, reserve: u64) -> u64 {
    match purpose {
        Purpose::Waiting => reserve / 4,
        Purpose::Moving => reserve / 8,
        Purpose::Intake | Purpose::Spreading | Purpose::Pipeline => 0,
    }
}

/// What so many bytes of records may take, with the pages that they fill in part.
fn cost(bytes: u64) -> u64 {
    bytes + bytes / 64 + 4 * u64::from(PAGE_BYTES)
}

/// Watches the free space: on the disk, and within what the log may use.
pub(crate) struct Space<'c> {
    dir: PathBuf,
    file: PathBuf,
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
    /// On the disk beside a WAL of its full size, with free pages within the log.
    on_disk: u64,
    /// Of what the log may use.
    allowed: u64,
    /// On the disk beside the smallest WAL, without free pages within the log.
    beside_wal: u64,
}

impl Left {
    fn least(self) -> u64 {
        self.on_disk.min(self.allowed)
    }

    /// Whether so many bytes of records can be written and leave `kept`. They lie in the WAL first, which no free page helps.
    fn holds(self, bytes: u64, kept: u64) -> bool {
        let cost = cost(bytes);
        self.beside_wal >= cost && self.on_disk >= kept + cost
    }
}

/// How large the WAL may grow, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WalBounds {
    /// Where it is emptied.
    pub(crate) bound: u64,
    /// Where it is waited for whoever keeps it from that; `bound` or more.
    pub(crate) limit: u64,
}

impl<'c> Space<'c> {
    /// For the log of these options, whose files are these.
    pub(crate) fn new(
        connection: &'c Connection,
        options: &Options,
        file: &Path,
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
            file: file.to_owned(),
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

    /// Whether the disk has room for so many bytes of this, and keeps what it is to keep from it.
    pub(crate) fn holds(&self, purpose: Purpose, bytes: u64) -> bool {
        self.left.holds(bytes, kept_from(purpose, self.reserve))
    }

    /// How large the WAL may grow at present: half of what the disk has for it and the log's own growth, if that is less.
    pub(crate) fn wal_bounds(&self) -> WalBounds {
        let half = (self.left.beside_wal / 2).max(LEAST_WAL_BYTES);
        WalBounds {
            bound: self.wal_bytes.min(half),
            limit: self.wal_bytes.saturating_mul(WAL_MOST).min(half),
        }
    }

    /// What new work may still fill until it is refused, as it was when it was last asked for.
    pub(crate) fn for_new(&self) -> u64 {
        self.left.least().saturating_sub(self.reserve)
    }

    /// What new work may fill at most; 0 if only the disk bounds it.
    pub(crate) fn bound(&self) -> u64 {
        self.max.map_or(0, |max| max.saturating_sub(self.reserve))
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
        let len = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
        let wal = len(&self.wal);
        // What so far lies in the WAL alone is still to be moved: a checkpoint that finds no room for it never ends, and
        // the WAL never begins anew.
        let on_disk = on_disk.saturating_sub(used.saturating_sub(len(&self.file)));
        let beside_wal = on_disk.saturating_add(wal);
        self.left = Left {
            // Whatever is written lies in the WAL first: free pages are of use only while that can grow.
            on_disk: match beside_wal >= LEAST_WAL_BYTES {
                true => beside_wal
                    .saturating_sub(self.wal_bytes.max(wal))
                    .saturating_add(free),
                false => 0,
            },
            allowed,
            beside_wal: beside_wal.saturating_sub(LEAST_WAL_BYTES),
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
