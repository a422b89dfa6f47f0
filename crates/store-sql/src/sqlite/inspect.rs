//! Looking at a file, without changing it and beside whoever has it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

use super::migrations::{NEWEST, newer, opening, version};
use super::open::BUSY_TIMEOUT;
use crate::error::is_interrupted;
use crate::steps::Newer;
use crate::{Inspected, InspectedFile, OpenError};

/// SQLite asks whether to go on after so many steps of its machine, or pages.
const ASKED_AFTER: i32 = 1000;
/// How long one snapshot of a file is read that somebody works on: meanwhile its WAL grows, and its owner waits no longer than
/// this for the end.
const PORTION: Duration = BUSY_TIMEOUT;

/// Every page that is in use, and whether what lies in it is in order.
const ALL: &str = "SELECT quick_check FROM pragma_quick_check";
/// The same of a table and its indexes.
const OF_TABLE: &str = "SELECT quick_check FROM pragma_quick_check(?)";
const TABLES: &str = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
const SOUND: &str = "ok";

/// What there is to see of the file at `path`, of which all pages are read, for about `time` at most.
pub(crate) async fn inspect(path: &Path, time: Duration) -> Result<Inspected, OpenError> {
    let (schema, newer, file) = match path.try_exists() {
        Ok(false) => (None, Newer(Vec::new()), None),
        Ok(true) => {
            let wal = || size(&beside(path, "-wal"));
            let before = wal();
            match look(path, before, time).await {
                // A file without a WAL is nobody's, and is read as one that does not change. It does if it is opened just now.
                Err(OpenError::Damaged { .. }) if before.is_none() && wal().is_some() => {
                    look(path, wal(), time).await?
                }
                seen => seen?,
            }
        }
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
        file,
        server: None,
    })
}

type Seen = (Option<i64>, Newer, Option<InspectedFile>);

async fn look(path: &Path, wal: Option<u64>, time: Duration) -> Result<Seen, OpenError> {
    let failed = |error| opening(path, error);
    let bytes = size(path).unwrap_or_default() + wal.unwrap_or_default();
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    // Otherwise a WAL is made, and left there.
    let options = options.immutable(wal.is_none());
    let pool = SqlitePoolOptions::new().max_connections(1);
    let pool = pool.connect_with(options).await.map_err(failed)?;
    let found = async {
        let (schema, newer) = (version(&pool).await?, newer(&pool).await?);
        Ok((schema, newer, read(&pool, wal.is_some(), time).await?))
    };
    let found = found.await.map_err(failed);
    pool.close().await;
    let (schema, newer, read) = found?;
    let whole = read.map_err(|why| OpenError::Damaged {
        path: path.to_owned(),
        why,
    })?;
    Ok((schema, newer, Some(InspectedFile { bytes, whole })))
}

/// Whether all of it was read, or the time was over before; or what is wrong. What may be another's just now is read table by
/// table.
async fn read(
    pool: &SqlitePool,
    in_use: bool,
    time: Duration,
) -> Result<Result<bool, String>, sqlx::Error> {
    let until = Instant::now() + time;
    if !in_use {
        return check(pool, None, until).await;
    }
    let tables: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(pool).await?;
    let mut whole = true;
    for table in tables {
        let portion = until.min(Instant::now() + PORTION);
        match check(pool, Some(&table), portion).await? {
            Ok(all) => whole &= all,
            damage => return Ok(damage),
        }
    }
    Ok(Ok(whole))
}

async fn check(
    pool: &SqlitePool,
    table: Option<&str>,
    until: Instant,
) -> Result<Result<bool, String>, sqlx::Error> {
    if Instant::now() >= until {
        return Ok(Ok(false));
    }
    let mut connection = pool.acquire().await?;
    let mut handle = connection.lock_handle().await?;
    handle.set_progress_handler(ASKED_AFTER, move || Instant::now() < until);
    drop(handle);
    let query = match table {
        Some(table) => sqlx::query_scalar(OF_TABLE).bind(table),
        None => sqlx::query_scalar(ALL),
    };
    let found: Result<String, _> = query.fetch_one(&mut *connection).await;
    match found {
        Ok(found) if found == SOUND => Ok(Ok(true)),
        // Before it stands which database of the connection is meant; there is one.
        Ok(found) => Ok(Err(found.lines().last().unwrap_or_default().to_owned())),
        Err(error) if is_interrupted(&error) => Ok(Ok(false)),
        Err(error) => Err(error),
    }
}

fn size(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|meta| meta.len())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
