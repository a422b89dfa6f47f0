//! Applications.

use async_trait::async_trait;
use postrider_model::AppId;
use postrider_store::{Application, ApplicationRef, Applications, Page, StoreError};
use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder};

use super::errors::{breaks_a_reference, or_taken, store_error};
use super::{PostgresStore, push_simple_window, uuid};
use crate::columns::json;
use crate::error::{signed, unchanged};
use crate::metrics::Operation;
use crate::rows::{self, read_all};
use crate::window::Window;

const TAKEN: &str = "another application has that uid or id already";

// The same columns in the same order: one function binds both. See feed.rs for the version.
const INSERT: &str = "WITH next AS (UPDATE meta SET version = version + 1 RETURNING version) \
    INSERT INTO applications (id, uid, name, metadata, rate_limit, created_at, updated_at, version) \
    SELECT $1, $2, $3, $4, $5, $6, $7, next.version FROM next RETURNING *";
const UPDATE: &str = "WITH next AS (UPDATE meta SET version = version + 1 \
        WHERE EXISTS (SELECT 1 FROM applications WHERE id = $1 AND version = $8) RETURNING version) \
    UPDATE applications SET uid = $2, name = $3, metadata = $4, rate_limit = $5, created_at = $6, updated_at = $7, \
        version = next.version \
    FROM next WHERE id = $1 AND applications.version = $8 RETURNING applications.*";

/// Each endpoint's removal is a change of its own, and has a version of its own.
const DELETE: &str = "WITH next AS (UPDATE meta SET version = version + 1 + \
            (SELECT count(*) FROM endpoints WHERE app_id = $1) \
        WHERE EXISTS (SELECT 1 FROM applications WHERE id = $1) RETURNING version), \
    without AS (DELETE FROM endpoints USING next WHERE app_id = $1 RETURNING endpoints.id, next.version), \
    gone AS (DELETE FROM applications USING next WHERE id = $1 RETURNING applications.id, next.version), \
    word AS (INSERT INTO removed (version, kind, app_id, id) \
        SELECT version - row_number() OVER (ORDER BY id), 'endpoint', $1, uuid_send(id) FROM without \
        UNION ALL SELECT version, 'application', NULL, uuid_send(id) FROM gone) \
    SELECT count(*) FROM gone";

/// How often an application is deleted while endpoints are being made in it.
const DELETIONS: usize = 5;

pub(super) fn listing(window: &Window<AppId>) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new("SELECT * FROM applications WHERE true");
    push_simple_window(&mut query, "id", window, |id| uuid(*id));
    query
}

#[async_trait]
impl Applications for PostgresStore {
    async fn insert_application(
        &self,
        application: &Application,
    ) -> Result<Application, StoreError> {
        self.timed(Operation::ConfigWrite, async {
            let made = self.put_application(INSERT, application, None).await?;
            let made = made.ok_or_else(|| StoreError::Unavailable("no row came back".into()))?;
            rows::application(&made)
        })
        .await
    }

    async fn replace_application(
        &self,
        application: &Application,
    ) -> Result<Application, StoreError> {
        self.timed(Operation::ConfigWrite, async {
            let known = Some(signed("version", application.version)?);
            match self.put_application(UPDATE, application, known).await? {
                Some(changed) => rows::application(&changed),
                None => Err(self.why_not_application(application).await),
            }
        })
        .await
    }

    async fn delete_application(&self, id: AppId) -> Result<(), StoreError> {
        self.timed(Operation::ConfigWrite, async {
            for _ in 0..DELETIONS {
                let query = sqlx::query_scalar(DELETE).bind(uuid(id));
                let deleted: Result<i64, _> = query.fetch_one(&self.pool).await;
                match deleted {
                    // An endpoint was made that this statement could not see; the next one can.
                    Err(error) if breaks_a_reference(&error) => {}
                    Err(error) => return Err(store_error(error)),
                    Ok(0) => return Err(StoreError::NotFound("application")),
                    Ok(_) => return Ok(()),
                }
            }
            Err(StoreError::Unavailable(
                "endpoints are being made in the application".into(),
            ))
        })
        .await
    }

    async fn application(&self, by: &ApplicationRef) -> Result<Option<Application>, StoreError> {
        self.timed(Operation::ConfigRead, async {
            let query = match by {
                ApplicationRef::Id(id) => {
                    sqlx::query("SELECT * FROM applications WHERE id = $1").bind(uuid(*id))
                }
                ApplicationRef::Uid(uid) => {
                    sqlx::query("SELECT * FROM applications WHERE uid = $1").bind(uid.as_str())
                }
            };
            let row = query.fetch_optional(&self.pool).await;
            let row = row.map_err(store_error)?;
            row.as_ref().map(rows::application).transpose()
        })
        .await
    }

    async fn applications(&self, page: &Page<AppId>) -> Result<Vec<Application>, StoreError> {
        self.timed(Operation::ConfigRead, async {
            let window = Window::of(page);
            let mut query = listing(&window);
            let found = query.build().fetch_all(&self.pool).await;
            let found = read_all(&found.map_err(store_error)?, rows::application)?;
            Ok(window.arrange(found))
        })
        .await
    }
}

impl PostgresStore {
    /// `known` is the version that is replaced.
    async fn put_application(
        &self,
        statement: &'static str,
        application: &Application,
        known: Option<i64>,
    ) -> Result<Option<PgRow>, StoreError> {
        let mut query = sqlx::query(statement)
            .bind(uuid(application.id))
            .bind(application.uid.as_ref().map(|uid| uid.as_str()))
            .bind(&application.name)
            .bind(json(&application.metadata)?)
            .bind(application.rate_limit.map(i64::from))
            .bind(application.created_at.as_millis())
            .bind(application.updated_at.as_millis());
        if let Some(known) = known {
            query = query.bind(known);
        }
        let row = query.fetch_optional(&self.pool).await;
        row.map_err(or_taken(TAKEN))
    }

    /// Why one was not replaced.
    async fn why_not_application(&self, application: &Application) -> StoreError {
        let query = sqlx::query_scalar("SELECT version FROM applications WHERE id = $1");
        let stored = query.bind(uuid(application.id));
        match stored.fetch_optional(&self.pool).await {
            Ok(stored) => not_replaced(stored, application.version, "application"),
            Err(error) => store_error(error),
        }
    }
}

/// Why a thing was not replaced, of which the version `stored` is there now.
pub(super) fn not_replaced(stored: Option<i64>, given: u64, what: &'static str) -> StoreError {
    match unchanged(stored, given, what) {
        Err(error) => error,
        // It went and came back between two statements, which no version does.
        Ok(()) => StoreError::Unavailable(format!("the {what} is being changed")),
    }
}
