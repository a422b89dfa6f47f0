//! Writing history: the one path of the store that every delivery pays for.

use std::collections::HashSet;

use postrider_model::{Event, Fanout};
use postrider_store::{EncodedAttempt, HistoryBatch, StoreError};

use super::SqliteStore;
use super::insert::{Insert, Values};
use crate::columns::{blob, blob_of_ids};
use crate::error::{signed, store_error};
use crate::metrics::RowKind;
use crate::rows::{AttemptStatus, channels_column};

// Of these statements none is undone alone: where one fails, all that is written with it fails. Told so, SQLite keeps
// no journal of each.
static EVENTS: Insert = Insert::new(
    "INSERT OR ROLLBACK INTO events \
     (id, app_id, accepted_at, event_type, channels, uid, content_type, traceparent, payload)",
    9,
    "ON CONFLICT DO NOTHING",
);
static FANOUTS: Insert = Insert::new(
    "INSERT OR ROLLBACK INTO fanouts (event_id, endpoints, app_id, registry_version, stale, complete)",
    6,
    "ON CONFLICT DO NOTHING",
);
static FANOUT_TIMES: Insert = Insert::new(
    "INSERT OR ROLLBACK INTO fanout_times (accepted_at, event_id)",
    2,
    "ON CONFLICT DO NOTHING",
);
static ATTEMPTS: Insert = Insert::new(
    "INSERT OR ROLLBACK INTO attempts \
     (event_id, started_at, id, endpoint_id, app_id, status, status_code, event_type, detail)",
    9,
    "ON CONFLICT DO NOTHING",
);

impl SqliteStore {
    pub(super) async fn write_history(&self, batch: &HistoryBatch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        EVENTS.run(&mut tx, &batch.events, bind_event).await?;
        FANOUTS.run(&mut tx, &batch.fanouts, bind_fanout).await?;
        FANOUT_TIMES
            .run(&mut tx, &without_event(batch), bind_fanout_time)
            .await?;
        let attempts = by_endpoint(&batch.attempts);
        ATTEMPTS.run(&mut tx, &attempts, bind_attempt).await?;
        tx.commit().await.map_err(store_error)?;
        let written = |kind, rows: usize| self.metrics.written.of(kind).inc_by(rows as u64);
        written(RowKind::Event, batch.events.len());
        written(RowKind::Fanout, batch.fanouts.len());
        written(RowKind::Attempt, batch.attempts.len());
        Ok(())
    }
}

fn bind_event(values: &mut Values, event: &Event) -> Result<(), StoreError> {
    values.push(blob(event.id))?;
    values.push(blob(event.app_id))?;
    values.push(event.accepted_at.as_millis())?;
    values.push(event.event_type.as_str())?;
    values.push(channels_column(&event.channels))?;
    values.push(event.uid.as_ref().map(|uid| uid.as_str()))?;
    values.push(event.content_type.as_str())?;
    values.push(event.trace.as_ref().map(|trace| trace.traceparent()))?;
    values.push(event.payload.as_ref())
}

fn bind_fanout(values: &mut Values, part: &Fanout) -> Result<(), StoreError> {
    values.push(blob(part.event_id))?;
    values.push(blob_of_ids(&part.endpoints))?;
    values.push(blob(part.app_id))?;
    values.push(signed("registry version", part.registry_version)?)?;
    values.push(part.stale)?;
    values.push(part.complete)
}

/// Those whose event is not written with them, and so perhaps never. The others go with their events.
fn without_event(batch: &HistoryBatch) -> Vec<&Fanout> {
    let events: HashSet<_> = batch.events.iter().map(|event| event.id).collect();
    let fanouts = batch.fanouts.iter();
    fanouts
        .filter(|part| !events.contains(&part.event_id))
        .collect()
}

fn bind_fanout_time(values: &mut Values, part: &&Fanout) -> Result<(), StoreError> {
    values.push(part.accepted_at.as_millis())?;
    values.push(blob(part.event_id))
}

/// In this order each page of the index by endpoint is found once a batch. The other indexes lose little by it.
fn by_endpoint(attempts: &[EncodedAttempt]) -> Vec<&EncodedAttempt> {
    let mut sorted: Vec<&EncodedAttempt> = attempts.iter().collect();
    sorted.sort_unstable_by_key(|one| (one.attempt.endpoint_id, one.attempt.started_at));
    sorted
}

fn bind_attempt(values: &mut Values, one: &&EncodedAttempt) -> Result<(), StoreError> {
    let attempt = &one.attempt;
    signed("generation", attempt.generation)?;
    values.push(blob(attempt.event_id))?;
    values.push(attempt.started_at.as_millis())?;
    values.push(blob(attempt.id))?;
    values.push(blob(attempt.endpoint_id))?;
    values.push(blob(attempt.app_id))?;
    values.push(AttemptStatus::of(attempt) as i64)?;
    values.push(attempt.status_code)?;
    values.push(attempt.event_type.as_str())?;
    values.push(one.encoded.as_ref())
}
