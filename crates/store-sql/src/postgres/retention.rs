//! Deleting by age: whole partitions, and the rest in batches small enough that no other writer waits for long.
//!
//! Rows in the partition of a day go when the day is over its age, so they may stay up to a day longer; rows in a default
//! partition go at their own time.

use postrider_model::Timestamp;
use postrider_store::StoreError;

use super::PostgresStore;
use super::errors::store_error;
use super::partitions::{ATTEMPTS, EVENTS, FANOUTS, day_of, start_of};
use crate::metrics::RowKind;

pub(super) const OLD_EVENTS: &str = "DELETE FROM events_default WHERE ctid = ANY(ARRAY(SELECT ctid FROM events_default \
    WHERE accepted_at < $1 ORDER BY accepted_at LIMIT $2))";
pub(super) const OLD_FANOUTS: &str = "DELETE FROM fanouts_default WHERE ctid = ANY(ARRAY(SELECT ctid \
    FROM fanouts_default WHERE accepted_at < $1 ORDER BY accepted_at LIMIT $2))";
pub(super) const OLD_ATTEMPTS: &str = "DELETE FROM attempts_default WHERE ctid = ANY(ARRAY(SELECT ctid \
    FROM attempts_default WHERE started_at < $1 ORDER BY started_at LIMIT $2))";
pub(super) const OLD_DERIVED: &str = "DELETE FROM derived_events WHERE id = ANY(ARRAY(SELECT id FROM derived_events \
    WHERE accepted_at < $1 ORDER BY accepted_at LIMIT $2))";
pub(super) const OLD_DEAD_LETTERS: &str = "DELETE FROM dead_letters WHERE id = ANY(ARRAY(SELECT id FROM dead_letters \
    WHERE died_at < $1 ORDER BY died_at, id LIMIT $2))";
pub(super) const OLD_CLAIMS: &str = "DELETE FROM claims WHERE key = ANY(ARRAY(SELECT key FROM claims \
    WHERE made_at < $1 AND (answer IS NOT NULL OR until <= $1) ORDER BY made_at LIMIT $2)) \
    AND made_at < $1 AND (answer IS NOT NULL OR until <= $1)";

impl PostgresStore {
    /// Deletes events, whom they went to, and what is known of derived ids. Returns the most of what went.
    pub(super) async fn expunge_events(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        self.renew_partitions_patiently().await;
        let dropped = self.drop_partitions(EVENTS, before).await?;
        self.drop_partitions(FANOUTS, before).await?;
        let events = self.expunge(OLD_EVENTS, before, limit).await?;
        let fanouts = self.expunge(OLD_FANOUTS, before, limit).await?;
        // An event stays as long as its day's partition, and must be found as long as it stays.
        let day = start_of(day_of(before));
        let derived = self.expunge(OLD_DERIVED, day, limit).await?;
        let deleted = self.metrics.deleted.of(RowKind::Event);
        deleted.inc_by((dropped + events) as u64);
        Ok(dropped + events.max(fanouts).max(derived))
    }

    pub(super) async fn expunge_attempts(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        self.renew_partitions_patiently().await;
        let dropped = self.drop_partitions(ATTEMPTS, before).await?;
        let count = dropped + self.expunge(OLD_ATTEMPTS, before, limit).await?;
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
        let deleted = sqlx::query(statement)
            .bind(before.as_millis())
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .execute(&self.pool)
            .await
            .map_err(store_error)?;
        Ok(usize::try_from(deleted.rows_affected()).unwrap_or(usize::MAX))
    }
}
