//! The schema's steps in SQLite.

use std::path::Path;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{SqlSafeStr, SqlitePool};

use crate::OpenError;
use crate::error::is_damage;
use crate::steps::{Newer, Step};

const MIGRATIONS: [Step; 5] = [
    (
        1,
        "first",
        include_str!("../../migrations/sqlite/0001_first.sql"),
    ),
    (
        2,
        "bounds",
        include_str!("../../migrations/sqlite/0002_bounds.sql"),
    ),
    (
        3,
        "expand_halts",
        include_str!("../../migrations/sqlite/0003_expand_halts.sql"),
    ),
    (
        4,
        "expand_left_out",
        include_str!("../../migrations/sqlite/0004_expand_left_out.sql"),
    ),
    (
        5,
        "expand_fanout_times",
        include_str!("../../migrations/sqlite/0005_expand_fanout_times.sql"),
    ),
];

pub(super) const NEWEST: i64 = MIGRATIONS[MIGRATIONS.len() - 1].0;

/// Brings the schema up to date.
pub(super) async fn migrate(path: &Path, writer: &SqlitePool) -> Result<(), OpenError> {
    let newer = newer(writer).await.map_err(|error| opening(path, error))?;
    if let Some(found) = newer.forbids() {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found,
            known: NEWEST,
        });
    }
    let migrations = MIGRATIONS.map(|(version, name, sql)| {
        let kind = MigrationType::Simple;
        Migration::new(version, name.into(), kind, sql.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.into());
    migrator.set_ignore_missing(true);
    migrator
        .run(writer)
        .await
        .map_err(|error| OpenError::Database {
            path: path.to_owned(),
            why: format!("its schema cannot be brought up to date: {error}"),
        })
}

/// The version of the schema; `None` for a new file.
pub(super) async fn version(writer: &SqlitePool) -> Result<Option<i64>, sqlx::Error> {
    if is_new(writer).await? {
        return Ok(None);
    }
    sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
        .fetch_one(writer)
        .await
}

/// The steps that this program does not know.
pub(super) async fn newer(writer: &SqlitePool) -> Result<Newer, sqlx::Error> {
    if is_new(writer).await? {
        return Ok(Newer(Vec::new()));
    }
    let steps = "SELECT version, description FROM _sqlx_migrations WHERE version > ?";
    let steps = sqlx::query_as(steps).bind(NEWEST).fetch_all(writer);
    Ok(Newer(steps.await?))
}

async fn is_new(writer: &SqlitePool) -> Result<bool, sqlx::Error> {
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'")
            .fetch_one(writer)
            .await?;
    Ok(tables == 0)
}

/// What an error of the database means while the store is opened.
pub(super) fn opening(path: &Path, error: sqlx::Error) -> OpenError {
    let (path, why) = (path.to_owned(), error.to_string());
    if is_damage(&error) {
        OpenError::Damaged { path, why }
    } else {
        OpenError::Database { path, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_says_whether_older_programs_can_go_on() {
        crate::steps::tests::are_named_by_what_they_do(&MIGRATIONS, 2);
    }
}
