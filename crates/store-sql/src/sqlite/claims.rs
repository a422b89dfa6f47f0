//! Claims.

use async_trait::async_trait;
use postrider_model::Timestamp;
use postrider_store::{Claim, Claims, StoreError};

use super::SqliteStore;
use super::retention::OLD_CLAIMS;
use crate::error::store_error;
use crate::metrics::Operation;
use crate::rows;

/// Compare and set: whoever gets a row back has the claim. `made_at` stays when it is taken over.
const TAKE: &str = "INSERT INTO claims (key, holder, fingerprint, until, made_at) VALUES (?, ?, ?, ?, ?) \
    ON CONFLICT (key) DO UPDATE SET holder = excluded.holder, fingerprint = excluded.fingerprint, \
        until = excluded.until \
    WHERE answer IS NULL AND (until <= excluded.made_at OR holder = excluded.holder) RETURNING made_at";

#[async_trait]
impl Claims for SqliteStore {
    async fn claim(
        &self,
        key: &str,
        holder: &str,
        fingerprint: &[u8; 32],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Claim, StoreError> {
        self.timed(Operation::Claim, async {
            let mut tx = self.begin().await?;
            let taken: Option<i64> = sqlx::query_scalar(TAKE)
                .bind(key)
                .bind(holder)
                .bind(fingerprint.to_vec())
                .bind(until.as_millis())
                .bind(now.as_millis())
                .fetch_optional(&mut *tx)
                .await
                .map_err(store_error)?;
            let claim = match taken {
                Some(since) => Claim::Ours {
                    since: Timestamp::from_millis(since),
                },
                None => {
                    let row = sqlx::query("SELECT * FROM claims WHERE key = ?").bind(key);
                    let row = row.fetch_one(&mut *tx).await.map_err(store_error)?;
                    rows::claim_of_another(&row)?
                }
            };
            tx.commit().await.map_err(store_error)?;
            Ok(claim)
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
                "UPDATE claims SET answer = ?, made_at = ? WHERE key = ? AND holder = ? AND answer IS NULL",
            )
            .bind(answer)
            .bind(now.as_millis())
            .bind(key)
            .bind(holder)
            .execute(&self.writer)
            .await
            .map_err(store_error)?;
            Ok(())
        })
        .await
    }

    async fn release(&self, key: &str, holder: &str) -> Result<(), StoreError> {
        self.timed(Operation::Claim, async {
            sqlx::query("DELETE FROM claims WHERE key = ? AND holder = ? AND answer IS NULL")
                .bind(key)
                .bind(holder)
                .execute(&self.writer)
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
