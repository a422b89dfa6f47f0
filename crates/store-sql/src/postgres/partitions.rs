//! History's partitions, one a day (UTC): made ahead, dropped whole.
//!
//! A partition of a day takes what was accepted or begun on that day. What belongs to no day that has one goes to the
//! default partition and is never lost for lack of a partition: late records, records of a clock that is wrong, and all
//! records while partitions cannot be made. When the partition of a day is made, the default one's rows of that day move
//! into it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use postrider_model::{Clock, SystemClock, Timestamp};
use postrider_store::StoreError;
use sqlx::{AssertSqlSafe, Postgres, Transaction};

use super::PostgresStore;
use super::errors::store_error;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Days ahead for which partitions are made, so that nothing is missing while they cannot be made for a day or two.
const AHEAD: i64 = 3;

/// When it is tried again, if it failed.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// How long a write is held up by the making of partitions.
const HELD_UP: Duration = Duration::from_secs(5);

/// No statement of others stands behind ours for longer than this.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '2s'";

/// To move many rows out of the default partition takes longer than a statement should.
const STATEMENT_TIMEOUT: &str = "SET LOCAL statement_timeout = '600s'";

/// Of several processes, one makes or drops partitions at a time. Any number that nobody else uses.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7305718231)";

const LIST: &str = "SELECT relname::text FROM pg_class JOIN pg_inherits ON inhrelid = pg_class.oid \
    WHERE inhparent = to_regclass($1)";

/// A table that is partitioned by day.
#[derive(Debug, Clone, Copy)]
pub(super) struct Partitioned {
    name: &'static str,
    /// The column of the time.
    key: &'static str,
}

pub(super) const EVENTS: Partitioned = Partitioned {
    name: "events",
    key: "accepted_at",
};
pub(super) const FANOUTS: Partitioned = Partitioned {
    name: "fanouts",
    key: "accepted_at",
};
pub(super) const ATTEMPTS: Partitioned = Partitioned {
    name: "attempts",
    key: "started_at",
};

/// Days since 1970.
pub(super) fn day_of(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(DAY_MS)
}

/// When a day begins.
pub(super) fn start_of(day: i64) -> Timestamp {
    Timestamp::from_millis(day.saturating_mul(DAY_MS))
}

impl Partitioned {
    /// `events_20260131`.
    fn partition(self, day: i64) -> String {
        let date: String = start_of(day).to_string().chars().take(10).collect();
        format!("{}_{}", self.name, date.replace('-', ""))
    }

    /// The day of a partition; `None` for the default one.
    fn day(self, partition: &str) -> Option<i64> {
        let digits = partition.strip_prefix(self.name)?.strip_prefix('_')?;
        let (year, month, day) = (digits.get(..4)?, digits.get(4..6)?, digits.get(6..)?);
        let day = Timestamp::parse(&format!("{year}-{month}-{day}T00:00:00Z")).map(day_of)?;
        (self.partition(day) == partition).then_some(day)
    }
}

/// When this process next sees to the partitions, in milliseconds since 1970.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    due_at: AtomicI64,
}

impl Partitions {
    /// True for one caller, once it is time. The others go on, and nobody tries again too soon if it fails.
    fn is_due(&self, now: Timestamp) -> bool {
        let (due_at, again) = (self.due_at.load(Ordering::Relaxed), now.plus(TRY_AGAIN));
        let (relaxed, again) = (Ordering::Relaxed, again.as_millis());
        now.as_millis() >= due_at
            && self
                .due_at
                .compare_exchange(due_at, again, relaxed, relaxed)
                .is_ok()
    }
}

impl PostgresStore {
    /// Makes partitions if a day has begun since this process last did. Whoever calls is held up for a moment at most.
    pub(super) async fn renew_partitions_daily(&self) {
        let now = SystemClock.now();
        if self.partitions.is_due(now) {
            let renewing = self.renew_partitions(day_of(now));
            if tokio::time::timeout(HELD_UP, renewing).await.is_err() {
                tracing::warn!("partitions for the next days could not be made in time");
            }
        }
    }

    /// The same, for as long as it takes: if there is much to move, no write has the time for it.
    pub(super) async fn renew_partitions_patiently(&self) {
        let today = day_of(SystemClock.now());
        let tomorrow = start_of(today.saturating_add(1));
        if self.partitions.due_at.load(Ordering::Relaxed) < tomorrow.as_millis() {
            self.renew_partitions(today).await;
        }
    }

    /// Makes the partitions from the day before `today` to some days ahead. If that fails, the default partition takes
    /// what comes, and a later write tries again.
    pub(super) async fn renew_partitions(&self, today: i64) {
        for table in [EVENTS, FANOUTS, ATTEMPTS] {
            if let Err(error) = self.make_partitions(table, today).await {
                tracing::warn!(
                    table = table.name, %error,
                    "no partitions could be made for the next days; the default one takes their rows meanwhile"
                );
                return;
            }
        }
        let tomorrow = start_of(today.saturating_add(1));
        let due_at = &self.partitions.due_at;
        due_at.store(tomorrow.as_millis(), Ordering::Relaxed);
    }

    async fn make_partitions(&self, table: Partitioned, today: i64) -> Result<(), StoreError> {
        let there = self.partitions_of(table).await?;
        for day in today - 1..=today + AHEAD {
            if !there.iter().any(|(known, _)| *known == day) {
                self.make_partition(table, day).await?;
            }
        }
        Ok(())
    }

    /// Its days that have a partition, and the partitions' names.
    pub(super) async fn partitions_of(
        &self,
        table: Partitioned,
    ) -> Result<Vec<(i64, String)>, StoreError> {
        let names: Vec<String> = sqlx::query_scalar(LIST)
            .bind(table.name)
            .fetch_all(&self.pool)
            .await
            .map_err(store_error)?;
        let dated = |name: String| table.day(&name).map(|day| (day, name));
        Ok(names.into_iter().filter_map(dated).collect())
    }

    /// The partition is filled before it is attached: a `CREATE … PARTITION OF` would lock out every reader of the table.
    async fn make_partition(&self, table: Partitioned, day: i64) -> Result<(), StoreError> {
        let mut tx = self.begin_on_partitions().await?;
        let Partitioned { name, key } = table;
        let partition = table.partition(day);
        let there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
            .bind(&partition)
            .fetch_one(&mut *tx)
            .await
            .map_err(store_error)?;
        if there {
            return Ok(());
        }
        let (from, to) = (
            start_of(day).as_millis(),
            start_of(day.saturating_add(1)).as_millis(),
        );
        for statement in [
            format!("CREATE TABLE {partition} (LIKE {name} INCLUDING ALL)"),
            format!("LOCK TABLE {name}_default IN ACCESS EXCLUSIVE MODE"),
            format!(
                "WITH moved AS (DELETE FROM {name}_default WHERE {key} >= {from} AND {key} < {to} RETURNING *) \
                 INSERT INTO {partition} SELECT * FROM moved"
            ),
            format!(
                "ALTER TABLE {name} ATTACH PARTITION {partition} FOR VALUES FROM ({from}) TO ({to})"
            ),
        ] {
            execute(&mut tx, statement).await?;
        }
        tx.commit().await.map_err(store_error)
    }

    /// Drops the partitions of days that ended by `before`. Returns how many rows that were, as the planner estimates
    /// them: to count them would take longer than to drop them.
    pub(super) async fn drop_partitions(
        &self,
        table: Partitioned,
        before: Timestamp,
    ) -> Result<usize, StoreError> {
        let mut rows = 0;
        for (day, partition) in self.partitions_of(table).await? {
            if start_of(day.saturating_add(1)) <= before {
                rows += self.drop_partition(&partition).await?;
            }
        }
        Ok(rows)
    }

    async fn drop_partition(&self, partition: &str) -> Result<usize, StoreError> {
        let mut tx = self.begin_on_partitions().await?;
        let estimate: Option<i64> = sqlx::query_scalar(
            "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = to_regclass($1)",
        )
        .bind(partition)
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_error)?;
        execute(&mut tx, format!("DROP TABLE IF EXISTS {partition}")).await?;
        tx.commit().await.map_err(store_error)?;
        tracing::info!(
            partition,
            rows = estimate,
            "dropped: a day's history that is over its age"
        );
        Ok(usize::try_from(estimate.unwrap_or(0)).unwrap_or(0))
    }

    async fn begin_on_partitions(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        let mut tx = self.begin().await?;
        for statement in [LOCK_TIMEOUT, STATEMENT_TIMEOUT, LOCK] {
            execute(&mut tx, statement.to_owned()).await?;
        }
        Ok(tx)
    }
}

/// Names and numbers in these statements are our own.
async fn execute(tx: &mut Transaction<'_, Postgres>, statement: String) -> Result<(), StoreError> {
    let query = sqlx::query(AssertSqlSafe(statement)).persistent(false);
    query.execute(&mut **tx).await.map_err(store_error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_sees_to_the_partitions_and_not_again_too_soon() {
        let (partitions, at) = (Partitions::default(), Timestamp::from_millis);
        assert!(partitions.is_due(at(1)));
        assert!(!partitions.is_due(at(60_000)));
        assert!(partitions.is_due(at(60_001)));
    }

    #[test]
    fn a_partition_is_known_by_its_day_and_nothing_else_is_one() {
        for (day, name) in [(0, "events_19700101"), (20_779, "events_20261122")] {
            assert_eq!(EVENTS.partition(day), name);
            assert_eq!(EVENTS.day(name), Some(day));
        }
        for other in [
            "events_default",
            "events_2026112",
            "attempts_20261122",
            "events_20261322",
        ] {
            assert_eq!(EVENTS.day(other), None, "{other}");
        }
        assert_eq!(day_of(Timestamp::from_millis(-1)), -1);
        assert_eq!(start_of(1).as_millis(), DAY_MS);
    }
}
