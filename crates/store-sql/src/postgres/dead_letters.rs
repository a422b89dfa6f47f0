//! Dead letters.

use async_trait::async_trait;
use postrider_model::{DeadLetter, DeadLetterId, Timestamp};
use postrider_store::{
    DeadLetterFilter, DeadLetters, HistoryKey, Page, StoreError, StoredDeadLetter,
};
use sqlx::{Postgres, QueryBuilder};

use super::errors::store_error;
use super::{PostgresStore, push_window, uuid, uuids};
use crate::columns::Columns;
use crate::error::signed;
use crate::metrics::{Operation, RowKind, Skipped};
use crate::rows;
use crate::window::Window;

const KEEP: &str = "INSERT INTO dead_letters \
    (id, died_at, app_id, endpoint_id, event_type, letter, payload_left_out) \
    SELECT * FROM UNNEST($1::uuid[], $2::bigint[], $3::uuid[], $4::uuid[], $5::text[], $6::bytea[], $7::boolean[]) \
    ON CONFLICT DO NOTHING";

/// A condition: the letter says itself that its payload was left out. Its column may not: letters of before there was one
/// have `false` in it, and those that an older process writes beside this one. It is the last field that such a process
/// writes (7, a varint, true); the length keeps letters with a payload from being fetched for it.
const SAYS_LEFT_OUT: &str = "CASE WHEN octet_length(letter) BETWEEN 2 AND 4096 \
    THEN substring(letter FROM octet_length(letter) - 1) = '\\x3801'::bytea ELSE false END";

pub(super) fn listing(
    filter: &DeadLetterFilter,
    window: &Window<HistoryKey>,
) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new(rows::DEAD_LETTERS);
    push_filter(&mut query, filter);
    push_window(&mut query, "died_at", window);
    query
}

fn counting(filter: &DeadLetterFilter) -> QueryBuilder<Postgres> {
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

fn push_filter(query: &mut QueryBuilder<Postgres>, filter: &DeadLetterFilter) {
    query.push(" WHERE true");
    if let Some(endpoint) = filter.endpoint_id {
        query.push(" AND endpoint_id = ").push_bind(uuid(endpoint));
    }
    if let Some(application) = filter.app_id {
        query.push(" AND app_id = ").push_bind(uuid(application));
    }
    if let Some(event_type) = &filter.event_type {
        query.push(" AND event_type = ");
        query.push_bind(event_type.as_str().to_owned());
    }
    if filter.only_replayable {
        query.push(" AND ").push(rows::IS_REPLAYABLE);
        query.push(" AND NOT ").push(SAYS_LEFT_OUT);
    }
}

impl PostgresStore {
    async fn keep(&self, letters: &[DeadLetter]) -> Result<(), StoreError> {
        for letter in letters {
            signed("generation", letter.delivery.generation)?;
        }
        let column = |value: fn(&DeadLetter) -> uuid::Uuid| -> Vec<_> {
            letters.iter().map(value).collect()
        };
        let times = letters.iter().map(|letter| letter.died_at.as_millis());
        let event_types = letters
            .iter()
            .map(|letter| letter.delivery.event_type.as_str());
        let whole = letters
            .iter()
            .map(|letter| Vec::from(letter.to_record().value));
        let left_out = letters.iter().map(|letter| letter.payload_left_out);
        sqlx::query(KEEP)
            .bind(column(|letter| uuid(letter.id)))
            .bind(times.collect::<Vec<_>>())
            .bind(column(|letter| uuid(letter.delivery.app_id)))
            .bind(column(|letter| uuid(letter.delivery.endpoint_id)))
            .bind(event_types.collect::<Vec<_>>())
            .bind(whole.collect::<Vec<_>>())
            .bind(left_out.collect::<Vec<_>>())
            .execute(&self.pool)
            .await
            .map_err(store_error)?;
        let written = self.metrics.written.of(RowKind::DeadLetter);
        written.inc_by(letters.len() as u64);
        Ok(())
    }
}

#[async_trait]
impl DeadLetters for PostgresStore {
    async fn keep_dead_letters(&self, letters: &[DeadLetter]) -> Result<(), StoreError> {
        self.timed(Operation::DeadLetterWrite, self.keep(letters))
            .await
    }

    async fn dead_letter(&self, id: DeadLetterId) -> Result<Option<StoredDeadLetter>, StoreError> {
        self.timed(Operation::DeadLetterRead, async {
            let mut query = QueryBuilder::new(rows::DEAD_LETTERS);
            query.push(" WHERE id = ").push_bind(uuid(id));
            let row = query
                .build()
                .fetch_optional(&self.pool)
                .await
                .map_err(store_error)?;
            row.as_ref().map(rows::stored_dead_letter).transpose()
        })
        .await
    }

    async fn given_up(&self, ids: &[DeadLetterId]) -> Result<Vec<DeadLetterId>, StoreError> {
        self.timed(Operation::DeadLetterRead, async {
            let found =
                sqlx::query("SELECT id FROM dead_letters WHERE id = ANY($1) AND replay_id IS NULL")
                    .bind(uuids(ids))
                    .fetch_all(&self.pool)
                    .await
                    .map_err(store_error)?;
            found.iter().map(|row| row.some_id("id")).collect()
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
                .persistent(false)
                .fetch_one(&self.pool)
                .await
                .map_err(store_error)?;
            Ok(count.unsigned_abs())
        })
        .await
    }

    async fn delete_dead_letter(&self, id: DeadLetterId) -> Result<(), StoreError> {
        self.timed(Operation::DeadLetterWrite, async {
            let deleted = sqlx::query("DELETE FROM dead_letters WHERE id = $1")
                .bind(uuid(id))
                .execute(&self.pool)
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
