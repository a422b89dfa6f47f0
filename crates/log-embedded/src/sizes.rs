//! The limit on records against what lies in the log. A record that is moved on is written again, so a limit below it
//! would refuse what was taken long ago.

use std::path::Path;

use postrider_log::{Group, Keep, TopicSpec};
use rusqlite::{Connection, OptionalExtension};

use crate::OpenError;
use crate::schema::{StoredProgress, TopicSql};

/// What a record may grow by on its way: an event becomes a delivery, a delivery a dead letter. Half of what payloads lie
/// below the limit; the other half may be in the record already.
const GROWTH_BYTES: i64 = 64 << 10;

/// Refuses a limit under which a record that is in the log could not be moved on. Only reads, and costs nothing unless the
/// limit is lower than the last: only then are the sizes of all records that wait looked at, which reads no value.
pub(crate) fn check(
    connection: &Connection,
    file: &Path,
    (specs, sql): (&[TopicSpec], &[TopicSql]),
    progress: &[StoredProgress],
    limit: usize,
) -> Result<(), OpenError> {
    let failed = OpenError::database(file);
    let last = last(connection).map_err(&failed)?;
    // At most 256 MiB, as the options were checked.
    let limit = limit as i64;
    if last.is_none_or(|last| limit < last) {
        for (spec, sql) in specs.iter().zip(sql) {
            // What is kept otherwise is never moved on.
            let Keep::UntilFinished(groups) = spec.keep else {
                continue;
            };
            let next = |group: &Group| {
                let of = |one: &&StoredProgress| one.group == group.0 && one.topic == spec.topic.0;
                progress.iter().find(of).map_or(0, |one| one.next)
            };
            let waits_from = groups.iter().map(next).min().unwrap_or(0);
            let largest: Option<i64> = connection
                .query_row(&sql.largest, [waits_from as i64], |row| row.get(0))
                .map_err(&failed)?;
            if let Some(size) = largest.filter(|size| size + GROWTH_BYTES > limit) {
                let needed = size + GROWTH_BYTES;
                return Err(OpenError::RecordLimit {
                    file: file.to_owned(),
                    topic: spec.topic.0,
                    size,
                    limit,
                    needed: last.map_or(needed, |last| last.min(needed)),
                });
            }
        }
    }
    Ok(())
}

/// The limit that was last in force; none in a file that no log has remembered one in.
fn last(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    if !connection.table_exists(None, "limits")? {
        return Ok(None);
    }
    connection
        .query_row("SELECT record_bytes FROM limits", [], |row| row.get(0))
        .optional()
}

/// Writes the limit that is in force from now on. Before any record that it allows: all lie in one WAL, in order.
pub(crate) fn remember(
    connection: &Connection,
    file: &Path,
    limit: usize,
) -> Result<(), OpenError> {
    connection
        .execute(
            "REPLACE INTO limits (one, record_bytes) VALUES (1, ?1)",
            [limit as i64],
        )
        .map(drop)
        .map_err(OpenError::database(file))
}
