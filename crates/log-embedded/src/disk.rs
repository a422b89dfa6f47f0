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
    let rows = statement.query((from as i64, to as i64))?;
    collect(Values::new(connection, sql), at, rows)
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
    let rows = statement.query(bounds)?;
    collect(Values::new(connection, sql), at, rows)
}

fn collect(
    mut values: Values<'_>,
    at: TopicPartition,
    mut rows: Rows<'_>,
) -> rusqlite::Result<Fetched> {
    let mut records = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let record = record(&mut values, at, row)?;
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

fn record(values: &mut Values<'_>, at: TopicPartition, row: &Row<'_>) -> rusqlite::Result<Record> {
    let headers =
        codec::decode(blob(row, 3)?).ok_or_else(|| malformed(3, "these are not headers"))?;
    let position = row.get::<_, i64>(0)? as u64;
    Ok(Record {
        at,
        position,
        appended_at: Timestamp::from_millis(row.get(1)?),
        key: Bytes::copy_from_slice(blob(row, 2)?),
        headers,
        value: values.value(position, row)?,
    })
}

fn blob<'r>(row: &'r Row<'_>, column: usize) -> rusqlite::Result<&'r [u8]> {
    row.get_ref(column)?
        .as_bytes()
        .map_err(rusqlite::Error::from)
}

fn malformed(column: usize, why: &str) -> rusqlite::Error {
    let kind = rusqlite::types::Type::Blob;
    rusqlite::Error::FromSqlConversionFailure(column, kind, why.into())
}

/// Puts values together whose end was written with another one.
struct Values<'c> {
    connection: &'c Connection,
    sql: &'c TopicSql,
    /// The last that lay there as a whole: those that follow mostly end like it.
    whole: Option<(Position, Bytes)>,
}

impl<'c> Values<'c> {
    fn new(connection: &'c Connection, sql: &'c TopicSql) -> Self {
        Self {
            connection,
            sql,
            whole: None,
        }
    }

    fn value(&mut self, position: Position, row: &Row<'_>) -> rusqlite::Result<Bytes> {
        let begin = blob(row, 4)?;
        let ending: Option<(i64, i64)> = row.get::<_, Option<i64>>(5)?.zip(row.get(6)?);
        let Some((back, bytes)) = ending else {
            let value = Bytes::copy_from_slice(begin);
            self.whole = Some((position, value.clone()));
            return Ok(value);
        };
        let whole = self.whole(position.wrapping_sub(back as u64))?;
        let end = whole.len().checked_sub(bytes as usize);
        let end = end.ok_or_else(|| malformed(6, "the value's end is not where it should be"))?;
        Ok([begin, &whole[end..]].concat().into())
    }

    fn whole(&mut self, position: Position) -> rusqlite::Result<&Bytes> {
        if self.whole.as_ref().is_none_or(|(at, _)| *at != position) {
            let mut statement = self.connection.prepare_cached(&self.sql.value)?;
            let value = statement.query_row([position as i64], |row| {
                Ok(Bytes::copy_from_slice(blob(row, 0)?))
            })?;
            self.whole = Some((position, value));
        }
        let whole = self.whole.as_ref().map(|(_, value)| value);
        // It was set above, if it was not there.
        whole.ok_or(rusqlite::Error::QueryReturnedNoRows)
    }
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
