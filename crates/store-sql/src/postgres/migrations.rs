//! The schema's versions. A file that was released is never edited: a change is another file. Processes of the version
//! before may run while it is applied, with statements prepared: add what they do not ask for, and no column to a table
//! of which they ask for all (`SELECT *`) without a restart of theirs.

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{PgConnection, SqlSafeStr};

use super::open::Server;
use crate::OpenError;

const MIGRATIONS: [(i64, &str, &str); 2] = [
    (
        1,
        "first",
        include_str!("../../migrations/postgres/0001_first.sql"),
    ),
    (
        2,
        "halts",
        include_str!("../../migrations/postgres/0002_halts.sql"),
    ),
];

pub(super) const NEWEST: i64 = MIGRATIONS[MIGRATIONS.len() - 1].0;

/// Brings the schema up to date. Of several processes that start at once, one does it and the others wait: the migrator
/// holds an advisory lock meanwhile.
pub(super) async fn migrate(
    server: &Server,
    connection: &mut PgConnection,
) -> Result<(), OpenError> {
    let found = version(connection).await.map_err(|e| server.failed(&e))?;
    if let Some(found) = found.filter(|found| *found > NEWEST) {
        return Err(OpenError::NewerDatabase {
            server: server.name.clone(),
            found,
            known: NEWEST,
        });
    }
    let migrations = MIGRATIONS.map(|(version, name, sql)| {
        let kind = MigrationType::Simple;
        Migration::new(version, name.into(), kind, sql.into_sql_str(), false)
    });
    let migrator = Migrator::with_migrations(migrations.into());
    // Not `run`: its future cannot be sent to another thread.
    let done = migrator.run_direct(None, connection, false).await;
    done.map_err(|error| OpenError::Server {
        server: server.name.clone(),
        why: format!("its schema cannot be brought up to date: {error}"),
    })
}

/// The version of the schema; `None` for a new database.
pub(super) async fn version(connection: &mut PgConnection) -> Result<Option<i64>, sqlx::Error> {
    let there: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !there {
        return Ok(None);
    }
    sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
        .fetch_one(connection)
        .await
}
