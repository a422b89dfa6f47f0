//! The schema's versions. A file that was released is never edited: a change is another file.

use std::path::Path;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{SqlSafeStr, SqlitePool};

use crate::OpenError;
use crate::error::is_damage;

const MIGRATIONS: [(i64, &str, &str); 3] = [
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
        "halts",
        include_str!("../../migrations/sqlite/0003_halts.sql"),
    ),
];

pub(super) const NEWEST: i64 = MIGRATIONS[MIGRATIONS.len() - 1].0;

/// Brings the schema up to date.
pub(super) async fn migrate(path: &Path, writer: &SqlitePool) -> Result<(), OpenError> {
    let found = version(writer)
        .await
        .map_err(|error| opening(path, error))?;
    if let Some(found) = found.filter(|found| *found > NEWEST) {
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
    let migrator = Migrator::with_migrations(migrations.into());
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
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'")
            .fetch_one(writer)
            .await?;
    if tables == 0 {
        return Ok(None);
    }
    sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
        .fetch_one(writer)
        .await
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
