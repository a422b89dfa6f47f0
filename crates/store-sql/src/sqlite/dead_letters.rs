//! Dead letters.

use async_trait::async_trait;
use postrider_model::{DeadLetter, DeadLetterId, Timestamp};
use postrider_store::{
    DeadLetterFilter, DeadLetters, HistoryKey, Page, StoreError, StoredDeadLetter,
};
use sqlx::{QueryBuilder, Sqlite};

use super::insert::{Insert, Values};
use super::{IDS_AT_ONCE, SqliteStore, push_ids, push_window};
use crate::columns::{Columns, blob};
use crate::error::{signed, store_error};
use crate::metrics::{Operation, RowKind, Skipped};
use crate::rows;
use crate::window::Window;

static LETTERS: Insert = Insert::new(
    "INSERT INTO dead_letters (id, died_at, app_id, endpoint_id, event_type, letter, payload_left_out)",
    7,
    "ON CONFLICT DO NOTHING",
);

pub(super) fn listing(
    filter: &DeadLetterFilter,
    window: &Window<HistoryKey>,
) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(rows::DEAD_LETTERS);
    push_filter(&mut query, filter);
    push_window(&mut query, "died_at", window);
    query
}

fn counting(filter: &DeadLetterFilter) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("SELECT count(*) FROM dead_letters");
    push_filter(&mut query, filter);
    if let Some(after) = filter.after {
        query.push(" AND died_at > ").push_bind(after.as_millis());
    }
    if let Some(before) = filter.before {
        query.push(" AND died_at < ").push_bind(before.as_millis());
    }
    query
}

/// The narrowest index is chosen here: each gives the order, and a `+` hides a column from the planner.
fn push_filter(query: &mut QueryBuilder<Sqlite>, filter: &DeadLetterFilter) {
    query.push(" WHERE 1");
    if let Some(endpoint) = filter.endpoint_id {
        query.push(" AND endpoint_id = ").push_bind(blob(endpoint));
    }
    if let Some(application) = filter.app_id {
        let hidden = if filter.endpoint_id.is_some() {
            "+"
        } else {
            ""
        };
        query.push(format_args!(" AND {hidden}app_id = "));
        query.push_bind(blob(application));
    }
    if let Some(event_type) = &filter.event_type {
        query.push(" AND event_type = ");
        query.push_bind(event_type.as_str().to_owned());
    }
    if filter.only_replayable {
        query.push(" AND ").push(rows::IS_REPLAYABLE);
    }
}

fn bind_letter(values: &mut Values, letter: &DeadLetter) -> Result<(), StoreError> {
    let delivery = &letter.delivery;
    signed("generation", delivery.generation)?;
    values.push(blob(letter.id))?;
    values.push(letter.died_at.as_millis())?;
    values.push(blob(delivery.app_id))?;
    values.push(blob(delivery.endpoint_id))?;
    values.push(delivery.event_type.as_str())?;
    values.push(Vec::from(letter.to_record().value))?;
    values.push(letter.payload_left_out)
}

#[async_trait]
impl DeadLetters for SqliteStore {
    async fn keep_dead_letters(&self, letters: &[DeadLetter]) -> Result<(), StoreError> {
        self.timed(Operation::DeadLetterWrite, async {
            let mut tx = self.begin().await?;
            LETTERS.run(&mut tx, letters, bind_letter).await?;
            tx.commit().await.map_err(store_error)?;
            let written = self.metrics.written.of(RowKind::DeadLetter);
            written.inc_by(letters.len() as u64);
            Ok(())
        })
        .await
    }

    async fn dead_letter(&self, id: DeadLetterId) -> Result<Option<StoredDeadLetter>, StoreError> {
        self.timed(Operation::DeadLetterRead, async {
            let mut query = QueryBuilder::new(rows::DEAD_LETTERS);
            query.push(" WHERE id = ").push_bind(blob(id));
            let row = query
                .build()
                .fetch_optional(&mut *self.reader().await?)
                .await
                .map_err(store_error)?;
            row.as_ref().map(rows::stored_dead_letter).transpose()
        })
        .await
    }

    async fn given_up(&self, ids: &[DeadLetterId]) -> Result<Vec<DeadLetterId>, StoreError> {
        self.timed(Operation::DeadLetterRead, async {
            let mut given_up = Vec::new();
            for ids in ids.chunks(IDS_AT_ONCE) {
                let mut query =
                    QueryBuilder::new("SELECT id FROM dead_letters WHERE replay_id IS NULL");
                push_ids(&mut query, ids.iter().map(|id| blob(*id)));
                let mut reader = self.reader().await?;
                let found = query.build().persistent(false).fetch_all(&mut *reader);
                for row in found.await.map_err(store_error)? {
                    given_up.push(row.some_id("id")?);
                }
            }
            Ok(given_up)
        })
        .await
    }

    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        page: &Page<HistoryKey>,
    ) -> Result<Vec<StoredDeadLetter>, StoreError> {
        self.timed(Operation::DeadLetterRead, async {
            let window = Window::of(page).between(filter.after, filter.before);
            let listed = self.listed(
                window,
                Skipped::DeadLetter,
                |window| listing(filter, window),
                rows::stored_dead_letter,
                |row| rows::history_key(row, "died_at"),
            );
            listed.await
        })
        .await
    }

    async fn count_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64, StoreError> {
        self.timed(Operation::DeadLetterRead, async {
            let mut query = counting(filter);
            let count: i64 = query
                .build_query_scalar()
                .fetch_one(&mut *self.reader().await?)
                .await
                .map_err(store_error)?;
            Ok(count.unsigned_abs())
        })
        .await
    }

    async fn delete_dead_letter(&self, id: DeadLetterId) -> Result<(), StoreError> {
        self.timed(Operation::DeadLetterWrite, async {
            let deleted = sqlx::query("DELETE FROM dead_letters WHERE id = ?")
                .bind(blob(id))
                .execute(&self.writer)
                .await
                .map_err(store_error)?;
            if deleted.rows_affected() == 0 {
                return Err(StoreError::NotFound("dead letter"));
            }
            Ok(())
        })
        .await
    }

    async fn delete_dead_letters(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let work = self.expunge_dead_letters(before, limit);
        self.timed(Operation::Retention, work).await
    }
}
