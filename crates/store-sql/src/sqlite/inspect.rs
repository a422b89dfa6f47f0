//! Looking at a file, without changing it and beside whoever has it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use postrider_model::is_held;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

use super::migrations::{NEWEST, newer, opening, version};
use super::open::{BUSY_TIMEOUT, lock_path};
use crate::error::is_interrupted;
use crate::steps::Newer;
use crate::{Extent, Inspected, InspectedFile, OpenError};

/// SQLite asks whether to go on after so many steps of its machine, or pages.
const ASKED_AFTER: i32 = 1000;
/// How long one snapshot of a file is read that somebody works on: meanwhile its WAL grows, and its owner, at its stop, waits
/// for the end.
const PORTION: Duration = Duration::from_secs(2);
const _: () = assert!(PORTION.as_millis() * 2 < BUSY_TIMEOUT.as_millis());

/// Every page that is in use, and whether what lies in it is in order, up to the first that is not: what was found before an
/// interruption is not told. Not as a table, which takes the number for a table's name.
const ALL: &str = "PRAGMA quick_check(1)";
/// The same of a table and its indexes; SQLite does not end it at what it finds.
const OF_TABLE: &str = "SELECT quick_check FROM pragma_quick_check(?)";
/// With the schema the pages are read that are free.
const TABLES: &str = "SELECT 'sqlite_schema' UNION ALL \
                      SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1";
const SOUND: &str = "ok";

/// What there is to see of the file at `path`, of which all pages are read, for about `time` at most.
pub(crate) async fn inspect(path: &Path, time: Duration) -> Result<Inspected, OpenError> {
    // Where `path` is a symbolic link, SQLite has its other files beside what it leads to.
    let (schema, newer, file) = match path.canonicalize() {
        Ok(file) => {
            let wal = || size(&beside(&file, "-wal"));
            let before = wal();
            match look(path, &file, before, time).await {
                // A file without a WAL is nobody's, and is read as one that does not change. It does if it is opened just now.
                Err(OpenError::Damaged { .. }) if before.is_none() && wal().is_some() => {
                    look(path, &file, wal(), time).await?
                }
                seen => seen?,
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => (None, Newer(Vec::new()), None),
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

/// Looks at `file`, which the server knows as `path`.
async fn look(
    path: &Path,
    file: &Path,
    wal: Option<u64>,
    time: Duration,
) -> Result<Seen, OpenError> {
    let failed = |error| opening(path, error);
    let bytes = size(file).unwrap_or_default() + wal.unwrap_or_default();
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    // Otherwise a WAL is made, and left there.
    let options = options.immutable(wal.is_none());
    let pool = SqlitePoolOptions::new().max_connections(1);
    let pool = pool.connect_with(options).await.map_err(failed)?;
    // A WAL says nothing: a server that was killed leaves its own.
    let in_use = is_held(&lock_path(path));
    let found = async {
        let (schema, newer) = (version(&pool).await?, newer(&pool).await?);
        let read = match in_use {
            true => read_tables(&pool, time, PORTION).await?,
            false => read_all(&pool, time).await?,
        };
        Ok((schema, newer, read))
    };
    let found = found.await.map_err(failed);
    pool.close().await;
    let (schema, newer, read) = found?;
    let extent = read.map_err(|why| OpenError::Damaged {
        path: path.to_owned(),
        why,
    })?;
    Ok((schema, newer, Some(InspectedFile { bytes, extent })))
}

/// What was read and found sound; or what is wrong.
type Read<T> = Result<Result<T, String>, sqlx::Error>;

async fn read_all(pool: &SqlitePool, time: Duration) -> Read<Extent> {
    let whole = check(pool, None, until(Instant::now() + time)).await?;
    Ok(whole.map(|whole| match whole {
        true => Extent::Whole,
        false => Extent::Part,
    }))
}

/// Reads table by table, each for as long as a portion, in a snapshot of its own.
async fn read_tables(pool: &SqlitePool, time: Duration, portion: Duration) -> Read<Extent> {
    let end = Instant::now() + time;
    let tables: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(pool).await?;
    let mut others = Vec::new();
    for table in tables {
        let now = Instant::now();
        if now >= end {
            others.push(table);
            continue;
        }
        match check(pool, Some(&table), until(end.min(now + portion))).await? {
            Ok(true) => {}
            Ok(false) => others.push(table),
            Err(damage) => return Ok(Err(damage)),
        }
    }
    Ok(Ok(match others.is_empty() {
        true => Extent::Whole,
        false => Extent::AllBut(others),
    }))
}

fn until(end: Instant) -> impl FnMut() -> bool + Send + 'static {
    move || Instant::now() < end
}

/// Whether all of the table, or of the file, was read, or SQLite was told not to go on. What is small is read before it asks.
async fn check(
    pool: &SqlitePool,
    table: Option<&str>,
    goes_on: impl FnMut() -> bool + Send + 'static,
) -> Read<bool> {
    let mut connection = pool.acquire().await?;
    let mut handle = connection.lock_handle().await?;
    handle.set_progress_handler(ASKED_AFTER, goes_on);
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const PAGE_BYTES: usize = 512;
    /// Above [`ASKED_AFTER`].
    const PAGES: usize = 3000;
    /// In the row that is read first: SQLite reads a tree from its end.
    const MARK: &[u8] = b"the last of them";

    /// A file with a table of one row, and one that SQLite asks about while it reads it.
    async fn file(path: &Path) {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .page_size(PAGE_BYTES as u32);
        let pool = SqlitePoolOptions::new().max_connections(1);
        let pool = pool.connect_with(options).await.unwrap();
        for statement in [
            "CREATE TABLE small (x)",
            "INSERT INTO small VALUES (1)",
            "CREATE TABLE large (x)",
        ] {
            sqlx::query(statement).execute(&pool).await.unwrap();
        }
        let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) \
                    INSERT INTO large SELECT zeroblob(400) FROM n";
        let fill = sqlx::query(fill).bind(PAGES as i64);
        fill.execute(&pool).await.unwrap();
        let last = sqlx::query("INSERT INTO large VALUES (CAST(? AS BLOB) || zeroblob(300))");
        last.bind(MARK).execute(&pool).await.unwrap();
        pool.close().await;
    }

    async fn open(path: &Path) -> SqlitePool {
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        let pool = SqlitePoolOptions::new().max_connections(1);
        pool.connect_with(options).await.unwrap()
    }

    #[tokio::test]
    async fn reading_ends_where_it_is_told_to_and_says_what_was_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file.db");
        file(&path).await;
        let pool = open(&path).await;
        assert_eq!(check(&pool, None, || true).await.unwrap(), Ok(true));
        assert_eq!(check(&pool, None, || false).await.unwrap(), Ok(false));
        let time = Duration::from_secs(600);
        let all = read_tables(&pool, time, time).await.unwrap();
        assert_eq!(all, Ok(Extent::Whole));
        let short = read_tables(&pool, time, Duration::ZERO).await.unwrap();
        assert_eq!(short, Ok(Extent::AllBut(vec!["large".to_owned()])));
        let none = read_tables(&pool, Duration::ZERO, time).await.unwrap();
        let tables = ["large", "small", "sqlite_schema"].map(str::to_owned);
        assert_eq!(none, Ok(Extent::AllBut(tables.into())));
        let part = read_all(&pool, Duration::ZERO).await.unwrap();
        assert_eq!(part, Ok(Extent::Part));
    }

    #[tokio::test]
    async fn what_was_found_before_the_time_was_over_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file.db");
        file(&path).await;
        let mut bytes = fs::read(&path).unwrap();
        let mark = bytes.windows(MARK.len()).position(|some| some == MARK);
        let page = mark.unwrap() / PAGE_BYTES;
        bytes[page * PAGE_BYTES..(page + 1) * PAGE_BYTES].fill(0xee);
        fs::write(&path, bytes).unwrap();
        let pool = open(&path).await;
        let found = check(&pool, None, || false).await.unwrap();
        let words = found.unwrap_err();
        assert!(words.contains(&format!("page {}", page + 1)), "{words}");
    }
}
