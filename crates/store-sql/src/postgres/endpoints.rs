//! Endpoints.

use async_trait::async_trait;
use postrider_model::{AppId, Endpoint, EndpointId};
use postrider_store::{EndpointRef, Endpoints, Page, StoreError};
use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder};

use super::applications::not_replaced;
use super::errors::{breaks_a_reference, or_taken, store_error};
use super::{PostgresStore, push_simple_window, uuid};
use crate::columns::json;
use crate::error::signed;
use crate::metrics::Operation;
use crate::rows::{self, disabled_label, read_all};
use crate::secrets;
use crate::window::Window;

const TAKEN: &str = "another endpoint of the application has that uid already, or that id";

// The same columns in the same order: one function binds both. See feed.rs for the version.
const INSERT: &str = "WITH next AS (UPDATE meta SET version = version + 1 RETURNING version) \
    INSERT INTO endpoints \
    (id, app_id, uid, url, description, metadata, event_types, channels, disabled, rate_limit, max_in_flight, schedule, \
     timeout_ms, final_statuses, headers, secrets, created_at, updated_at, version) \
    SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, next.version FROM next \
    RETURNING *";
const UPDATE: &str = "WITH next AS (UPDATE meta SET version = version + 1 \
        WHERE EXISTS (SELECT 1 FROM endpoints WHERE id = $1 AND app_id = $2 AND version = $19) RETURNING version) \
    UPDATE endpoints SET uid = $3, url = $4, description = $5, metadata = $6, event_types = $7, channels = $8, \
        disabled = $9, rate_limit = $10, max_in_flight = $11, schedule = $12, timeout_ms = $13, final_statuses = $14, \
        headers = $15, secrets = $16, created_at = $17, updated_at = $18, version = next.version \
    FROM next WHERE id = $1 AND app_id = $2 AND endpoints.version = $19 RETURNING endpoints.*";
const DELETE: &str = "WITH next AS (UPDATE meta SET version = version + 1 \
        WHERE EXISTS (SELECT 1 FROM endpoints WHERE id = $1 AND app_id = $2) RETURNING version), \
    gone AS (DELETE FROM endpoints USING next WHERE id = $1 AND app_id = $2 RETURNING endpoints.id, next.version) \
    INSERT INTO removed (version, kind, app_id, id) SELECT version, 'endpoint', $2, uuid_send(id) FROM gone";

pub(super) fn listing(app_id: AppId, window: &Window<EndpointId>) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new("SELECT * FROM endpoints WHERE app_id = ");
    query.push_bind(uuid(app_id));
    push_simple_window(&mut query, "id", window, |id| uuid(*id));
    query
}

#[async_trait]
impl Endpoints for PostgresStore {
    async fn insert_endpoint(&self, endpoint: &Endpoint) -> Result<Endpoint, StoreError> {
        self.timed(Operation::ConfigWrite, async {
            let made = self.put_endpoint(INSERT, endpoint, None).await?;
            let made = made.ok_or_else(|| StoreError::Unavailable("no row came back".into()))?;
            rows::endpoint(&made)
        })
        .await
    }

    async fn replace_endpoint(&self, endpoint: &Endpoint) -> Result<Endpoint, StoreError> {
        self.timed(Operation::ConfigWrite, async {
            let known = Some(signed("version", endpoint.version)?);
            match self.put_endpoint(UPDATE, endpoint, known).await? {
                Some(changed) => rows::endpoint(&changed),
                None => Err(self.why_not_endpoint(endpoint).await),
            }
        })
        .await
    }

    async fn delete_endpoint(&self, app_id: AppId, id: EndpointId) -> Result<(), StoreError> {
        self.timed(Operation::ConfigWrite, async {
            let deleted = sqlx::query(DELETE)
                .bind(uuid(id))
                .bind(uuid(app_id))
                .execute(&self.pool)
                .await
                .map_err(store_error)?;
            if deleted.rows_affected() == 0 {
                return Err(StoreError::NotFound("endpoint"));
            }
            Ok(())
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
                    sqlx::query("SELECT * FROM endpoints WHERE app_id = $1 AND id = $2")
                        .bind(uuid(app_id))
                        .bind(uuid(*id))
                }
                EndpointRef::Uid(uid) => {
                    sqlx::query("SELECT * FROM endpoints WHERE app_id = $1 AND uid = $2")
                        .bind(uuid(app_id))
                        .bind(uid.as_str())
                }
            };
            let row = query.fetch_optional(&self.pool).await;
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
            let found = query.build().fetch_all(&self.pool).await;
            let found = read_all(&found.map_err(store_error)?, rows::endpoint)?;
            Ok(window.arrange(found))
        })
        .await
    }
}

impl PostgresStore {
    /// `known` is the version that is replaced.
    async fn put_endpoint(
        &self,
        statement: &'static str,
        endpoint: &Endpoint,
        known: Option<i64>,
    ) -> Result<Option<PgRow>, StoreError> {
        let policy = &endpoint.policy;
        let timeout_ms = policy.timeout.map(|timeout| timeout.as_millis());
        let mut query = sqlx::query(statement)
            .bind(uuid(endpoint.id))
            .bind(uuid(endpoint.app_id))
            .bind(endpoint.uid.as_ref().map(|uid| uid.as_str()))
            .bind(endpoint.url.as_str())
            .bind(&endpoint.description)
            .bind(json(&endpoint.metadata)?)
            .bind(endpoint.event_types.as_ref().map(json).transpose()?)
            .bind(endpoint.channels.as_ref().map(json).transpose()?)
            .bind(endpoint.disabled.map(disabled_label))
            .bind(policy.rate_limit.map(i64::from))
            .bind(policy.max_in_flight.map(i64::from))
            .bind(policy.schedule.as_ref().map(ToString::to_string))
            .bind(timeout_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)))
            .bind(json(&policy.final_statuses)?)
            .bind(json(&policy.headers)?)
            .bind(secrets::encode(&endpoint.secrets)?)
            .bind(endpoint.created_at.as_millis())
            .bind(endpoint.updated_at.as_millis());
        if let Some(known) = known {
            query = query.bind(known);
        }
        match query.fetch_optional(&self.pool).await {
            Err(error) if breaks_a_reference(&error) => Err(StoreError::NotFound("application")),
            done => done.map_err(or_taken(TAKEN)),
        }
    }

    /// Why one was not replaced.
    async fn why_not_endpoint(&self, endpoint: &Endpoint) -> StoreError {
        let query =
            sqlx::query_scalar("SELECT version FROM endpoints WHERE id = $1 AND app_id = $2");
        let stored = query.bind(uuid(endpoint.id)).bind(uuid(endpoint.app_id));
        match stored.fetch_optional(&self.pool).await {
            Ok(stored) => not_replaced(stored, endpoint.version, "endpoint"),
            Err(error) => store_error(error),
        }
    }
}
