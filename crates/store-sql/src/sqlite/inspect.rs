//! Looking at a file, without changing it and beside whoever has it.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use super::migrations::{NEWEST, opening, version};
use crate::{Inspected, OpenError};

/// What there is to see of the file at `path`.
pub(crate) async fn inspect(path: &Path) -> Result<Inspected, OpenError> {
    let schema = match path.try_exists() {
        Ok(false) => None,
        Ok(true) => look(path).await.map_err(|error| opening(path, error))?,
        Err(source) => {
            let path = path.to_owned();
            return Err(OpenError::Io { path, source });
        }
    };
    Ok(Inspected {
        place: path.display().to_string(),
        schema,
        known: NEWEST,
        server: None,
    })
}

async fn look(path: &Path) -> Result<Option<i64>, sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let pool = SqlitePoolOptions::new().max_connections(1);
    let pool = pool.connect_with(options).await?;
    let found = version(&pool).await;
    pool.close().await;
    found
}
