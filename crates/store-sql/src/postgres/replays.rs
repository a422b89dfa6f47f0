//! Replays.

use async_trait::async_trait;
use postrider_model::{AppId, DeadLetterId, ReplayId, Timestamp};
use postrider_store::{
    DeadLetterFilter, Page, Replay, ReplayStatus, ReplayStep, Replays, Selection, StoreError,
};
use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder, Transaction};
use uuid::Uuid;

use super::errors::{or_taken, store_error};
use super::{PostgresStore, push_simple_window, uuid, uuids};
use crate::columns::{Columns, blob_of_ids};
use crate::error::signed;
use crate::metrics::{Operation, Skipped};
use crate::rows::{self, replay_columns};
use crate::window::Window;

const INSERT: &str = "INSERT INTO replays \
    (id, app_id, ids, filter_app_id, filter_endpoint_id, filter_event_type, filter_after, filter_before, \
     filter_only_unreplayed, rate, status, total, done, failed, cursor_at, cursor_id, requested_by, generation, \
     created_at, updated_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)";

const ONE: &str = concat!("SELECT ", replay_columns!(), " FROM replays WHERE id = $1");

/// The step that has the stored cursor was counted already: all right-hand sides see the old row.
const ADVANCE: &str = concat!(
    "UPDATE replays SET \
    done = done + CASE WHEN (cursor_at, cursor_id) IS NOT DISTINCT FROM ($1, $2) THEN 0 ELSE $3 END, \
    failed = failed + CASE WHEN (cursor_at, cursor_id) IS NOT DISTINCT FROM ($1, $2) THEN 0 ELSE $4 END, \
    cursor_at = $1, cursor_id = $2, updated_at = $5, status = $6, lease_owner = $7, lease_until = $8 \
    WHERE id = $9 RETURNING ",
    replay_columns!()
);

/// One that somebody else is just claiming or changing is not waited for.
const CLAIM: &str = concat!(
    "UPDATE replays SET lease_owner = $1, lease_until = $2 WHERE id = \
    (SELECT id FROM replays WHERE status = 'running' AND (lease_until IS NULL OR lease_until <= $3) \
     ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING ",
    replay_columns!()
);

/// In one order, so that two replays do not wait for each other. Who holds the rows is judged by the statement behind this
/// one: it sees what was committed while this one waited.
const LOCK: &str = "SELECT id FROM dead_letters WHERE id = ANY($1) ORDER BY id FOR UPDATE";

/// Those that no other replay has which is still to end or may be at its last step; and that no other published since this
/// one was made, or ever, if it takes only what none has.
const TAKE: &str = "UPDATE dead_letters SET taken_by = $1 WHERE id = ANY($2) AND NOT EXISTS \
    (SELECT 1 FROM replays AS other WHERE other.id = taken_by AND other.id <> $1 \
     AND (other.status NOT IN ('cancelled', 'done') OR other.lease_until > $3)) \
    AND EXISTS (SELECT 1 FROM replays AS own WHERE own.id = $1 AND (replay_id IS NULL OR replay_id = $1 \
     OR (NOT own.filter_only_unreplayed AND replayed_at < own.created_at))) RETURNING id";

const STATUS: &str = concat!(
    "UPDATE replays SET status = $1, updated_at = $2 WHERE id = $3 RETURNING ",
    replay_columns!()
);

pub(super) const OLD: &str = "DELETE FROM replays WHERE id = ANY(ARRAY(SELECT id FROM replays \
    WHERE status IN ('cancelled', 'done') AND updated_at < $1 ORDER BY updated_at, id LIMIT $2))";

pub(super) fn listing(app_id: Option<AppId>, window: &Window<ReplayId>) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new(concat!(
        "SELECT ",
        replay_columns!(),
        " FROM replays WHERE "
    ));
    match app_id {
        Some(app_id) => query.push("app_id = ").push_bind(uuid(app_id)),
        None => query.push("true"),
    };
    push_simple_window(&mut query, "id", window, |id| uuid(*id));
    query
}

#[async_trait]
impl Replays for PostgresStore {
    async fn new_generation(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.timed(Operation::Replay, async {
            let given: i64 = sqlx::query_scalar(
                "UPDATE meta SET generation = greatest(generation + 1, $1) RETURNING generation",
            )
            .bind(now.as_millis())
            .fetch_one(&self.pool)
            .await
            .map_err(store_error)?;
            Ok(given.unsigned_abs())
        })
        .await
    }

    async fn insert_replay(&self, replay: &Replay) -> Result<(), StoreError> {
        self.timed(Operation::Replay, self.put_replay(replay)).await
    }

    async fn replay(&self, id: ReplayId) -> Result<Option<Replay>, StoreError> {
        self.timed(Operation::Replay, async {
            let row = sqlx::query(ONE)
                .bind(uuid(id))
                .fetch_optional(&self.pool)
                .await
                .map_err(store_error)?;
            row.as_ref().map(rows::replay).transpose()
        })
        .await
    }

    async fn replays(
        &self,
        app_id: Option<AppId>,
        page: &Page<ReplayId>,
    ) -> Result<Vec<Replay>, StoreError> {
        self.timed(Operation::Replay, async {
            let listed = self.listed(
                Window::of(page),
                Skipped::Replay,
                |window| listing(app_id, window),
                rows::replay,
                |row| row.some_id("id"),
            );
            listed.await
        })
        .await
    }

    async fn claim_replay(
        &self,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Replay>, StoreError> {
        self.timed(Operation::Replay, async {
            let row = sqlx::query(CLAIM)
                .bind(owner)
                .bind(until.as_millis())
                .bind(now.as_millis())
                .fetch_optional(&self.pool)
                .await
                .map_err(store_error)?;
            row.as_ref().map(rows::replay).transpose()
        })
        .await
    }

    async fn release_replay(&self, id: ReplayId, owner: &str) -> Result<(), StoreError> {
        self.timed(Operation::Replay, async {
            sqlx::query(
                "UPDATE replays SET lease_owner = NULL, lease_until = NULL \
                 WHERE id = $1 AND lease_owner = $2",
            )
            .bind(uuid(id))
            .bind(owner)
            .execute(&self.pool)
            .await
            .map_err(store_error)?;
            Ok(())
        })
        .await
    }

    async fn take_dead_letters(
        &self,
        id: ReplayId,
        letters: &[DeadLetterId],
        now: Timestamp,
    ) -> Result<Vec<DeadLetterId>, StoreError> {
        self.timed(Operation::Replay, async {
            let (mut tx, letters) = (self.begin().await?, uuids(letters));
            let locked = sqlx::query(LOCK).bind(&letters).execute(&mut *tx).await;
            locked.map_err(store_error)?;
            let taken = sqlx::query(TAKE)
                .bind(uuid(id))
                .bind(&letters)
                .bind(now.as_millis())
                .fetch_all(&mut *tx)
                .await
                .map_err(store_error)?;
            tx.commit().await.map_err(store_error)?;
            taken.iter().map(|row| row.some_id("id")).collect()
        })
        .await
    }

    async fn advance_replay(
        &self,
        id: ReplayId,
        owner: &str,
        step: &ReplayStep,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Replay, StoreError> {
        self.timed(Operation::Replay, async {
            let mut tx = self.begin().await?;
            let held = locked(&mut tx, id).await?;
            if held.text("lease_owner")? != Some(owner) {
                return Err(StoreError::Conflict(
                    "the lease of the replay is another's".into(),
                ));
            }
            let status = match rows::replay(&held)?.status {
                ReplayStatus::Running | ReplayStatus::Paused if step.finished => ReplayStatus::Done,
                status => status,
            };
            let lease = (status == ReplayStatus::Running).then_some((owner, until));
            let row = write_step(&mut tx, id, step, status, now, lease).await?;
            mark(&mut tx, id, &step.published, now).await?;
            tx.commit().await.map_err(store_error)?;
            rows::replay(&row)
        })
        .await
    }

    async fn set_replay_status(
        &self,
        id: ReplayId,
        from: &[ReplayStatus],
        to: ReplayStatus,
        because: Option<&str>,
        now: Timestamp,
    ) -> Result<Replay, StoreError> {
        self.timed(Operation::Replay, async {
            let mut tx = self.begin().await?;
            let status = rows::replay(&locked(&mut tx, id).await?)?.status;
            if !from.contains(&status) {
                return Err(StoreError::Conflict(format!(
                    "the replay is {} already",
                    status.label()
                )));
            }
            if status != to {
                set_halt(&mut tx, id, because).await?;
            }
            let row = sqlx::query(STATUS)
                .bind(to.label())
                .bind(now.as_millis())
                .bind(uuid(id))
                .fetch_one(&mut *tx)
                .await
                .map_err(store_error)?;
            tx.commit().await.map_err(store_error)?;
            rows::replay(&row)
        })
        .await
    }

    async fn delete_replays(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let work = self.expunge(OLD, before, limit);
        self.timed(Operation::Retention, work).await
    }
}

impl PostgresStore {
    async fn put_replay(&self, replay: &Replay) -> Result<(), StoreError> {
        let everything = DeadLetterFilter::default();
        let (ids, filter) = match &replay.selection {
            Selection::Ids(ids) => (Some(blob_of_ids(ids)), &everything),
            Selection::Filter(filter) => (None, filter),
        };
        let event_type = filter.event_type.as_ref();
        sqlx::query(INSERT)
            .bind(uuid(replay.id))
            .bind(replay.app_id.map(uuid))
            .bind(ids)
            .bind(filter.app_id.map(uuid))
            .bind(filter.endpoint_id.map(uuid))
            .bind(event_type.map(|name| name.as_str()))
            .bind(filter.after.map(Timestamp::as_millis))
            .bind(filter.before.map(Timestamp::as_millis))
            .bind(filter.only_replayable)
            .bind(i64::from(replay.rate))
            .bind(replay.status.label())
            .bind(signed("total", replay.total)?)
            .bind(signed("done", replay.done)?)
            .bind(signed("failed", replay.failed)?)
            .bind(replay.cursor.map(|cursor| cursor.at.as_millis()))
            .bind(replay.cursor.map(|cursor| Uuid::from_bytes(cursor.id)))
            .bind(&replay.requested_by)
            .bind(signed("generation", replay.generation)?)
            .bind(replay.created_at.as_millis())
            .bind(replay.updated_at.as_millis())
            .execute(&self.pool)
            .await
            .map_err(or_taken("another replay has that id already"))?;
        Ok(())
    }
}

/// The row of a replay, which stays as it is until `tx` ends.
async fn locked(tx: &mut Transaction<'_, Postgres>, id: ReplayId) -> Result<PgRow, StoreError> {
    let row = sqlx::query(concat!(
        "SELECT ",
        replay_columns!(),
        " FROM replays WHERE id = $1 FOR UPDATE"
    ))
    .bind(uuid(id))
    .fetch_optional(&mut **tx)
    .await
    .map_err(store_error)?;
    row.ok_or(StoreError::NotFound("replay"))
}

/// Keeps why a replay was paused, or forgets it.
async fn set_halt(
    tx: &mut Transaction<'_, Postgres>,
    id: ReplayId,
    because: Option<&str>,
) -> Result<(), StoreError> {
    let forgotten = sqlx::query("DELETE FROM replay_halts WHERE replay_id = $1").bind(uuid(id));
    forgotten.execute(&mut **tx).await.map_err(store_error)?;
    let Some(why) = because else { return Ok(()) };
    let kept = sqlx::query("INSERT INTO replay_halts (replay_id, why) VALUES ($1, $2)");
    let kept = kept.bind(uuid(id)).bind(why);
    kept.execute(&mut **tx).await.map_err(store_error)?;
    Ok(())
}

async fn write_step(
    tx: &mut Transaction<'_, Postgres>,
    id: ReplayId,
    step: &ReplayStep,
    status: ReplayStatus,
    now: Timestamp,
    lease: Option<(&str, Timestamp)>,
) -> Result<PgRow, StoreError> {
    sqlx::query(ADVANCE)
        .bind(step.cursor.at.as_millis())
        .bind(Uuid::from_bytes(step.cursor.id))
        .bind(i64::try_from(step.published.len()).unwrap_or(i64::MAX))
        .bind(signed("failed", step.failed)?)
        .bind(now.as_millis())
        .bind(status.label())
        .bind(lease.map(|(owner, _)| owner))
        .bind(lease.map(|(_, until)| until.as_millis()))
        .bind(uuid(id))
        .fetch_one(&mut **tx)
        .await
        .map_err(store_error)
}

/// Marks what a replay has published.
async fn mark(
    tx: &mut Transaction<'_, Postgres>,
    replay: ReplayId,
    published: &[DeadLetterId],
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE dead_letters SET replay_id = $1, replayed_at = $2 WHERE id = ANY($3)")
        .bind(uuid(replay))
        .bind(now.as_millis())
        .bind(uuids(published))
        .execute(&mut **tx)
        .await
        .map_err(store_error)?;
    Ok(())
}
