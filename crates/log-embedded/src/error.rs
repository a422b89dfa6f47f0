//! Why the log could not be opened. Whoever gets one of these is starting up and must stop; the files are as they were.

use std::path::{Path, PathBuf};

/// What to do about a damaged file.
const REMEDY: &str = "Restore it, with its -wal file, from a backup; or move both away and make an empty file in its place, to \
     begin a new log, which loses what was not delivered yet";

/// Why the log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another log in this one, has the directory.
    #[error(
        "the data directory {} belongs to a running process{owner}: stop that one first, or choose another directory",
        dir.display()
    )]
    InUse {
        /// The data directory.
        dir: PathBuf,
        /// ` (process 4711)`, or empty if it is not known.
        owner: String,
    },
    /// The file was written by a later version.
    #[error(
        "{} has format {found}, but this version of postrider reads formats up to {known}: \
         run the version that wrote it, or a later one", file.display()
    )]
    Newer {
        /// The log's file.
        file: PathBuf,
        /// The format found in it.
        found: i32,
        /// The format that this version writes.
        known: i32,
    },
    /// The file is a database of some other program.
    #[error("{} is not a postrider log: move it away, or choose another data directory", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
    },
    /// The file is damaged.
    #[error(
        "{} is damaged ({detail}): nothing was changed in it. {REMEDY}", file.display()
    )]
    Corrupt {
        /// The log's file.
        file: PathBuf,
        /// What SQLite found.
        detail: String,
    },
    /// A file or folder could not be used.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// SQLite refused for another reason.
    #[error("cannot open {}: {source}", file.display())]
    Database {
        /// The log's file.
        file: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The limit on records was lowered below what lies in the log.
    #[error(
        "log.record allows records of {limit} bytes, and one of {size} bytes waits in topic {topic} of {}: set log.record \
         to {needed} or more, or let what waits be delivered before it is lowered", file.display()
    )]
    RecordLimit {
        /// The log's file.
        file: PathBuf,
        /// The topic of that record.
        topic: &'static str,
        /// Its size, in bytes.
        size: i64,
        /// The limit asked for, in bytes.
        limit: i64,
        /// The lowest limit under which every record can be moved on, in bytes.
        needed: i64,
    },
    /// The options contradict each other.
    #[error("the log's options: {0}")]
    Options(String),
}

impl OpenError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn database(file: &Path) -> impl Fn(rusqlite::Error) -> Self + use<> {
        let file = file.to_owned();
        move |source| {
            let file = file.clone();
            if is_damage(&source) {
                let detail = source.to_string();
                return Self::Corrupt { file, detail };
            }
            Self::Database { file, source }
        }
    }
}

/// True if the file does not hold what was written to it.
fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(
        error.sqlite_error_code(),
        Some(NotADatabase | DatabaseCorrupt)
    )
}

/// Why a log that was open has stopped, and what to do where starting it again does not help.
pub(crate) fn stopped(
    doing: &str,
    file: &Path,
    error: &(dyn std::error::Error + 'static),
) -> String {
    let what = format!("{doing} {} failed: {error}", file.display());
    match error.downcast_ref() {
        Some(error) if is_damage(error) => {
            format!("{what}: the file is damaged, and starting again does not help. {REMEDY}")
        }
        _ => what,
    }
}

/// True if a write failed for want of space, which passes: nothing was written, and nothing is broken.
pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    /// SQLite could not enlarge the WAL's index, a file beside the database.
    const IOERR_SHMSIZE: i32 = 10 | (19 << 8);
    let extended = error.sqlite_error().map(|error| error.extended_code);
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
        || extended == Some(IOERR_SHMSIZE)
}
