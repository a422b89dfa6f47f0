//! Tokens.

use async_trait::async_trait;
use postrider_model::TokenId;
use postrider_store::{Page, StoreError, TokenRecord, Tokens};
use sqlx::{QueryBuilder, Sqlite, Transaction};

use super::{SqliteStore, push_simple_window};
use crate::columns::blob;
use crate::error::{or_taken, store_error, unchanged};
use crate::metrics::Operation;
use crate::rows::{self, read_all, scope_column};
use crate::window::Window;

const TAKEN: &str = "another token has that text or id already";

// The same columns in the same order: one function binds both.
const INSERT: &str = "INSERT INTO tokens \
    (hash, app_id, name, expires_at, revoked_at, version, created_at, id) \
    VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING *";
const UPDATE: &str = "UPDATE tokens SET \
    hash = ?, app_id = ?, name = ?, expires_at = ?, revoked_at = ?, version = ?, created_at = ? \
    WHERE id = ? RETURNING *";

pub(super) fn listing(window: &Window<TokenId>) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("SELECT * FROM tokens WHERE 1");
    push_simple_window(&mut query, "id", window, |id| blob(*id));
    query
}

#[async_trait]
impl Tokens for SqliteStore {
    async fn insert_token(&self, token: &TokenRecord) -> Result<TokenRecord, StoreError> {
        self.timed(Operation::ConfigWrite, async {
            let tx = self.begin().await?;
            self.put_token(tx, INSERT, token).await
        })
        .await
    }

    async fn replace_token(&self, token: &TokenRecord) -> Result<TokenRecord, StoreError> {
        self.timed(Operation::ConfigWrite, async {
            let mut tx = self.begin().await?;
            let stored: Option<i64> = sqlx::query_scalar("SELECT version FROM tokens WHERE id = ?")
                .bind(blob(token.id))
                .fetch_optional(&mut *tx)
                .await
                .map_err(store_error)?;
            unchanged(stored, token.version, "token")?;
            self.put_token(tx, UPDATE, token).await
        })
        .await
    }

    async fn tokens(&self, page: &Page<TokenId>) -> Result<Vec<TokenRecord>, StoreError> {
        self.timed(Operation::ConfigRead, async {
            let window = Window::of(page);
            let mut query = listing(&window);
            let found = query.build().fetch_all(&mut *self.reader().await?).await;
            let found = read_all(&found.map_err(store_error)?, rows::token)?;
            Ok(window.arrange(found))
        })
        .await
    }
}

impl SqliteStore {
    async fn put_token(
        &self,
        mut tx: Transaction<'_, Sqlite>,
        statement: &'static str,
        token: &TokenRecord,
    ) -> Result<TokenRecord, StoreError> {
        let version = self.next_version(&mut tx, 1).await?;
        let row = sqlx::query(statement)
            .bind(token.hash.to_vec())
            .bind(scope_column(token.scope).map(blob))
            .bind(token.name.clone())
            .bind(token.expires_at.map(|at| at.as_millis()))
            .bind(token.revoked_at.map(|at| at.as_millis()))
            .bind(version)
            .bind(token.created_at.as_millis())
            .bind(blob(token.id))
            .fetch_one(&mut *tx)
            .await
            .map_err(or_taken(TAKEN))?;
        let stored = rows::token(&row)?;
        self.publish(tx, version).await?;
        Ok(stored)
    }
}
