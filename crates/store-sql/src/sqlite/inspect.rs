//! Looking at a file, without changing it and beside whoever has it.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use super::migrations::{NEWEST, newer, opening, version};
use crate::steps::Newer;
use crate::{Inspected, OpenError};

/// What there is to see of the file at `path`.
pub(crate) async fn inspect(path: &Path) -> Result<Inspected, OpenError> {
    let (schema, newer) = match path.try_exists() {
        Ok(false) => (None, Newer(Vec::new())),
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
        forbids: newer.forbids(),
        server: None,
    })
}

async fn look(path: &Path) -> Result<(Option<i64>, Newer), sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let pool = SqlitePoolOptions::new().max_connections(1);
    let pool = pool.connect_with(options).await?;
    let found = async { Ok((version(&pool).await?, newer(&pool).await?)) };
    let found = found.await;
    pool.close().await;
    found
}
