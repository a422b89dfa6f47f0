//! Reading from the file what is no longer in memory.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use postrider_log::{LogError, Position, Record};
use postrider_model::{Timestamp, TopicPartition};
use rusqlite::{Connection, Row, Rows};

use crate::codec;
use crate::schema::{self, TopicSql};

/// Connections kept for the next reader. Each holds half a megabyte of cache at most.
const KEPT: usize = 2;

/// Connections that only read.
pub(crate) struct ReadPool {
    file: PathBuf,
    /// None once the log is closed. The lock on the data directory lasts as long as the last connection.
    open: Mutex<Option<Open>>,
}

struct Open {
    idle: Vec<Connection>,
    lock: Arc<File>,
}

impl ReadPool {
    pub(crate) fn new(file: PathBuf, lock: Arc<File>) -> Self {
        let idle = Vec::new();
        let open = Mutex::new(Some(Open { idle, lock }));
        Self { file, open }
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Option<Open>> {
        // Nothing in here panics halfway through a change.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `read` on a connection. Blocks.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LogError> {
        let failed = |error: rusqlite::Error| {
            LogError::Stopped(crate::error::stopped("reading", &self.file, &error))
        };
        let (idle, lock) = match self.open().as_mut() {
            Some(open) => (open.idle.pop(), Arc::clone(&open.lock)),
            None => return Err(LogError::Stopped("it was closed".to_owned())),
        };
        let connection = match idle {
            Some(connection) => connection,
            None => schema::open_reading(&self.file).map_err(failed)?,
        };
        let read = read(&connection).map_err(failed);
        if let Some(open) = self.open().as_mut()
            && open.idle.len() < KEPT
        {
            open.idle.push(connection);
        } else {
            drop(connection);
        }
        drop(lock);
        read
    }

    pub(crate) fn close(&self) {
        *self.open() = None;
    }
}

/// How much to read at once: what a reader that is behind holds in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portion {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

/// For readers and followers alike.
pub(crate) const PORTION: Portion = Portion {
    records: 512,
    bytes: 512 << 10,
};

/// What was read.
pub(crate) struct Fetched {
    pub(crate) records: Vec<Record>,
    /// False if the portion was full before the range was read to its end.
    pub(crate) whole: bool,
}

/// Reads an append-only topic, from one position up to another.
pub(crate) fn fetch(
    connection: &Connection,
    sql: &TopicSql,
    at: TopicPartition,
    from: Position,
    to: Position,
) -> rusqlite::Result<Fetched> {
    let mut statement = connection.prepare_cached(&sql.read)?;
    collect(at, statement.query((from as i64, to as i64))?)
}

/// Reads a compacted topic in the order of its keys, beyond `after` if given: what was written in a range of positions.
pub(crate) fn scan(
    connection: &Connection,
    sql: &TopicSql,
    at: TopicPartition,
    after: Option<&[u8]>,
    range: std::ops::Range<Position>,
) -> rusqlite::Result<Fetched> {
    let text = if after.is_some() {
        &sql.scan_on
    } else {
        &sql.scan
    };
    let mut statement = connection.prepare_cached(text)?;
    let bounds = (
        after.unwrap_or_default(),
        range.start as i64,
        range.end as i64,
    );
    collect(at, statement.query(bounds)?)
}

fn collect(at: TopicPartition, mut rows: Rows<'_>) -> rusqlite::Result<Fetched> {
    let mut records = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let record = record(at, row)?;
        bytes += record.key.len() + record.value.len();
        records.push(record);
        if records.len() >= PORTION.records || bytes >= PORTION.bytes {
            let whole = false;
            return Ok(Fetched { records, whole });
        }
    }
    let whole = true;
    Ok(Fetched { records, whole })
}

fn record(at: TopicPartition, row: &Row<'_>) -> rusqlite::Result<Record> {
    let blob = |column: usize| {
        row.get_ref(column)?
            .as_bytes()
            .map_err(rusqlite::Error::from)
    };
    let headers = codec::decode(blob(3)?).ok_or_else(|| {
        let kind = rusqlite::types::Type::Blob;
        rusqlite::Error::FromSqlConversionFailure(3, kind, "these are not headers".into())
    })?;
    Ok(Record {
        at,
        position: row.get::<_, i64>(0)? as u64,
        appended_at: Timestamp::from_millis(row.get(1)?),
        key: Bytes::copy_from_slice(blob(2)?),
        headers,
        value: Bytes::copy_from_slice(blob(4)?),
    })
}

/// When the first record from a position on was appended.
pub(crate) fn appended_at(
    connection: &Connection,
    sql: &TopicSql,
    from: Position,
) -> rusqlite::Result<Option<Timestamp>> {
    use rusqlite::OptionalExtension;
    let mut statement = connection.prepare_cached(&sql.age)?;
    let row = statement.query_row([from as i64], |row| row.get(0));
    Ok(row.optional()?.map(Timestamp::from_millis))
}
