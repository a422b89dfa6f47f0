//! Event types.

use async_trait::async_trait;
use postrider_model::EventType;
use postrider_store::{EventTypeInfo, EventTypes, Page, StoreError};
use sqlx::{QueryBuilder, Sqlite, Transaction};

use super::feed::bury;
use super::{SqliteStore, push_simple_window};
use crate::error::{or_taken, store_error, unchanged};
use crate::metrics::Operation;
use crate::rows::{self, RemovedKind, read_all};
use crate::window::Window;

const TAKEN: &str = "another event type has that name already";

// The same columns in the same order: one function binds both.
const INSERT: &str = "INSERT INTO event_types \
    (description, archived, deprecated, schemas, feature_flag, version, created_at, updated_at, name) \
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *";
const UPDATE: &str = "UPDATE event_types SET \
    description = ?, archived = ?, deprecated = ?, schemas = ?, feature_flag = ?, version = ?, created_at = ?, \
    updated_at = ? WHERE name = ? RETURNING *";

pub(super) fn listing(archived: bool, window: &Window<EventType>) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("SELECT * FROM event_types WHERE ");
    query.push(if archived { "1" } else { "archived = 0" });
    push_simple_window(&mut query, "name", window, |name| name.as_str().to_owned());
    query
}

#[async_trait]
impl EventTypes for SqliteStore {
    async fn insert_event_type(
        &self,
        event_type: &EventTypeInfo,
    ) -> Result<EventTypeInfo, StoreError> {
        self.timed(Operation::ConfigWrite, async {
            let tx = self.begin().await?;
            self.put_event_type(tx, INSERT, event_type).await
        })
        .await
    }

    async fn replace_event_type(
        &self,
        event_type: &EventTypeInfo,
    ) -> Result<EventTypeInfo, StoreError> {
        self.timed(Operation::ConfigWrite, async {
            let mut tx = self.begin().await?;
            let stored: Option<i64> =
                sqlx::query_scalar("SELECT version FROM event_types WHERE name = ?")
                    .bind(event_type.name.as_str().to_owned())
                    .fetch_optional(&mut *tx)
                    .await
                    .map_err(store_error)?;
            unchanged(stored, event_type.version, "event type")?;
            self.put_event_type(tx, UPDATE, event_type).await
        })
        .await
    }

    async fn delete_event_type(&self, name: &EventType) -> Result<(), StoreError> {
        self.timed(Operation::ConfigWrite, async {
            let mut tx = self.begin().await?;
            let deleted = sqlx::query("DELETE FROM event_types WHERE name = ?")
                .bind(name.as_str().to_owned())
                .execute(&mut *tx)
                .await
                .map_err(store_error)?;
            if deleted.rows_affected() == 0 {
                return Err(StoreError::NotFound("event type"));
            }
            let version = self.next_version(&mut tx, 1).await?;
            let id = name.as_str().as_bytes().to_vec();
            bury(&mut tx, version, RemovedKind::EventType, None, id).await?;
            self.publish(tx, version).await
        })
        .await
    }

    async fn event_type(&self, name: &EventType) -> Result<Option<EventTypeInfo>, StoreError> {
        self.timed(Operation::ConfigRead, async {
            let row = sqlx::query("SELECT * FROM event_types WHERE name = ?")
                .bind(name.as_str().to_owned())
                .fetch_optional(&mut *self.reader().await?)
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
            let found = query.build().fetch_all(&mut *self.reader().await?).await;
            let found = read_all(&found.map_err(store_error)?, rows::event_type)?;
            Ok(window.arrange(found))
        })
        .await
    }
}

impl SqliteStore {
    async fn put_event_type(
        &self,
        mut tx: Transaction<'_, Sqlite>,
        statement: &'static str,
        event_type: &EventTypeInfo,
    ) -> Result<EventTypeInfo, StoreError> {
        let version = self.next_version(&mut tx, 1).await?;
        let row = sqlx::query(statement)
            .bind(event_type.description.clone())
            .bind(event_type.archived)
            .bind(event_type.deprecated)
            .bind(event_type.schemas.clone())
            .bind(event_type.feature_flag.clone())
            .bind(version)
            .bind(event_type.created_at.as_millis())
            .bind(event_type.updated_at.as_millis())
            .bind(event_type.name.as_str().to_owned())
            .fetch_one(&mut *tx)
            .await
            .map_err(or_taken(TAKEN))?;
        let stored = rows::event_type(&row)?;
        self.publish(tx, version).await?;
        Ok(stored)
    }
}
