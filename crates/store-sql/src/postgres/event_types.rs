//! Event types.

use async_trait::async_trait;
use postrider_model::EventType;
use postrider_store::{EventTypeInfo, EventTypes, Page, StoreError};
use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder};

use super::applications::not_replaced;
use super::errors::{or_taken, store_error};
use super::{PostgresStore, push_simple_window};
use crate::error::signed;
use crate::metrics::Operation;
use crate::rows::{self, read_all};
use crate::window::Window;

const TAKEN: &str = "another event type has that name already";

// The same columns in the same order: one function binds both. See feed.rs for the version.
const INSERT: &str = "WITH next AS (UPDATE meta SET version = version + 1 RETURNING version) \
    INSERT INTO event_types \
    (name, description, archived, deprecated, schemas, feature_flag, created_at, updated_at, version) \
    SELECT $1, $2, $3, $4, $5, $6, $7, $8, next.version FROM next RETURNING *";
const UPDATE: &str = "WITH next AS (UPDATE meta SET version = version + 1 \
        WHERE EXISTS (SELECT 1 FROM event_types WHERE name = $1 AND version = $9) RETURNING version) \
    UPDATE event_types SET description = $2, archived = $3, deprecated = $4, schemas = $5, feature_flag = $6, \
        created_at = $7, updated_at = $8, version = next.version \
    FROM next WHERE name = $1 AND event_types.version = $9 RETURNING event_types.*";
const DELETE: &str = "WITH next AS (UPDATE meta SET version = version + 1 \
        WHERE EXISTS (SELECT 1 FROM event_types WHERE name = $1) RETURNING version), \
    gone AS (DELETE FROM event_types USING next WHERE name = $1 RETURNING name, next.version) \
    INSERT INTO removed (version, kind, id) SELECT version, 'event_type', convert_to(name, 'UTF8') FROM gone";

pub(super) fn listing(archived: bool, window: &Window<EventType>) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new("SELECT * FROM event_types WHERE ");
    query.push(if archived { "true" } else { "NOT archived" });
    push_simple_window(&mut query, "name", window, |name| name.as_str().to_owned());
    query
}

#[async_trait]
impl EventTypes for PostgresStore {
    async fn insert_event_type(
        &self,
        event_type: &EventTypeInfo,
    ) -> Result<EventTypeInfo, StoreError> {
        self.timed(Operation::ConfigWrite, async {
            let made = self.put_event_type(INSERT, event_type, None).await?;
            let made = made.ok_or_else(|| StoreError::Unavailable("no row came back".into()))?;
            rows::event_type(&made)
        })
        .await
    }

    async fn replace_event_type(
        &self,
        event_type: &EventTypeInfo,
    ) -> Result<EventTypeInfo, StoreError> {
        self.timed(Operation::ConfigWrite, async {
            let known = Some(signed("version", event_type.version)?);
            match self.put_event_type(UPDATE, event_type, known).await? {
                Some(changed) => rows::event_type(&changed),
                None => Err(self.why_not_event_type(event_type).await),
            }
        })
        .await
    }

    async fn delete_event_type(&self, name: &EventType) -> Result<(), StoreError> {
        self.timed(Operation::ConfigWrite, async {
            let deleted = sqlx::query(DELETE)
                .bind(name.as_str())
                .execute(&self.pool)
                .await
                .map_err(store_error)?;
            if deleted.rows_affected() == 0 {
                return Err(StoreError::NotFound("event type"));
            }
            Ok(())
        })
        .await
    }

    async fn event_type(&self, name: &EventType) -> Result<Option<EventTypeInfo>, StoreError> {
        self.timed(Operation::ConfigRead, async {
            let row = sqlx::query("SELECT * FROM event_types WHERE name = $1")
                .bind(name.as_str())
                .fetch_optional(&self.pool)
                .await
                .map_err(store_error)?;
            row.as_ref().map(rows::event_type).transpose()
        })
        .await
    }

    async fn event_types(
        &self,
        archived: bool,
        page: &Page<EventType>,
    ) -> Result<Vec<EventTypeInfo>, StoreError> {
        self.timed(Operation::ConfigRead, async {
            let window = Window::of(page);
            let mut query = listing(archived, &window);
            let found = query.build().fetch_all(&self.pool).await;
            let found = read_all(&found.map_err(store_error)?, rows::event_type)?;
            Ok(window.arrange(found))
        })
        .await
    }
}

impl PostgresStore {
    /// `known` is the version that is replaced.
    async fn put_event_type(
        &self,
        statement: &'static str,
        event_type: &EventTypeInfo,
        known: Option<i64>,
    ) -> Result<Option<PgRow>, StoreError> {
        let mut query = sqlx::query(statement)
            .bind(event_type.name.as_str())
            .bind(&event_type.description)
            .bind(event_type.archived)
            .bind(event_type.deprecated)
            .bind(&event_type.schemas)
            .bind(&event_type.feature_flag)
            .bind(event_type.created_at.as_millis())
            .bind(event_type.updated_at.as_millis());
        if let Some(known) = known {
            query = query.bind(known);
        }
        let row = query.fetch_optional(&self.pool).await;
        row.map_err(or_taken(TAKEN))
    }

    /// Why one was not replaced.
    async fn why_not_event_type(&self, event_type: &EventTypeInfo) -> StoreError {
        let query = sqlx::query_scalar("SELECT version FROM event_types WHERE name = $1");
        let stored = query.bind(event_type.name.as_str());
        match stored.fetch_optional(&self.pool).await {
            Ok(stored) => not_replaced(stored, event_type.version, "event type"),
            Err(error) => store_error(error),
        }
    }
}
