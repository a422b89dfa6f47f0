//! Deleting by age, in batches small enough that no other writer waits for long.

use postrider_model::Timestamp;
use postrider_store::StoreError;
use sqlx::{Sqlite, Transaction};

use super::SqliteStore;
use crate::error::store_error;
use crate::metrics::RowKind;

// Each of two that belong together chooses the same rows: the index by time has the rowid behind the time.
pub(super) const OLD_FANOUTS: &str = "DELETE FROM fanouts WHERE event_id IN \
    (SELECT event_id FROM fanout_times WHERE accepted_at < ? ORDER BY accepted_at, event_id LIMIT ?)";
pub(super) const OLD_FANOUT_TIMES: &str = "DELETE FROM fanout_times WHERE (accepted_at, event_id) IN \
    (SELECT accepted_at, event_id FROM fanout_times WHERE accepted_at < ? ORDER BY accepted_at, event_id LIMIT ?)";
/// Of those without a time, which were written with their events, or by builds that kept none.
pub(super) const FANOUTS_OF_OLD_EVENTS: &str = "DELETE FROM fanouts WHERE event_id IN \
    (SELECT id FROM events WHERE accepted_at < ? ORDER BY accepted_at, rowid LIMIT ?)";
pub(super) const OLD_EVENTS: &str = "DELETE FROM events WHERE rowid IN \
    (SELECT rowid FROM events WHERE accepted_at < ? ORDER BY accepted_at, rowid LIMIT ?)";
pub(super) const OLD_ATTEMPTS: &str = "DELETE FROM attempts WHERE rowid IN \
    (SELECT rowid FROM attempts WHERE started_at < ? ORDER BY started_at LIMIT ?)";
pub(super) const OLD_DEAD_LETTERS: &str = "DELETE FROM dead_letters WHERE rowid IN \
    (SELECT rowid FROM dead_letters WHERE died_at < ? ORDER BY died_at, id LIMIT ?)";
pub(super) const OLD_CLAIMS: &str = "DELETE FROM claims WHERE key IN \
    (SELECT key FROM claims WHERE made_at < ?1 AND (answer IS NOT NULL OR until <= ?1) ORDER BY made_at LIMIT ?2)";

impl SqliteStore {
    /// Deletes events, and whom they went to. Returns the more of both.
    pub(super) async fn expunge_events(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let mut tx = self.begin().await?;
        delete(&mut tx, OLD_FANOUTS, before, limit).await?;
        let fanouts = delete(&mut tx, OLD_FANOUT_TIMES, before, limit).await?;
        delete(&mut tx, FANOUTS_OF_OLD_EVENTS, before, limit).await?;
        let events = delete(&mut tx, OLD_EVENTS, before, limit).await?;
        tx.commit().await.map_err(store_error)?;
        let deleted = self.metrics.deleted.of(RowKind::Event);
        deleted.inc_by(events as u64);
        Ok(events.max(fanouts))
    }

    pub(super) async fn expunge_attempts(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let count = self.expunge(OLD_ATTEMPTS, before, limit).await?;
        let deleted = self.metrics.deleted.of(RowKind::Attempt);
        deleted.inc_by(count as u64);
        Ok(count)
    }

    pub(super) async fn expunge_dead_letters(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let count = self.expunge(OLD_DEAD_LETTERS, before, limit).await?;
        let deleted = self.metrics.deleted.of(RowKind::DeadLetter);
        deleted.inc_by(count as u64);
        Ok(count)
    }

    pub(super) async fn expunge(
        &self,
        statement: &'static str,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let mut tx = self.begin().await?;
        let count = delete(&mut tx, statement, before, limit).await?;
        tx.commit().await.map_err(store_error)?;
        Ok(count)
    }
}

async fn delete(
    tx: &mut Transaction<'_, Sqlite>,
    statement: &'static str,
    before: Timestamp,
    limit: usize,
) -> Result<usize, StoreError> {
    let deleted = sqlx::query(statement)
        .bind(before.as_millis())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .execute(&mut **tx)
        .await
        .map_err(store_error)?;
    Ok(usize::try_from(deleted.rows_affected()).unwrap_or(usize::MAX))
}
