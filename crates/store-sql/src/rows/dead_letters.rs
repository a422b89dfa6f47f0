//! Rows of dead letters and replays.

use bytes::Bytes;
use postrider_model::DeadLetter;
use postrider_store::{
    DeadLetterFilter, Deleted, HistoryKey, Replay, ReplayStatus, Selection, StoreError,
    StoredDeadLetter,
};

use crate::columns::Columns;
use crate::error::unreadable;

/// A condition: a replay that takes what it can deliver takes this dead letter, because none has published it, its payload
/// is there, and its endpoint too. PostgreSQL makes a join of the last, for a page by key, for a count by hash.
pub(crate) const IS_REPLAYABLE: &str = "replay_id IS NULL AND NOT payload_left_out \
    AND EXISTS (SELECT 1 FROM endpoints WHERE endpoints.id = dead_letters.endpoint_id)";

/// What [`stored_dead_letter`] reads; the last column holds a [`Deleted`]'s label. Its subqueries are look-ups by key:
/// in this place PostgreSQL makes of an `EXISTS` a scan of all endpoints, for a page of a few dead letters.
pub(crate) const DEAD_LETTERS: &str = "SELECT id, died_at, letter, replay_id, replayed_at, CASE \
    WHEN (SELECT true FROM endpoints WHERE endpoints.id = dead_letters.endpoint_id) THEN NULL \
    WHEN (SELECT true FROM applications WHERE applications.id = dead_letters.app_id) THEN 'endpoint_deleted' \
    ELSE 'application_deleted' END AS deleted FROM dead_letters";

pub(crate) fn stored_dead_letter(row: &impl Columns) -> Result<StoredDeadLetter, StoreError> {
    let letter = Bytes::copy_from_slice(row.some_blob("letter")?);
    Ok(StoredDeadLetter {
        letter: DeadLetter::decode(&letter).map_err(|error| unreadable("letter", error))?,
        replayed: row.id("replay_id")?.zip(row.time("replayed_at")?),
        deleted: deleted(row)?,
    })
}

fn deleted(row: &impl Columns) -> Result<Option<Deleted>, StoreError> {
    let label = row.text("deleted")?;
    let known = |label| Deleted::from_label(label).ok_or_else(|| unreadable("deleted", label));
    label.map(known).transpose()
}

/// Where a row stands in a listing by the time in column `at`.
pub(crate) fn history_key(row: &impl Columns, at: &str) -> Result<HistoryKey, StoreError> {
    Ok(HistoryKey {
        at: row.some_time(at)?,
        id: row.bytes("id")?,
    })
}

/// What [`replay`] reads, of the table `replays`.
macro_rules! replay_columns {
    () => {
        "*, (SELECT why FROM replay_halts WHERE replay_halts.replay_id = replays.id) AS paused_because"
    };
}
pub(crate) use replay_columns;

pub(crate) fn replay(row: &impl Columns) -> Result<Replay, StoreError> {
    let status = row.some_text("status")?;
    let status = ReplayStatus::from_label(status).ok_or_else(|| unreadable("status", status))?;
    let halt = row.text("paused_because")?.map(str::to_owned);
    Ok(Replay {
        id: row.some_id("id")?,
        app_id: row.id("app_id")?,
        selection: selection(row)?,
        rate: row.some_number("rate")?,
        status,
        // One that was halted and then resumed by a process of the version before has the reason still.
        paused_because: halt.filter(|_| status == ReplayStatus::Paused),
        total: row.some_number("total")?,
        done: row.some_number("done")?,
        failed: row.some_number("failed")?,
        cursor: cursor(row)?,
        requested_by: row.some_text("requested_by")?.to_owned(),
        generation: row.some_number("generation")?,
        created_at: row.some_time("created_at")?,
        updated_at: row.some_time("updated_at")?,
    })
}

fn selection(row: &impl Columns) -> Result<Selection, StoreError> {
    if let Some(ids) = row.ids("ids")? {
        return Ok(Selection::Ids(ids));
    }
    Ok(Selection::Filter(DeadLetterFilter {
        app_id: row.id("filter_app_id")?,
        endpoint_id: row.id("filter_endpoint_id")?,
        event_type: row.parsed("filter_event_type")?,
        after: row.time("filter_after")?,
        before: row.time("filter_before")?,
        // The column has the name of what this was at first. Another name is for a release whose predecessor knows it: older
        // programs work beside the schema, and write this one.
        only_replayable: row.flag("filter_only_unreplayed")?,
    }))
}

fn cursor(row: &impl Columns) -> Result<Option<HistoryKey>, StoreError> {
    match row.time("cursor_at")? {
        None => Ok(None),
        Some(at) => Ok(Some(HistoryKey {
            at,
            id: row.bytes("cursor_id")?,
        })),
    }
}
