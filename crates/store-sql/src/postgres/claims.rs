//! Claims.

use async_trait::async_trait;
use postrider_model::Timestamp;
use postrider_store::{Claim, Claims, StoreError};

use super::PostgresStore;
use super::errors::store_error;
use super::retention::OLD_CLAIMS;
use crate::metrics::Operation;
use crate::rows;

/// Compare and set: whoever gets a row back has the claim. `made_at` stays when it is taken over.
const TAKE: &str = "INSERT INTO claims (key, holder, fingerprint, until, made_at) VALUES ($1, $2, $3, $4, $5) \
    ON CONFLICT (key) DO UPDATE SET holder = excluded.holder, fingerprint = excluded.fingerprint, \
        until = excluded.until \
    WHERE claims.answer IS NULL AND (claims.until <= excluded.made_at OR claims.holder = excluded.holder) \
    RETURNING made_at";

/// How often a claim is tried that is given up by somebody between our two statements.
const TRIES: usize = 10;

#[async_trait]
impl Claims for PostgresStore {
    async fn claim(
        &self,
        key: &str,
        holder: &str,
        fingerprint: &[u8; 32],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Claim, StoreError> {
        self.timed(Operation::Claim, async {
            for _ in 0..TRIES {
                let taken: Option<i64> = sqlx::query_scalar(TAKE)
                    .bind(key)
                    .bind(holder)
                    .bind(fingerprint.as_slice())
                    .bind(until.as_millis())
                    .bind(now.as_millis())
                    .fetch_optional(&self.pool)
                    .await
                    .map_err(store_error)?;
                if let Some(since) = taken {
                    let since = Timestamp::from_millis(since);
                    return Ok(Claim::Ours { since });
                }
                let row = sqlx::query("SELECT * FROM claims WHERE key = $1").bind(key);
                let row = row.fetch_optional(&self.pool).await.map_err(store_error)?;
                if let Some(row) = row {
                    return rows::claim_of_another(&row);
                }
            }
            Err(StoreError::Unavailable(
                "the key is being claimed and released by others".into(),
            ))
        })
        .await
    }

    async fn confirm(
        &self,
        key: &str,
        holder: &str,
        answer: &[u8],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.timed(Operation::Claim, async {
            sqlx::query(
                "UPDATE claims SET answer = $1, made_at = $2 WHERE key = $3 AND holder = $4 AND answer IS NULL",
            )
            .bind(answer)
            .bind(now.as_millis())
            .bind(key)
            .bind(holder)
            .execute(&self.pool)
            .await
            .map_err(store_error)?;
            Ok(())
        })
        .await
    }

    async fn release(&self, key: &str, holder: &str) -> Result<(), StoreError> {
        self.timed(Operation::Claim, async {
            sqlx::query("DELETE FROM claims WHERE key = $1 AND holder = $2 AND answer IS NULL")
                .bind(key)
                .bind(holder)
                .execute(&self.pool)
                .await
                .map_err(store_error)?;
            Ok(())
        })
        .await
    }

    async fn delete_claims(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let work = self.expunge(OLD_CLAIMS, before, limit);
        self.timed(Operation::Retention, work).await
    }
}
