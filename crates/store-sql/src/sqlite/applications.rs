//! Applications.

use async_trait::async_trait;
use postrider_model::AppId;
use postrider_store::{Application, ApplicationRef, Applications, Page, StoreError};
use sqlx::{QueryBuilder, Sqlite, Transaction};

use super::feed::bury;
use super::{SqliteStore, push_simple_window};
use crate::columns::{Columns, blob, json};
use crate::error::{or_taken, store_error, unchanged};
use crate::metrics::Operation;
use crate::rows::{self, RemovedKind, read_all};
use crate::window::Window;

const TAKEN: &str = "another application has that uid or id already";

// The same columns in the same order: one function binds both.
const INSERT: &str = "INSERT INTO applications \
    (uid, name, metadata, rate_limit, version, created_at, updated_at, id) \
    VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING *";
const UPDATE: &str = "UPDATE applications SET \
    uid = ?, name = ?, metadata = ?, rate_limit = ?, version = ?, created_at = ?, updated_at = ? \
    WHERE id = ? RETURNING *";

pub(super) fn listing(window: &Window<AppId>) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("SELECT * FROM applications WHERE 1");
    push_simple_window(&mut query, "id", window, |id| blob(*id));
    query
}

#[async_trait]
impl Applications for SqliteStore {
    async fn insert_application(
        &self,
        application: &Application,
    ) -> Result<Application, StoreError> {
        self.timed(Operation::ConfigWrite, async {
            let tx = self.begin().await?;
            self.put_application(tx, INSERT, application).await
        })
        .await
    }

    async fn replace_application(
        &self,
        application: &Application,
    ) -> Result<Application, StoreError> {
        self.timed(Operation::ConfigWrite, async {
            let mut tx = self.begin().await?;
            let stored: Option<i64> =
                sqlx::query_scalar("SELECT version FROM applications WHERE id = ?")
                    .bind(blob(application.id))
                    .fetch_optional(&mut *tx)
                    .await
                    .map_err(store_error)?;
            unchanged(stored, application.version, "application")?;
            self.put_application(tx, UPDATE, application).await
        })
        .await
    }

    async fn delete_application(&self, id: AppId) -> Result<(), StoreError> {
        self.timed(Operation::ConfigWrite, self.remove_application(id))
            .await
    }

    async fn application(&self, by: &ApplicationRef) -> Result<Option<Application>, StoreError> {
        self.timed(Operation::ConfigRead, async {
            let query = match by {
                ApplicationRef::Id(id) => {
                    sqlx::query("SELECT * FROM applications WHERE id = ?").bind(blob(*id))
                }
                ApplicationRef::Uid(uid) => sqlx::query("SELECT * FROM applications WHERE uid = ?")
                    .bind(uid.as_str().to_owned()),
            };
            let row = query.fetch_optional(&mut *self.reader().await?).await;
            let row = row.map_err(store_error)?;
            row.as_ref().map(rows::application).transpose()
        })
        .await
    }

    async fn applications(&self, page: &Page<AppId>) -> Result<Vec<Application>, StoreError> {
        self.timed(Operation::ConfigRead, async {
            let window = Window::of(page);
            let mut query = listing(&window);
            let found = query.build().fetch_all(&mut *self.reader().await?).await;
            let found = read_all(&found.map_err(store_error)?, rows::application)?;
            Ok(window.arrange(found))
        })
        .await
    }
}

impl SqliteStore {
    async fn put_application(
        &self,
        mut tx: Transaction<'_, Sqlite>,
        statement: &'static str,
        application: &Application,
    ) -> Result<Application, StoreError> {
        let version = self.next_version(&mut tx, 1).await?;
        let row = sqlx::query(statement)
            .bind(application.uid.as_ref().map(|uid| uid.as_str().to_owned()))
            .bind(application.name.clone())
            .bind(json(&application.metadata)?)
            .bind(application.rate_limit)
            .bind(version)
            .bind(application.created_at.as_millis())
            .bind(application.updated_at.as_millis())
            .bind(blob(application.id))
            .fetch_one(&mut *tx)
            .await
            .map_err(or_taken(TAKEN))?;
        let stored = rows::application(&row)?;
        self.publish(tx, version).await?;
        Ok(stored)
    }

    /// Each endpoint's removal is a change of its own, and has a version of its own.
    async fn remove_application(&self, id: AppId) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let row = sqlx::query(
            "SELECT (SELECT count(*) FROM endpoints WHERE app_id = ?) AS endpoints \
             FROM applications WHERE id = ?",
        );
        let row = row.bind(blob(id)).bind(blob(id));
        let row = row.fetch_optional(&mut *tx).await.map_err(store_error)?;
        let row = row.ok_or(StoreError::NotFound("application"))?;
        let endpoints = row.some_int("endpoints")?;
        let last = self.next_version(&mut tx, endpoints + 1).await?;
        sqlx::query(
            "INSERT INTO removed (version, kind, app_id, id) \
             SELECT ? + row_number() OVER (ORDER BY id), ?, app_id, id FROM endpoints WHERE app_id = ?",
        )
        .bind(last - endpoints - 1)
        .bind(RemovedKind::Endpoint.label())
        .bind(blob(id))
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        for statement in [
            "DELETE FROM endpoints WHERE app_id = ?",
            "DELETE FROM applications WHERE id = ?",
        ] {
            let deleted = sqlx::query(statement).bind(blob(id)).execute(&mut *tx);
            deleted.await.map_err(store_error)?;
        }
        bury(&mut tx, last, RemovedKind::Application, None, blob(id)).await?;
        self.publish(tx, last).await
    }
}
