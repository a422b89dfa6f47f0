//! What one commit writes.

use postrider_failpoint::thread_fail_point;
use postrider_log::{Committed, NewRecord, Position};
use postrider_model::Timestamp;
use rusqlite::{Connection, OptionalExtension, Statement};

use crate::catalog::Catalog;
use crate::codec;
use crate::ending::Whole;
use crate::queue::Request;
use crate::schema::{PUT_PROGRESS, PUT_TOPIC, TopicEnds};

/// A topic's prepared statements and where it stands.
struct Table<'c> {
    insert: Statement<'c>,
    /// None for a compacted topic, where a newer value may replace any.
    back: Option<Statement<'c>>,
    trim: Statement<'c>,
    expired: Statement<'c>,
    ends: TopicEnds,
}

/// Prepared statements on the writer's connection, and where each topic stands.
pub(crate) struct Tables<'c> {
    begin: Statement<'c>,
    commit: Statement<'c>,
    roll_back: Statement<'c>,
    put_topic: Statement<'c>,
    put_progress: Statement<'c>,
    tables: Vec<Table<'c>>,
    headers: Vec<u8>,
}

/// What a commit has written.
pub(crate) struct Written {
    /// Of each topic, the position of its first record.
    pub(crate) from: Vec<Position>,
    /// Of each topic, when its records were appended.
    pub(crate) appended_at: Vec<Timestamp>,
    pub(crate) records: usize,
}

impl<'c> Tables<'c> {
    pub(crate) fn new(
        connection: &'c Connection,
        catalog: &Catalog,
        ends: &[TopicEnds],
    ) -> rusqlite::Result<Self> {
        let tables = catalog.sql().iter().zip(ends).map(|(sql, ends)| {
            Ok(Table {
                insert: connection.prepare(&sql.insert)?,
                back: match sql.compacted {
                    false => Some(connection.prepare(&sql.back)?),
                    true => None,
                },
                trim: connection.prepare(&sql.trim)?,
                expired: connection.prepare(&sql.expired)?,
                ends: *ends,
            })
        });
        Ok(Self {
            begin: connection.prepare("BEGIN IMMEDIATE")?,
            commit: connection.prepare("COMMIT")?,
            roll_back: connection.prepare("ROLLBACK")?,
            put_topic: connection.prepare(PUT_TOPIC)?,
            put_progress: connection.prepare(PUT_PROGRESS)?,
            tables: tables.collect::<rusqlite::Result<_>>()?,
            headers: Vec::new(),
        })
    }

    pub(crate) fn first(&self, topic: usize) -> Position {
        self.tables[topic].ends.first
    }

    pub(crate) fn next(&self, topic: usize) -> Position {
        self.tables[topic].ends.next
    }

    /// Writes all of these in one commit. After an error nothing is written, once [`Self::roll_back`] was called.
    pub(crate) fn write(
        &mut self,
        catalog: &Catalog,
        requests: &[Request],
        now: Timestamp,
    ) -> rusqlite::Result<Written> {
        let before: Vec<TopicEnds> = self.tables.iter().map(|table| table.ends).collect();
        let written = self.try_write(catalog, requests, now);
        if written.is_err() {
            // The positions are given out again: nobody has seen them.
            self.tables
                .iter_mut()
                .zip(before)
                .for_each(|(table, ends)| table.ends = ends);
        }
        written
    }

    fn try_write(
        &mut self,
        catalog: &Catalog,
        requests: &[Request],
        now: Timestamp,
    ) -> rusqlite::Result<Written> {
        self.begin.raw_execute()?;
        let from = self.tables.iter().map(|table| table.ends.next).collect();
        let mut records = 0;
        let mut wholes = vec![None; self.tables.len()];
        for (append, request) in requests.iter().enumerate() {
            for record in &request.records {
                // Checked before it was queued.
                let Some(topic) = catalog.index_of(record.topic.0) else {
                    continue;
                };
                self.insert(topic, append, record, &mut wholes[topic], now)?;
                records += 1;
            }
        }
        self.put_progress(catalog, requests)?;
        thread_fail_point!("embedded.commit.before");
        self.commit.raw_execute()?;
        thread_fail_point!("embedded.commit.after");
        let appended_at = self
            .tables
            .iter()
            .map(|table| table.ends.last_appended_at)
            .collect();
        Ok(Written {
            from,
            appended_at,
            records,
        })
    }

    fn insert<'r>(
        &mut self,
        topic: usize,
        append: usize,
        record: &'r NewRecord,
        whole: &mut Option<Whole<'r>>,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let table = &mut self.tables[topic];
        let Table { insert, ends, .. } = table;
        ends.last_appended_at = ends.last_appended_at.max(now);
        codec::encode(&record.headers, &mut self.headers);
        insert.raw_bind_parameter(1, ends.next as i64)?;
        insert.raw_bind_parameter(2, ends.last_appended_at.as_millis())?;
        insert.raw_bind_parameter(3, &record.key[..])?;
        insert.raw_bind_parameter(4, self.headers.as_slice())?;
        let mut value = &record.value[..];
        if table.back.is_some() {
            let (position, last) = (ends.next, whole.take());
            let ending = last.and_then(|last| last.ending_of(append, position, value));
            *whole = match ending {
                Some(_) => last,
                None => Some(Whole {
                    append,
                    position,
                    value,
                }),
            };
            value = &value[..value.len() - ending.map_or(0, |ending| ending.bytes)];
            insert.raw_bind_parameter(6, ending.map(|ending| ending.back as i64))?;
            insert.raw_bind_parameter(7, ending.map(|ending| ending.bytes as i64))?;
        }
        insert.raw_bind_parameter(5, value)?;
        insert.raw_execute()?;
        ends.next += 1;
        Ok(())
    }

    /// Of each group and topic only the newest counts.
    fn put_progress(&mut self, catalog: &Catalog, requests: &[Request]) -> rusqlite::Result<()> {
        let mut newest: Vec<((usize, usize), &str, &Committed)> = Vec::new();
        for done in requests.iter().flat_map(|request| &request.finished) {
            let of = (done.topic, done.group);
            match newest.iter_mut().find(|(found, ..)| *found == of) {
                Some(entry) if done.committed.next >= entry.2.next => entry.2 = &done.committed,
                Some(_) => {}
                None => newest.push((of, done.name.0, &done.committed)),
            }
        }
        for ((topic, _), group, committed) in newest {
            let name = catalog.specs()[topic].topic.0;
            let progress = (
                group,
                name,
                committed.next as i64,
                committed.metadata.as_str(),
            );
            self.put_progress.execute(progress)?;
        }
        Ok(())
    }

    /// Undoes what a failed [`Self::write`] or [`Self::trim`] left open. SQLite may have done so by itself already.
    pub(crate) fn roll_back(&mut self) {
        if let Err(error) = self.roll_back.raw_execute() {
            tracing::debug!(%error, "nothing to roll back");
        }
    }

    /// What of everything below a position may go without those that stay missing their end.
    pub(crate) fn spares(&mut self, topic: usize, below: Position) -> rusqlite::Result<Position> {
        let Some(back) = &mut self.tables[topic].back else {
            return Ok(below);
        };
        let back = back
            .query_row([below as i64], |row| row.get::<_, Option<i64>>(0))
            .optional()?;
        Ok(below.saturating_sub(back.flatten().unwrap_or(0) as u64))
    }

    /// Removes everything below a position, and with it writes where the topic stands, so that the next position is
    /// known when no record is left to tell it. Returns how many records went.
    pub(crate) fn trim(
        &mut self,
        topic: usize,
        name: &str,
        below: Position,
    ) -> rusqlite::Result<u64> {
        let Table { trim, ends, .. } = &mut self.tables[topic];
        self.begin.raw_execute()?;
        let removed = trim.execute([below as i64])?;
        let at = ends.last_appended_at.as_millis();
        self.put_topic.execute((name, ends.next as i64, at))?;
        thread_fail_point!("embedded.trim.before");
        self.commit.raw_execute()?;
        thread_fail_point!("embedded.trim.after");
        ends.first = below;
        Ok(removed as u64)
    }

    /// The end of those among the first `rows` records that were appended before `at`; none if there is none.
    pub(crate) fn expired(
        &mut self,
        topic: usize,
        rows: u64,
        at: Timestamp,
    ) -> rusqlite::Result<Option<Position>> {
        let bounds = (rows as i64, at.as_millis());
        let last = self.tables[topic]
            .expired
            .query_row(bounds, |row| row.get::<_, Option<i64>>(0))?;
        Ok(last.map(|position| position as u64 + 1))
    }
}
