//! Endpoints.

use async_trait::async_trait;
use postrider_model::{AppId, Endpoint, EndpointId};
use postrider_store::{EndpointRef, Endpoints, Page, StoreError};
use sqlx::{QueryBuilder, Sqlite, Transaction};

use super::feed::bury;
use super::{SqliteStore, push_simple_window};
use crate::columns::{blob, json};
use crate::error::{or_taken, store_error, unchanged};
use crate::metrics::Operation;
use crate::rows::{self, RemovedKind, disabled_label, read_all};
use crate::secrets;
use crate::window::Window;

const TAKEN: &str = "another endpoint of the application has that uid already, or that id";

// The same columns in the same order: one function binds both.
const INSERT: &str = "INSERT INTO endpoints \
    (uid, url, description, metadata, event_types, channels, disabled, rate_limit, max_in_flight, schedule, \
     timeout_ms, final_statuses, headers, secrets, version, created_at, updated_at, app_id, id) \
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *";
const UPDATE: &str = "UPDATE endpoints SET \
    uid = ?, url = ?, description = ?, metadata = ?, event_types = ?, channels = ?, disabled = ?, rate_limit = ?, \
    max_in_flight = ?, schedule = ?, timeout_ms = ?, final_statuses = ?, headers = ?, secrets = ?, version = ?, \
    created_at = ?, updated_at = ? WHERE app_id = ? AND id = ? RETURNING *";

pub(super) fn listing(app_id: AppId, window: &Window<EndpointId>) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("SELECT * FROM endpoints WHERE app_id = ");
    query.push_bind(blob(app_id));
    push_simple_window(&mut query, "id", window, |id| blob(*id));
    query
}

#[async_trait]
impl Endpoints for SqliteStore {
    async fn insert_endpoint(&self, endpoint: &Endpoint) -> Result<Endpoint, StoreError> {
        self.timed(Operation::ConfigWrite, async {
            let mut tx = self.begin().await?;
            let application: Option<i64> =
                sqlx::query_scalar("SELECT 1 FROM applications WHERE id = ?")
                    .bind(blob(endpoint.app_id))
                    .fetch_optional(&mut *tx)
                    .await
                    .map_err(store_error)?;
            if application.is_none() {
                return Err(StoreError::NotFound("application"));
            }
            self.put_endpoint(tx, INSERT, endpoint).await
        })
        .await
    }

    async fn replace_endpoint(&self, endpoint: &Endpoint) -> Result<Endpoint, StoreError> {
        self.timed(Operation::ConfigWrite, async {
            let mut tx = self.begin().await?;
            let stored: Option<i64> =
                sqlx::query_scalar("SELECT version FROM endpoints WHERE app_id = ? AND id = ?")
                    .bind(blob(endpoint.app_id))
                    .bind(blob(endpoint.id))
                    .fetch_optional(&mut *tx)
                    .await
                    .map_err(store_error)?;
            unchanged(stored, endpoint.version, "endpoint")?;
            self.put_endpoint(tx, UPDATE, endpoint).await
        })
        .await
    }

    async fn delete_endpoint(&self, app_id: AppId, id: EndpointId) -> Result<(), StoreError> {
        self.timed(Operation::ConfigWrite, async {
            let mut tx = self.begin().await?;
            let deleted = sqlx::query("DELETE FROM endpoints WHERE app_id = ? AND id = ?")
                .bind(blob(app_id))
                .bind(blob(id))
                .execute(&mut *tx)
                .await
                .map_err(store_error)?;
            if deleted.rows_affected() == 0 {
                return Err(StoreError::NotFound("endpoint"));
            }
            let version = self.next_version(&mut tx, 1).await?;
            bury(
                &mut tx,
                version,
                RemovedKind::Endpoint,
                Some(app_id),
                blob(id),
            )
            .await?;
            self.publish(tx, version).await
        })
        .await
    }

    async fn endpoint(
        &self,
        app_id: AppId,
        by: &EndpointRef,
    ) -> Result<Option<Endpoint>, StoreError> {
        self.timed(Operation::ConfigRead, async {
            let query = match by {
                EndpointRef::Id(id) => {
                    sqlx::query("SELECT * FROM endpoints WHERE app_id = ? AND id = ?")
                        .bind(blob(app_id))
                        .bind(blob(*id))
                }
                EndpointRef::Uid(uid) => {
                    sqlx::query("SELECT * FROM endpoints WHERE app_id = ? AND uid = ?")
                        .bind(blob(app_id))
                        .bind(uid.as_str().to_owned())
                }
            };
            let row = query.fetch_optional(&mut *self.reader().await?).await;
            let row = row.map_err(store_error)?;
            row.as_ref().map(rows::endpoint).transpose()
        })
        .await
    }

    async fn endpoints(
        &self,
        app_id: AppId,
        page: &Page<EndpointId>,
    ) -> Result<Vec<Endpoint>, StoreError> {
        self.timed(Operation::ConfigRead, async {
            let window = Window::of(page);
            let mut query = listing(app_id, &window);
            let found = query.build().fetch_all(&mut *self.reader().await?).await;
            let found = read_all(&found.map_err(store_error)?, rows::endpoint)?;
            Ok(window.arrange(found))
        })
        .await
    }
}

impl SqliteStore {
    async fn put_endpoint(
        &self,
        mut tx: Transaction<'_, Sqlite>,
        statement: &'static str,
        endpoint: &Endpoint,
    ) -> Result<Endpoint, StoreError> {
        let version = self.next_version(&mut tx, 1).await?;
        let policy = &endpoint.policy;
        let timeout_ms = policy.timeout.map(|timeout| timeout.as_millis());
        let row = sqlx::query(statement)
            .bind(endpoint.uid.as_ref().map(|uid| uid.as_str().to_owned()))
            .bind(endpoint.url.to_string())
            .bind(endpoint.description.clone())
            .bind(json(&endpoint.metadata)?)
            .bind(endpoint.event_types.as_ref().map(json).transpose()?)
            .bind(endpoint.channels.as_ref().map(json).transpose()?)
            .bind(endpoint.disabled.map(disabled_label))
            .bind(policy.rate_limit)
            .bind(policy.max_in_flight)
            .bind(policy.schedule.as_ref().map(ToString::to_string))
            .bind(timeout_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)))
            .bind(json(&policy.final_statuses)?)
            .bind(json(&policy.headers)?)
            .bind(secrets::encode(&endpoint.secrets)?)
            .bind(version)
            .bind(endpoint.created_at.as_millis())
            .bind(endpoint.updated_at.as_millis())
            .bind(blob(endpoint.app_id))
            .bind(blob(endpoint.id))
            .fetch_one(&mut *tx)
            .await
            .map_err(or_taken(TAKEN))?;
        let stored = rows::endpoint(&row)?;
        self.publish(tx, version).await?;
        Ok(stored)
    }
}
