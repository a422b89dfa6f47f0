//! The file: its tables, its version, and how a connection to it is made.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use postrider_log::{Keep, TopicSpec};
use postrider_model::{Position, Timestamp};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::OpenError;
use crate::lock::PRIVATE;

/// Records of a kilobyte cost least in pages of this size: seven to a page, and the WAL carries whole pages.
pub(crate) const PAGE_BYTES: u32 = 8192;
/// What one page takes in the WAL.
pub(crate) const FRAME_BYTES: u64 = PAGE_BYTES as u64 + 24;
/// `Post`, so that a database of some other program is not mistaken for a log.
const APPLICATION_ID: i32 = 0x506f_7374;
/// The format that this version writes.
const VERSION: i32 = 2;
/// The format that knew no endings which lie elsewhere.
pub(crate) const FIRST: i32 = 1;

/// The statements for one topic.
#[derive(Debug, Clone)]
pub(crate) struct TopicSql {
    pub(crate) compacted: bool,
    /// Of an append-only topic, or an upsert of a compacted one: position, appended_at, key, headers, value; and of the
    /// former where the value's end lies, if elsewhere: back, ending.
    pub(crate) insert: String,
    /// How far before the record at position ?1 the end of its value lies; none or no row if it needs no other.
    pub(crate) back: String,
    /// The value of the record at position ?1.
    pub(crate) value: String,
    /// Everything below ?1.
    pub(crate) trim: String,
    /// From ?1 on, below ?2.
    pub(crate) read: String,
    /// Compacted: keys from ?1 on, written from ?2 on, before ?3.
    pub(crate) scan: String,
    /// Compacted: the same beyond key ?1.
    pub(crate) scan_on: String,
    /// When the first record from position ?1 on was appended.
    pub(crate) age: String,
    /// The last of the first ?1 records if it is older than ?2.
    pub(crate) expired: String,
    /// Bytes of the largest record from position ?1 on: a length is read without the content.
    pub(crate) largest: String,
    /// The table's name, and the same as it stands in statements.
    name: String,
    table: String,
}

impl TopicSql {
    pub(crate) fn new(spec: &TopicSpec) -> Self {
        let compacted = matches!(spec.keep, Keep::Newest);
        let kind = if compacted { "newest" } else { "topic" };
        let name = format!("{kind}:{}", spec.topic.0);
        let table = format!("\"{}\"", name.replace('"', "\"\""));
        let columns = "position, appended_at, key, headers, value";
        let (ending, insert) = match compacted {
            false => (
                "back, ending",
                format!(
                    "INSERT INTO {table} ({columns}, back, ending) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
                ),
            ),
            true => (
                "NULL, NULL",
                format!("REPLACE INTO {table} ({columns}) VALUES (?1, ?2, ?3, ?4, ?5)"),
            ),
        };
        let scan = |from: &str| {
            format!(
                "SELECT {columns}, {ending} FROM {table} WHERE key {from} ?1 AND position >= ?2 AND position < ?3 ORDER BY key"
            )
        };
        Self {
            compacted,
            insert,
            back: format!("SELECT back FROM {table} WHERE position = ?1"),
            value: format!("SELECT value FROM {table} WHERE position = ?1"),
            trim: format!("DELETE FROM {table} WHERE position < ?1"),
            read: format!(
                "SELECT {columns}, {ending} FROM {table} WHERE position >= ?1 AND position < ?2 ORDER BY position"
            ),
            scan: scan(">="),
            scan_on: scan(">"),
            age: format!(
                "SELECT appended_at FROM {table} WHERE position >= ?1 ORDER BY position LIMIT 1"
            ),
            expired: format!(
                "SELECT max(position) FROM (SELECT position, appended_at FROM {table} ORDER BY position LIMIT ?1) \
                 WHERE appended_at < ?2"
            ),
            largest: format!(
                "SELECT max(length(key) + length(headers) + length(value) + ifnull(ending, 0)) FROM {table} \
                 WHERE position >= ?1"
            ),
            name,
            table,
        }
    }

    /// Whether the topic has its table: a file from before it was declared has none.
    pub(crate) fn is_in(&self, connection: &Connection) -> rusqlite::Result<bool> {
        connection.table_exists(None, self.name.as_str())
    }

    fn create(&self) -> String {
        let (position, tail) = match self.compacted {
            false => (
                "INTEGER PRIMARY KEY",
                ", back INTEGER, ending INTEGER) STRICT",
            ),
            true => ("INTEGER NOT NULL", ") STRICT, WITHOUT ROWID"),
        };
        let key = if self.compacted { " PRIMARY KEY" } else { "" };
        format!(
            "CREATE TABLE IF NOT EXISTS {} (position {position}, appended_at INTEGER NOT NULL, \
             key BLOB NOT NULL{key}, headers BLOB NOT NULL, value BLOB NOT NULL{tail}",
            self.table
        )
    }

    /// The same, for a file of the first format that is only looked at.
    pub(crate) fn of_first_format(&self) -> Self {
        let mut old = self.clone();
        old.largest = old.largest.replace(" + ifnull(ending, 0)", "");
        old
    }

    /// Gives a table of the first format what it lacks, which reads none of its rows.
    fn expand(&self, connection: &Connection) -> rusqlite::Result<()> {
        if self.compacted || connection.column_exists(None, self.name.as_str(), "back")? {
            return Ok(());
        }
        let table = &self.table;
        connection.execute_batch(&format!(
            "ALTER TABLE {table} ADD COLUMN back INTEGER; ALTER TABLE {table} ADD COLUMN ending INTEGER"
        ))
    }
}

/// Where a topic stands when the log is opened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TopicEnds {
    /// Everything below was trimmed.
    pub(crate) first: Position,
    /// The position of the next record.
    pub(crate) next: Position,
    /// When the newest record was appended.
    pub(crate) last_appended_at: Timestamp,
}

/// A group's progress as it lies in the file.
pub(crate) struct StoredProgress {
    pub(crate) group: String,
    pub(crate) topic: String,
    pub(crate) next: Position,
    pub(crate) metadata: String,
}

/// The writer's connection, to a file that is ours and of a version that we know; made if it is not there.
pub(crate) fn open(file: &Path, sql: &[TopicSql]) -> Result<Connection, OpenError> {
    make(file)?;
    let failed = OpenError::database(file);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags).map_err(&failed)?;
    let found = is_ours(&connection, file)?;
    prepare(&connection, sql, found).map_err(failed)?;
    Ok(connection)
}

/// Refuses a file of some other program and one of a later version. The format that it has, if there is anything in it.
pub(crate) fn is_ours(connection: &Connection, file: &Path) -> Result<Option<i32>, OpenError> {
    let failed = OpenError::database(file);
    let pragma = |name: &str| {
        connection
            .query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i32>(0))
            .map_err(&failed)
    };
    let (application, found, tables) = (
        pragma("application_id")?,
        pragma("user_version")?,
        pragma("schema_version")?,
    );
    let file = file.to_owned();
    if tables != 0 && application != APPLICATION_ID {
        return Err(OpenError::Foreign { file });
    }
    if found > VERSION {
        let known = VERSION;
        return Err(OpenError::Newer { file, found, known });
    }
    Ok((tables != 0).then_some(found))
}

fn prepare(connection: &Connection, sql: &[TopicSql], found: Option<i32>) -> rusqlite::Result<()> {
    connection.execute_batch(&format!("PRAGMA page_size = {PAGE_BYTES}"))?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // NORMAL: a commit does not fsync (the syncer does), but checkpoints and the WAL's restart do.
    connection.execute_batch(
        "PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -4096;
         PRAGMA temp_store = MEMORY; BEGIN IMMEDIATE;
         CREATE TABLE IF NOT EXISTS topics (
             topic TEXT PRIMARY KEY, next INTEGER NOT NULL, last_appended_at INTEGER NOT NULL
         ) STRICT, WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS progress (
             \"group\" TEXT NOT NULL, topic TEXT NOT NULL, next INTEGER NOT NULL, metadata TEXT NOT NULL,
             PRIMARY KEY (\"group\", topic)
         ) STRICT, WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS limits (
             one INTEGER PRIMARY KEY CHECK (one = 1), record_bytes INTEGER NOT NULL
         ) STRICT;",
    )?;
    for topic in sql {
        connection.execute_batch(&topic.create())?;
        if found == Some(FIRST) {
            topic.expand(connection)?;
        }
    }
    connection.execute_batch(&format!(
        "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; COMMIT"
    ))
}

/// A connection that only reads, with a small cache of its own.
pub(crate) fn open_reading(file: &Path) -> rusqlite::Result<Connection> {
    let connection = beside(file)?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -512")?;
    Ok(connection)
}

/// A connection of a process that is not the log's owner, which may be there or not. It leaves the files as they are: what
/// lies in the WAL stays there, and where there is no WAL none is made.
pub(crate) fn open_to_look(file: &Path, has_wal: bool) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if !has_wal {
        let name = file.to_string_lossy();
        let name = name
            .replace('%', "%25")
            .replace('?', "%3f")
            .replace('#', "%23");
        let flags = flags | OpenFlags::SQLITE_OPEN_URI;
        return Connection::open_with_flags(format!("file:{name}?immutable=1"), flags);
    }
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(Duration::from_secs(2))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection)
}

/// How long a whole checkpoint waits for readers, and the writer for it. The log's own read for milliseconds.
const READERS_WITHIN: Duration = Duration::from_millis(200);

/// The checkpointer's connection.
pub(crate) fn open_checkpointing(file: &Path) -> rusqlite::Result<Connection> {
    let connection = beside(file)?;
    connection.busy_timeout(READERS_WITHIN)?;
    connection.execute_batch(
        "PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -64",
    )?;
    Ok(connection)
}

/// Makes the file, if it is not there, for its owner alone; SQLite gives its other files the same mode. Before SQLite has
/// opened it: closing it later would give SQLite's locks away.
fn make(file: &Path) -> Result<(), OpenError> {
    let mut options = OpenOptions::new();
    let options = options.append(true).create(true).mode(PRIVATE);
    options.open(file).map(drop).map_err(OpenError::io(file))
}

/// Beside the writer's, which has made the file. Readers hold each other up for a moment only.
fn beside(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(Duration::from_secs(2))?;
    Ok(connection)
}

/// Writes where a topic stands. In the same commit as a trim, so that the next position never falls back.
pub(crate) const PUT_TOPIC: &str =
    "REPLACE INTO topics (topic, next, last_appended_at) VALUES (?1, ?2, ?3)";
/// Writes a group's progress, unless it is behind what is there.
pub(crate) const PUT_PROGRESS: &str = "INSERT INTO progress (\"group\", topic, next, metadata) \
    VALUES (?1, ?2, ?3, ?4) ON CONFLICT (\"group\", topic) DO UPDATE \
    SET next = excluded.next, metadata = excluded.metadata WHERE excluded.next >= progress.next";

/// Where each topic stands, from the records that are there and from what the last trim wrote. Removed keys of
/// compacted topics go: nobody follows yet.
pub(crate) fn load_topics(
    connection: &Connection,
    specs: &[TopicSpec],
    sql: &[TopicSql],
) -> rusqlite::Result<Vec<TopicEnds>> {
    let transaction = connection.unchecked_transaction()?;
    let mut ends = Vec::with_capacity(specs.len());
    for (spec, sql) in specs.iter().zip(sql) {
        let topic = load_topic(connection, spec, sql)?;
        if sql.compacted {
            let name = spec.topic.0;
            connection.execute(
                &format!("DELETE FROM {} WHERE length(value) = 0", sql.table),
                [],
            )?;
            let at = topic.last_appended_at.as_millis();
            connection.execute(PUT_TOPIC, (name, topic.next as i64, at))?;
        }
        ends.push(topic);
    }
    transaction.commit()?;
    Ok(ends)
}

/// Where one topic stands. Only reads.
pub(crate) fn load_topic(
    connection: &Connection,
    spec: &TopicSpec,
    sql: &TopicSql,
) -> rusqlite::Result<TopicEnds> {
    let stored: Option<(i64, i64)> = connection
        .query_row(
            "SELECT next, last_appended_at FROM topics WHERE topic = ?1",
            [spec.topic.0],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let (kept_next, kept_at) = stored.unwrap_or_default();
    let table = &sql.table;
    // One row each: both ends of a rowid table are found without reading what lies between.
    let edge = |order: &str| {
        connection
            .query_row(
                &format!(
                    "SELECT position, appended_at FROM {table} ORDER BY position {order} LIMIT 1"
                ),
                [],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
            )
            .optional()
    };
    let (oldest, newest) = (edge("ASC")?, edge("DESC")?);
    let next = newest
        .map_or(0, |(position, _)| position + 1)
        .max(kept_next);
    let at = newest.map_or(kept_at, |(_, at)| at.max(kept_at));
    Ok(TopicEnds {
        first: if sql.compacted {
            0
        } else {
            oldest.map_or(next, |(position, _)| position) as u64
        },
        next: next as u64,
        last_appended_at: Timestamp::from_millis(at),
    })
}

/// All that groups have committed.
pub(crate) fn load_progress(connection: &Connection) -> rusqlite::Result<Vec<StoredProgress>> {
    let mut statement =
        connection.prepare("SELECT \"group\", topic, next, metadata FROM progress")?;
    let rows = statement.query_map([], |row| {
        Ok(StoredProgress {
            group: row.get(0)?,
            topic: row.get(1)?,
            next: row.get::<_, i64>(2)? as u64,
            metadata: row.get(3)?,
        })
    })?;
    rows.collect()
}
