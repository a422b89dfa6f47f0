//! Replays.

use async_trait::async_trait;
use postrider_model::{AppId, DeadLetterId, ReplayId, Timestamp};
use postrider_store::{
    DeadLetterFilter, Page, Replay, ReplayStatus, ReplayStep, Replays, Selection, StoreError,
};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite, Transaction};

use super::{SqliteStore, push_simple_window};
use crate::columns::{Columns, blob, blob_of_ids};
use crate::error::{or_taken, signed, store_error};
use crate::metrics::{Operation, Skipped};
use crate::rows::{self, replay_columns};
use crate::window::Window;

const INSERT: &str = "INSERT INTO replays \
    (id, app_id, ids, filter_app_id, filter_endpoint_id, filter_event_type, filter_after, filter_before, \
     filter_only_unreplayed, rate, status, total, done, failed, cursor_at, cursor_id, requested_by, generation, \
     created_at, updated_at) \
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

const ONE: &str = concat!("SELECT ", replay_columns!(), " FROM replays WHERE id = ?");

/// The step that has the stored cursor was counted already. The comparison comes before the assignment: all right-hand
/// sides see the old row.
const ADVANCE: &str = concat!(
    "UPDATE replays SET \
    done = done + iif((cursor_at, cursor_id) IS (?, ?), 0, ?), \
    failed = failed + iif((cursor_at, cursor_id) IS (?, ?), 0, ?), \
    cursor_at = ?, cursor_id = ?, updated_at = ?, status = ?, lease_owner = ?, lease_until = ? \
    WHERE id = ? RETURNING ",
    replay_columns!()
);

const CLAIM: &str = concat!(
    "UPDATE replays SET lease_owner = ?, lease_until = ? WHERE id = \
    (SELECT id FROM replays WHERE status = 'running' AND (lease_until IS NULL OR lease_until <= ?) \
     ORDER BY id LIMIT 1) RETURNING ",
    replay_columns!()
);

const STATUS: &str = concat!(
    "UPDATE replays SET status = ?, updated_at = ? WHERE id = ? RETURNING ",
    replay_columns!()
);

pub(super) const OLD: &str = "DELETE FROM replays WHERE id IN (SELECT id FROM replays \
    WHERE status IN ('cancelled', 'done') AND updated_at < ? ORDER BY updated_at, id LIMIT ?)";

/// Dead letters marked or taken by one statement.
const MARKS: usize = 500;

pub(super) fn listing(app_id: Option<AppId>, window: &Window<ReplayId>) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(concat!(
        "SELECT ",
        replay_columns!(),
        " FROM replays WHERE "
    ));
    match app_id {
        Some(app_id) => query.push("app_id = ").push_bind(blob(app_id)),
        None => query.push("1"),
    };
    push_simple_window(&mut query, "id", window, |id| blob(*id));
    query
}

#[async_trait]
impl Replays for SqliteStore {
    async fn new_generation(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.timed(Operation::Replay, async {
            let given: i64 = sqlx::query_scalar(
                "UPDATE meta SET generation = max(generation + 1, ?) RETURNING generation",
            )
            .bind(now.as_millis())
            .fetch_one(&self.writer)
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
                .bind(blob(id))
                .fetch_optional(&mut *self.reader().await?)
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
                .fetch_optional(&self.writer)
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
                 WHERE id = ? AND lease_owner = ?",
            )
            .bind(blob(id))
            .bind(owner)
            .execute(&self.writer)
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
            let mut tx = self.begin().await?;
            let mut taken = Vec::with_capacity(letters.len());
            for part in letters.chunks(MARKS) {
                taken.extend(take(&mut tx, id, part, now).await?);
            }
            tx.commit().await.map_err(store_error)?;
            Ok(taken)
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
                .bind(blob(id))
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

impl SqliteStore {
    async fn put_replay(&self, replay: &Replay) -> Result<(), StoreError> {
        let everything = DeadLetterFilter::default();
        let (ids, filter) = match &replay.selection {
            Selection::Ids(ids) => (Some(blob_of_ids(ids)), &everything),
            Selection::Filter(filter) => (None, filter),
        };
        let event_type = filter.event_type.as_ref();
        sqlx::query(INSERT)
            .bind(blob(replay.id))
            .bind(replay.app_id.map(blob))
            .bind(ids)
            .bind(filter.app_id.map(blob))
            .bind(filter.endpoint_id.map(blob))
            .bind(event_type.map(|name| name.as_str().to_owned()))
            .bind(filter.after.map(Timestamp::as_millis))
            .bind(filter.before.map(Timestamp::as_millis))
            .bind(filter.only_replayable)
            .bind(replay.rate)
            .bind(replay.status.label())
            .bind(signed("total", replay.total)?)
            .bind(signed("done", replay.done)?)
            .bind(signed("failed", replay.failed)?)
            .bind(replay.cursor.map(|cursor| cursor.at.as_millis()))
            .bind(replay.cursor.map(|cursor| cursor.id.to_vec()))
            .bind(replay.requested_by.clone())
            .bind(signed("generation", replay.generation)?)
            .bind(replay.created_at.as_millis())
            .bind(replay.updated_at.as_millis())
            .execute(&self.writer)
            .await
            .map_err(or_taken("another replay has that id already"))?;
        Ok(())
    }
}

/// The row of a replay; `tx` has the write lock, so it stays as it is.
async fn locked(tx: &mut Transaction<'_, Sqlite>, id: ReplayId) -> Result<SqliteRow, StoreError> {
    let row = sqlx::query(ONE)
        .bind(blob(id))
        .fetch_optional(&mut **tx)
        .await
        .map_err(store_error)?;
    row.ok_or(StoreError::NotFound("replay"))
}

/// Keeps why a replay was paused, or forgets it.
async fn set_halt(
    tx: &mut Transaction<'_, Sqlite>,
    id: ReplayId,
    because: Option<&str>,
) -> Result<(), StoreError> {
    let forgotten = sqlx::query("DELETE FROM replay_halts WHERE replay_id = ?").bind(blob(id));
    forgotten.execute(&mut **tx).await.map_err(store_error)?;
    let Some(why) = because else { return Ok(()) };
    let kept = sqlx::query("INSERT INTO replay_halts (replay_id, why) VALUES (?, ?)");
    let kept = kept.bind(blob(id)).bind(why.to_owned());
    kept.execute(&mut **tx).await.map_err(store_error)?;
    Ok(())
}

async fn write_step(
    tx: &mut Transaction<'_, Sqlite>,
    id: ReplayId,
    step: &ReplayStep,
    status: ReplayStatus,
    now: Timestamp,
    lease: Option<(&str, Timestamp)>,
) -> Result<SqliteRow, StoreError> {
    let (at, key) = (step.cursor.at.as_millis(), step.cursor.id.to_vec());
    let published = i64::try_from(step.published.len()).unwrap_or(i64::MAX);
    sqlx::query(ADVANCE)
        .bind(at)
        .bind(key.clone())
        .bind(published)
        .bind(at)
        .bind(key.clone())
        .bind(signed("failed", step.failed)?)
        .bind(at)
        .bind(key)
        .bind(now.as_millis())
        .bind(status.label())
        .bind(lease.map(|(owner, _)| owner))
        .bind(lease.map(|(_, until)| until.as_millis()))
        .bind(blob(id))
        .fetch_one(&mut **tx)
        .await
        .map_err(store_error)
}

/// Takes those of `ids` that no other replay has which is still to end or may be at its last step; and that no other
/// published since this one was made, or ever, if it takes only what none has. Judged as they are in this statement.
async fn take(
    tx: &mut Transaction<'_, Sqlite>,
    replay: ReplayId,
    ids: &[DeadLetterId],
    now: Timestamp,
) -> Result<Vec<DeadLetterId>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new("UPDATE dead_letters SET taken_by = ");
    query.push_bind(blob(replay));
    push_ids(&mut query, ids);
    query.push(" AND NOT EXISTS (SELECT 1 FROM replays AS other WHERE other.id = taken_by AND other.id <> ");
    query.push_bind(blob(replay));
    query.push(" AND (other.status NOT IN ('cancelled', 'done') OR other.lease_until > ");
    query.push_bind(now.as_millis());
    query.push(")) AND EXISTS (SELECT 1 FROM replays AS own WHERE own.id = ");
    query.push_bind(blob(replay));
    query.push(" AND (replay_id IS NULL OR replay_id = own.id OR (NOT own.filter_only_unreplayed");
    query.push(" AND replayed_at < own.created_at))) RETURNING id");
    let found = query.build().persistent(false).fetch_all(&mut **tx).await;
    let found = found.map_err(store_error)?;
    found.iter().map(|row| row.some_id("id")).collect()
}

fn push_ids(query: &mut QueryBuilder<Sqlite>, ids: &[DeadLetterId]) {
    query.push(" WHERE id IN (");
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(blob(*id));
    }
    query.push(")");
}

/// Marks what a replay has published.
async fn mark(
    tx: &mut Transaction<'_, Sqlite>,
    replay: ReplayId,
    published: &[DeadLetterId],
    now: Timestamp,
) -> Result<(), StoreError> {
    for ids in published.chunks(MARKS) {
        let mut query = QueryBuilder::<Sqlite>::new("UPDATE dead_letters SET replay_id = ");
        query.push_bind(blob(replay));
        query.push(", replayed_at = ").push_bind(now.as_millis());
        push_ids(&mut query, ids);
        let marked = query.build().persistent(false).execute(&mut **tx);
        marked.await.map_err(store_error)?;
    }
    Ok(())
}
