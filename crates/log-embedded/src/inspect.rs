//! Looking at a log without opening it: for an operator who asks what is wrong. Nothing is changed, and another process may
//! work on it meanwhile: that cannot empty its WAL while somebody reads from it, so what is in use is read in portions.

use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use postrider_log::{Position, TopicSpec};
use postrider_model::TopicPartition;
use rusqlite::{Connection, ErrorCode};

use crate::catalog::Catalog;
use crate::disk::{self, Fetched};
use crate::schema::{self, TopicSql};
use crate::{OpenError, Options, lock, sizes};

/// SQLite asks whether to go on after so many steps of its machine, or pages.
const ASKED_AFTER: i32 = 1000;

/// What was seen of a log that may be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inspected {
    /// There is none: opening makes one.
    Missing,
    /// There is a file with nothing in it: opening begins a new log.
    Empty,
    /// There is one, and nothing wrong was found.
    Sound {
        /// Of the file and its WAL.
        bytes: u64,
        /// Whether all of it was read, or the time was over before.
        whole: bool,
    },
}

/// After the last position that there can be.
const END: Position = i64::MAX as Position;

/// Looks at what [`crate::EmbeddedLog::open`] looks at, and then at every page, for about `time` at most; of a log that is
/// in use at every record. That it is another process's is no fault here.
///
/// # Errors
/// What opening refuses, in the same words; and damage that is found only by reading.
pub fn inspect(options: Options, time: Duration) -> Result<Inspected, OpenError> {
    options.check()?;
    let file = options.dir.join("log.db");
    let database = match size(&file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Inspected::Missing);
        }
        Err(error) => return Err(OpenError::io(&file)(error)),
    };
    let wal = || size(&options.dir.join("log.db-wal")).unwrap_or_default();
    let bytes = database + wal();
    if bytes == 0 {
        return Ok(Inspected::Empty);
    }
    let seen = read(&file, &options, wal() > 0, time);
    // A file without a WAL is nobody's, and is read as one that does not change. It does if it is opened just now.
    let whole = match seen {
        Err(OpenError::Corrupt { .. }) if bytes == database && wal() > 0 => {
            read(&file, &options, true, time)?
        }
        seen => seen?,
    };
    Ok(whole.map_or(Inspected::Empty, |whole| Inspected::Sound { bytes, whole }))
}

/// Whether all of it was read; none if nothing is in it.
fn read(
    file: &Path,
    options: &Options,
    has_wal: bool,
    time: Duration,
) -> Result<Option<bool>, OpenError> {
    let failed = OpenError::database(file);
    let connection = schema::open_to_look(file, has_wal).map_err(&failed)?;
    let Some(format) = schema::is_ours(&connection, file)? else {
        return Ok(None);
    };
    let topics = look(&connection, file, format, options)?;
    let whole = match lock::is_taken(&options.dir) {
        true => read_records(&connection, &topics, time).map_err(failed)?,
        false => read_all(&connection, file, time)?,
    };
    Ok(Some(whole))
}

fn size(file: &Path) -> std::io::Result<u64> {
    let meta = std::fs::metadata(file)?;
    if meta.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    Ok(meta.len())
}

/// A topic that is there, and its statements.
type Topics = (Vec<TopicSpec>, Vec<TopicSql>);

/// What opening reads.
fn look(
    connection: &Connection,
    file: &Path,
    format: i32,
    options: &Options,
) -> Result<Topics, OpenError> {
    let failed = OpenError::database(file);
    let catalog = Catalog::new(options.topics.clone());
    let mut there = Topics::default();
    for (spec, sql) in catalog.specs().iter().zip(catalog.sql()) {
        if sql.is_in(connection).map_err(&failed)? {
            schema::load_topic(connection, spec, sql).map_err(&failed)?;
            there.0.push(*spec);
            there.1.push(match format {
                schema::FIRST => sql.of_first_format(),
                _ => sql.clone(),
            });
        }
    }
    let progress = schema::load_progress(connection).map_err(&failed)?;
    let topics = (there.0.as_slice(), there.1.as_slice());
    sizes::check(connection, file, topics, &progress, options.record_bytes)?;
    Ok(there)
}

/// Reads every record, as readers of the log do: each portion in a snapshot of its own. False if that was not done within
/// `time`.
fn read_records(
    connection: &Connection,
    (specs, sql): &Topics,
    time: Duration,
) -> rusqlite::Result<bool> {
    let began = Instant::now();
    for (spec, sql) in specs.iter().zip(sql) {
        let at = TopicPartition {
            topic: spec.topic,
            partition: 0,
        };
        let mut last: Option<(Position, Bytes)> = None;
        loop {
            if began.elapsed() >= time {
                return Ok(false);
            }
            let Fetched { mut records, whole } = match (sql.compacted, &last) {
                (false, None) => disk::fetch(connection, sql, at, 0, END)?,
                (false, Some((position, _))) => {
                    disk::fetch(connection, sql, at, position + 1, END)?
                }
                (true, None) => disk::scan(connection, sql, at, None, 0..END)?,
                (true, Some((_, key))) => disk::scan(connection, sql, at, Some(key), 0..END)?,
            };
            last = records.pop().map(|record| (record.position, record.key));
            if whole {
                break;
            }
        }
    }
    Ok(true)
}

/// Reads every page, those of large records included. False if that was not done within `time`.
fn read_all(connection: &Connection, file: &Path, time: Duration) -> Result<bool, OpenError> {
    let failed = OpenError::database(file);
    let began = Instant::now();
    let is_over = move || began.elapsed() >= time;
    connection
        .progress_handler(ASKED_AFTER, Some(is_over))
        .map_err(&failed)?;
    let found = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match found {
        Ok(found) if found == "ok" => Ok(true),
        Ok(found) => Err(OpenError::Corrupt {
            file: file.to_owned(),
            // Before it stands which database of the connection is meant; there is one.
            detail: found.lines().last().unwrap_or_default().to_owned(),
        }),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            Ok(false)
        }
        Err(error) => Err(failed(error)),
    }
}
