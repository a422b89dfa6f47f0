//! The schema's steps in PostgreSQL. Other processes work while one is applied: it holds no lock for long, waits for none for
//! long (it sets a `lock_timeout`, and is tried again), and their prepared statements that ask for all columns of a table
//! which got another fail once and are prepared anew (`outdated.rs`).

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{PgConnection, SqlSafeStr};

use super::errors::is_locked;
use super::open::Server;
use crate::OpenError;
use crate::steps::{Newer, Step};

const MIGRATIONS: [Step; 3] = [
    (
        1,
        "first",
        include_str!("../../migrations/postgres/0001_first.sql"),
    ),
    (
        2,
        "expand_halts",
        include_str!("../../migrations/postgres/0002_expand_halts.sql"),
    ),
    // A step 3, which was in no release, did the same and looked through all rows. Where it was applied it stays,
    // unasked for.
    (
        4,
        "expand_left_out",
        include_str!("../../migrations/postgres/0004_expand_left_out.sql"),
    ),
];

/// When a step is tried again that did not get a lock. Those who wait behind it have their turn meanwhile.
const TRY_AGAIN: Duration = Duration::from_secs(1);

const NOT_BROUGHT: &str = "its schema cannot be brought up to date: ";

pub(super) const NEWEST: i64 = MIGRATIONS[MIGRATIONS.len() - 1].0;

/// Refuses a schema that a newer program has made one which this program cannot use.
pub(super) async fn refuse_newer(
    server: &Server,
    connection: &mut PgConnection,
) -> Result<(), OpenError> {
    let newer = newer(connection).await.map_err(|e| server.failed(&e))?;
    match newer.forbids() {
        None => Ok(()),
        Some(found) => Err(OpenError::NewerDatabase {
            server: server.name.clone(),
            found,
            known: NEWEST,
        }),
    }
}

/// Brings the schema up to date. Of several processes that start at once, one does it and the others wait: the migrator
/// holds an advisory lock meanwhile.
pub(super) async fn migrate(
    server: &Server,
    connection: &mut PgConnection,
) -> Result<(), OpenError> {
    let migrations = MIGRATIONS.map(|(version, name, sql)| {
        let kind = MigrationType::Simple;
        Migration::new(version, name.into(), kind, sql.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.into());
    migrator.set_ignore_missing(true);
    loop {
        // Not `run`: its future cannot be sent to another thread.
        let done = migrator.run_direct(None, connection, false).await;
        match &done {
            Ok(()) => return Ok(()),
            Err(MigrateError::Execute(why) | MigrateError::ExecuteMigration(why, _)) => {
                if !is_locked(why) {
                    return Err(server.failed_in(NOT_BROUGHT, why));
                }
                tracing::info!("{NOT_BROUGHT}{why}; trying again");
                tokio::time::sleep(TRY_AGAIN).await;
            }
            Err(error) => return Err(server.unusable(format!("{NOT_BROUGHT}{error}"))),
        }
    }
}

/// The version of the schema; `None` for a new database.
pub(super) async fn version(connection: &mut PgConnection) -> Result<Option<i64>, sqlx::Error> {
    if is_new(connection).await? {
        return Ok(None);
    }
    sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
        .fetch_one(connection)
        .await
}

/// The steps that this program does not know.
pub(super) async fn newer(connection: &mut PgConnection) -> Result<Newer, sqlx::Error> {
    if is_new(connection).await? {
        return Ok(Newer(Vec::new()));
    }
    let steps = "SELECT version, description FROM _sqlx_migrations WHERE version > $1";
    let steps = sqlx::query_as(steps).bind(NEWEST).fetch_all(connection);
    Ok(Newer(steps.await?))
}

async fn is_new(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NULL")
        .fetch_one(connection)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_says_whether_older_programs_can_go_on() {
        crate::steps::tests::are_named_by_what_they_do(&MIGRATIONS, 1);
    }
}
