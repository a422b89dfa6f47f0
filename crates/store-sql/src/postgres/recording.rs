//! Writing history: the one path of the store that every delivery pays for. Each kind of row is one statement, with an
//! array for each column.

use std::collections::HashMap;

use postrider_model::{Event, Fanout, Timestamp};
use postrider_store::{EncodedAttempt, HistoryBatch, StoreError};
use sqlx::{Postgres, Row, Transaction};
use uuid::Uuid;

use super::errors::store_error;
use super::{PostgresStore, uuid};
use crate::columns::blob_of_ids;
use crate::error::signed;
use crate::metrics::RowKind;
use crate::rows::{AttemptStatus, channels_column};

const EVENTS: &str = "INSERT INTO events \
    (id, app_id, accepted_at, event_type, channels, uid, content_type, traceparent, payload) \
    SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bytea[], \
        $8::bytea[], $9::bytea[]) \
    ON CONFLICT DO NOTHING";
const FANOUTS: &str = "INSERT INTO fanouts \
    (event_id, accepted_at, part, app_id, endpoints, registry_version, stale, complete) \
    SELECT event_id, accepted_at, sha256(endpoints), app_id, endpoints, registry_version, stale, complete \
    FROM UNNEST($1::uuid[], $2::bigint[], $3::uuid[], $4::bytea[], $5::bigint[], $6::boolean[], $7::boolean[]) \
        AS given (event_id, accepted_at, app_id, endpoints, registry_version, stale, complete) \
    ON CONFLICT DO NOTHING";
const ATTEMPTS: &str = "INSERT INTO attempts \
    (event_id, started_at, id, endpoint_id, app_id, accepted_at, status, status_code, event_type, detail) \
    SELECT * FROM UNNEST($1::uuid[], $2::bigint[], $3::uuid[], $4::uuid[], $5::uuid[], $6::bigint[], $7::smallint[], \
        $8::integer[], $9::text[], $10::bytea[]) \
    ON CONFLICT DO NOTHING";
const DERIVED: &str = "INSERT INTO derived_events (id, accepted_at) SELECT * FROM UNNEST($1::uuid[], $2::bigint[]) \
    ON CONFLICT DO NOTHING";

impl PostgresStore {
    pub(super) async fn write_history(&self, batch: &HistoryBatch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        for attempt in &batch.attempts {
            signed("generation", attempt.attempt.generation)?;
        }
        self.renew_partitions_daily().await;
        let mut tx = self.begin().await?;
        write_events(&mut tx, &batch.events).await?;
        write_fanouts(&mut tx, &batch.fanouts).await?;
        write_attempts(&mut tx, &batch.attempts).await?;
        tx.commit().await.map_err(store_error)?;
        let written = |kind, rows: usize| self.metrics.written.of(kind).inc_by(rows as u64);
        written(RowKind::Event, batch.events.len());
        written(RowKind::Fanout, batch.fanouts.len());
        written(RowKind::Attempt, batch.attempts.len());
        Ok(())
    }
}

async fn write_events(
    tx: &mut Transaction<'_, Postgres>,
    events: &[Event],
) -> Result<(), StoreError> {
    let first = first_times(tx, events).await?;
    let is_first = |event: &&Event| {
        let known = first.get(&uuid(event.id));
        known.is_none_or(|at| *at == event.accepted_at.as_millis())
    };
    let events: Vec<&Event> = events.iter().filter(is_first).collect();
    if events.is_empty() {
        return Ok(());
    }
    sqlx::query(EVENTS)
        .bind(column(&events, |event| uuid(event.id)))
        .bind(column(&events, |event| uuid(event.app_id)))
        .bind(column(&events, |event| event.accepted_at.as_millis()))
        .bind(column(&events, |event| event.event_type.as_str()))
        .bind(column(&events, |event| channels_column(&event.channels)))
        .bind(column(&events, |event| {
            event.uid.as_ref().map(|uid| uid.as_str())
        }))
        .bind(column(&events, |event| event.content_type.as_bytes()))
        .bind(column(&events, |event| {
            event
                .trace
                .as_ref()
                .map(|trace| trace.traceparent().as_bytes())
        }))
        .bind(column(&events, |event| event.payload.as_ref()))
        .execute(&mut **tx)
        .await
        .map_err(store_error)?;
    Ok(())
}

/// When the events of derived ids among these were first accepted. A producer's repeat is accepted at another time, and
/// would not be seen to be one by the key of the archive, which has the time in it.
async fn first_times(
    tx: &mut Transaction<'_, Postgres>,
    events: &[Event],
) -> Result<HashMap<Uuid, i64>, StoreError> {
    let derived = events.iter().filter(|event| event.id.is_derived());
    let mut derived: Vec<(Uuid, Timestamp)> = derived
        .map(|event| (uuid(event.id), event.accepted_at))
        .collect();
    if derived.is_empty() {
        return Ok(HashMap::new());
    }
    // In one order, so that two who write the same wait for each other and not both at once.
    derived.sort_unstable();
    let ids: Vec<Uuid> = derived.iter().map(|(id, _)| *id).collect();
    let times: Vec<i64> = derived.iter().map(|(_, at)| at.as_millis()).collect();
    let insert = sqlx::query(DERIVED).bind(&ids).bind(&times);
    insert.execute(&mut **tx).await.map_err(store_error)?;
    let known = sqlx::query("SELECT id, accepted_at FROM derived_events WHERE id = ANY($1)")
        .bind(&ids)
        .fetch_all(&mut **tx)
        .await
        .map_err(store_error)?;
    let known = known
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    known.collect::<Result<_, _>>().map_err(store_error)
}

async fn write_fanouts(
    tx: &mut Transaction<'_, Postgres>,
    parts: &[Fanout],
) -> Result<(), StoreError> {
    if parts.is_empty() {
        return Ok(());
    }
    let versions = parts
        .iter()
        .map(|part| signed("registry version", part.registry_version));
    let versions: Vec<i64> = versions.collect::<Result<_, _>>()?;
    sqlx::query(FANOUTS)
        .bind(column(parts, |part| uuid(part.event_id)))
        .bind(column(parts, |part| part.accepted_at.as_millis()))
        .bind(column(parts, |part| uuid(part.app_id)))
        .bind(column(parts, |part| blob_of_ids(&part.endpoints)))
        .bind(versions)
        .bind(column(parts, |part| part.stale))
        .bind(column(parts, |part| part.complete))
        .execute(&mut **tx)
        .await
        .map_err(store_error)?;
    Ok(())
}

async fn write_attempts(
    tx: &mut Transaction<'_, Postgres>,
    attempts: &[EncodedAttempt],
) -> Result<(), StoreError> {
    if attempts.is_empty() {
        return Ok(());
    }
    sqlx::query(ATTEMPTS)
        .bind(column(attempts, |one| uuid(one.attempt.event_id)))
        .bind(column(attempts, |one| one.attempt.started_at.as_millis()))
        .bind(column(attempts, |one| uuid(one.attempt.id)))
        .bind(column(attempts, |one| uuid(one.attempt.endpoint_id)))
        .bind(column(attempts, |one| uuid(one.attempt.app_id)))
        .bind(column(attempts, |one| one.attempt.accepted_at.as_millis()))
        .bind(column(attempts, |one| {
            AttemptStatus::of(&one.attempt) as i16
        }))
        .bind(column(attempts, |one| {
            one.attempt.status_code.map(i32::from)
        }))
        .bind(column(attempts, |one| one.attempt.event_type.as_str()))
        .bind(column(attempts, |one| one.encoded.as_ref()))
        .execute(&mut **tx)
        .await
        .map_err(store_error)?;
    Ok(())
}

/// One column of many rows.
fn column<'a, T, V>(rows: &'a [T], value: impl Fn(&'a T) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}
