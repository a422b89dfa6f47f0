//! Tokens.

use async_trait::async_trait;
use postrider_model::TokenId;
use postrider_store::{Page, StoreError, TokenRecord, Tokens};
use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder};

use super::applications::not_replaced;
use super::errors::{or_taken, store_error};
use super::{PostgresStore, push_simple_window, uuid};
use crate::error::signed;
use crate::metrics::Operation;
use crate::rows::{self, read_all, scope_column};
use crate::window::Window;

const TAKEN: &str = "another token has that text or id already";

// The same columns in the same order: one function binds both. See feed.rs for the version.
const INSERT: &str = "WITH next AS (UPDATE meta SET version = version + 1 RETURNING version) \
    INSERT INTO tokens (id, hash, app_id, name, expires_at, revoked_at, created_at, version) \
    SELECT $1, $2, $3, $4, $5, $6, $7, next.version FROM next RETURNING *";
const UPDATE: &str = "WITH next AS (UPDATE meta SET version = version + 1 \
        WHERE EXISTS (SELECT 1 FROM tokens WHERE id = $1 AND version = $8) RETURNING version) \
    UPDATE tokens SET hash = $2, app_id = $3, name = $4, expires_at = $5, revoked_at = $6, created_at = $7, \
        version = next.version \
    FROM next WHERE id = $1 AND tokens.version = $8 RETURNING tokens.*";

pub(super) fn listing(window: &Window<TokenId>) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new("SELECT * FROM tokens WHERE true");
    push_simple_window(&mut query, "id", window, |id| uuid(*id));
    query
}

#[async_trait]
impl Tokens for PostgresStore {
    async fn insert_token(&self, token: &TokenRecord) -> Result<TokenRecord, StoreError> {
        self.timed(Operation::ConfigWrite, async {
            let made = self.put_token(INSERT, token, None).await?;
            let made = made.ok_or_else(|| StoreError::Unavailable("no row came back".into()))?;
            rows::token(&made)
        })
        .await
    }

    async fn replace_token(&self, token: &TokenRecord) -> Result<TokenRecord, StoreError> {
        self.timed(Operation::ConfigWrite, async {
            let known = Some(signed("version", token.version)?);
            match self.put_token(UPDATE, token, known).await? {
                Some(changed) => rows::token(&changed),
                None => Err(self.why_not_token(token).await),
            }
        })
        .await
    }

    async fn tokens(&self, page: &Page<TokenId>) -> Result<Vec<TokenRecord>, StoreError> {
        self.timed(Operation::ConfigRead, async {
            let window = Window::of(page);
            let mut query = listing(&window);
            let found = query.build().fetch_all(&self.pool).await;
            let found = read_all(&found.map_err(store_error)?, rows::token)?;
            Ok(window.arrange(found))
        })
        .await
    }
}

impl PostgresStore {
    /// `known` is the version that is replaced.
    async fn put_token(
        &self,
        statement: &'static str,
        token: &TokenRecord,
        known: Option<i64>,
    ) -> Result<Option<PgRow>, StoreError> {
        let mut query = sqlx::query(statement)
            .bind(uuid(token.id))
            .bind(token.hash.as_slice())
            .bind(scope_column(token.scope).map(uuid))
            .bind(&token.name)
            .bind(token.expires_at.map(|at| at.as_millis()))
            .bind(token.revoked_at.map(|at| at.as_millis()))
            .bind(token.created_at.as_millis());
        if let Some(known) = known {
            query = query.bind(known);
        }
        let row = query.fetch_optional(&self.pool).await;
        row.map_err(or_taken(TAKEN))
    }

    /// Why one was not replaced.
    async fn why_not_token(&self, token: &TokenRecord) -> StoreError {
        let query = sqlx::query_scalar("SELECT version FROM tokens WHERE id = $1");
        let stored = query.bind(uuid(token.id)).fetch_optional(&self.pool);
        match stored.await {
            Ok(stored) => not_replaced(stored, token.version, "token"),
            Err(error) => store_error(error),
        }
    }
}
