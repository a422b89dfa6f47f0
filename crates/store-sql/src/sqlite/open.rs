//! Opening: the lock, the file, the connections, the schema.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use postrider_store::StoreId;
use sqlx::ConnectOptions;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::migrations::{migrate, opening};
use super::{Damage, SqliteStore};
use crate::columns::Columns;
use crate::{OpenError, StoreMetrics};

/// Only the owner may read what holds secrets. The files of the WAL take the mode of the database.
const MODE: u32 = 0o600;

/// Connections that read for the API. Each costs its page cache.
pub(super) const READERS: u32 = 3;

/// Those that read for the pipeline: the recorder waits for its answers, beside a replay and the retention.
const PIPELINE_READERS: u32 = 2;

/// How long a call waits for a connection before the store counts as not available.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// Nothing else writes, so this is for checkpoints and backups of others.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the lock is waited for: a command that looks whether anybody holds it has it for a moment. Other commands try to
/// open the store first, and ask its server after that, so it is short.
const PATIENCE: Duration = Duration::from_millis(200);
const AGAIN: Duration = Duration::from_millis(20);

/// Rows of a kilobyte fill pages of 4 KiB badly.
const PAGE_BYTES: u32 = 8192;

/// Page caches in KiB, as the pragma wants them: negative.
const WRITER_CACHE: &str = "-4096";
const READER_CACHE: &str = "-1024";

/// The WAL is cut back to this after a checkpoint that emptied it.
const WAL_BYTES: &str = "67108864";

impl SqliteStore {
    /// Opens the store in the file at `path`, which is made if it is not there.
    pub async fn open(path: &Path, metrics: StoreMetrics) -> Result<Self, OpenError> {
        let lock = lock(path).await?;
        prepare_file(path)?;
        let writer = connect(path, writer_options(path), 1).await?;
        migrate(path, &writer).await?;
        let readers = connect(path, reader_options(path), READERS).await?;
        let pipeline = connect(path, reader_options(path), PIPELINE_READERS).await?;
        let feed = connect(path, reader_options(path), 1).await?;
        let row = sqlx::query("SELECT store_id, version FROM meta")
            .fetch_one(&writer)
            .await
            .map_err(|error| opening(path, error))?;
        let unreadable = |error: postrider_store::StoreError| OpenError::Damaged {
            path: path.to_owned(),
            why: error.to_string(),
        };
        Ok(Self {
            id: StoreId(row.bytes("store_id").map_err(unreadable)?),
            announced: Arc::new(AtomicU64::new(
                row.some_number("version").map_err(unreadable)?,
            )),
            writer,
            readers,
            pipeline,
            feed,
            metrics,
            damage: Damage::of(path),
            lock: Arc::new(Mutex::new(Some(lock))),
        })
    }
}

/// The lock file beside `path`, which its owner holds.
pub(super) fn lock_path(path: &Path) -> PathBuf {
    path.with_extension("lock")
}

/// Takes the lock file beside `path`, which the system frees when the process ends.
async fn lock(path: &Path) -> Result<File, OpenError> {
    let lock_path = lock_path(path);
    let failed = |source| OpenError::Io {
        path: lock_path.clone(),
        source,
    };
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(MODE);
    let file = options.open(&lock_path).map_err(failed)?;
    match try_for(&file, PATIENCE).await {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            path: path.to_owned(),
            lock: lock_path,
        }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

async fn try_for(file: &File, patience: Duration) -> Result<(), TryLockError> {
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if begun.elapsed() < patience => {
                tokio::time::sleep(AGAIN).await;
            }
            tried => return tried,
        }
    }
}

/// Makes the file if it is not there, and sees to its mode.
fn prepare_file(path: &Path) -> Result<(), OpenError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(MODE);
    options
        .open(path)
        .and_then(|file| file.set_permissions(Permissions::from_mode(MODE)))
        .map_err(|source| OpenError::Io {
            path: path.to_owned(),
            source,
        })
}

fn writer_options(path: &Path) -> SqliteConnectOptions {
    common_options(path)
        .journal_mode(SqliteJournalMode::Wal)
        .page_size(PAGE_BYTES)
        .foreign_keys(true)
        .pragma("cache_size", WRITER_CACHE)
        .pragma("journal_size_limit", WAL_BYTES)
}

fn reader_options(path: &Path) -> SqliteConnectOptions {
    common_options(path)
        .pragma("cache_size", READER_CACHE)
        .pragma("query_only", "on")
}

/// Readers are told to sync, too: whichever connection closes last writes the checkpoint.
fn common_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging()
}

async fn connect(
    path: &Path,
    options: SqliteConnectOptions,
    connections: u32,
) -> Result<SqlitePool, OpenError> {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(options)
        .await
        .map_err(|error| opening(path, error))
}

#[cfg(test)]
mod tests {
    use postrider_store::{Closing, ConfigFeed};

    use super::*;

    /// What `PRAGMA synchronous` says for `FULL`: every commit is fsynced.
    const FULL: i64 = 2;

    #[tokio::test]
    async fn every_connection_syncs_each_commit() {
        let dir = tempfile::tempdir().unwrap();
        let metrics = StoreMetrics::register(&postrider_metrics::Registry::new()).unwrap();
        let path = dir.path().join("store.db");
        let store = SqliteStore::open(&path, metrics).await.unwrap();
        for pool in [&store.writer, &store.readers, &store.pipeline, &store.feed] {
            let pragma = sqlx::query_scalar::<_, i64>("PRAGMA synchronous");
            assert_eq!(pragma.fetch_one(pool).await.unwrap(), FULL);
        }
    }

    #[tokio::test]
    async fn changes_are_read_while_slow_questions_have_every_other_reader() {
        let dir = tempfile::tempdir().unwrap();
        let metrics = StoreMetrics::register(&postrider_metrics::Registry::new()).unwrap();
        let path = dir.path().join("store.db");
        let store = SqliteStore::open(&path, metrics).await.unwrap();
        let mut busy = Vec::new();
        for _ in 0..READERS {
            busy.push(store.readers.acquire().await.unwrap());
        }
        assert!(store.readers.try_acquire().is_none(), "a reader is free");
        let changes = store.changes(0).await.unwrap();
        assert!(changes.whole);
        drop(busy);
        store.close().await;
    }
}
