//! Opening: what is made, what is found again, and what is refused with which words.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use postrider_model::Timestamp;
use postrider_store::{Claims, Closing, ConfigFeed, Store, StoreError};
use postrider_store_sql::{Extent, Inspected, OpenError, PostgresOptions, SqliteStore, open};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::metrics;

async fn refusal(path: &Path) -> OpenError {
    let opened = SqliteStore::open(path, metrics()).await;
    opened.err().expect("it opened")
}

/// How long looking may take, where it is to see everything.
const ENOUGH: Duration = Duration::from_secs(60);

async fn look(path: &Path, time: Duration) -> Result<Inspected, OpenError> {
    let url = format!("sqlite:{}", path.display());
    postrider_store_sql::inspect(&url, PostgresOptions::default(), time).await
}

async fn raw(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path);
    SqliteConnection::connect_with(&options).await.unwrap()
}

#[tokio::test]
async fn the_file_and_what_lies_beside_it_are_for_their_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let url = format!("sqlite:{}", path.display());
    let store = open(&url, metrics()).await.unwrap();
    store.changes(0).await.unwrap();
    let mut names = Vec::new();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(
        names,
        ["store.db", "store.db-shm", "store.db-wal", "store.lock"]
    );
}

#[tokio::test]
async fn a_store_that_is_in_use_is_not_opened_again_until_it_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = SqliteStore::open(&path, metrics()).await.unwrap();
    let error = refusal(&path).await;
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    let words = error.to_string();
    assert!(
        words.contains("store.db is in use by another process"),
        "{words}"
    );
    drop(store);
    SqliteStore::open(&path, metrics()).await.unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_both_versions() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = SqliteStore::open(&path, metrics()).await.unwrap();
    store.close().await;
    let mut connection = raw(&path).await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99, 'of the future', 1, x'00', 0)",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    let error = refusal(&path).await;
    assert!(
        matches!(error, OpenError::Newer { found: 99, known, .. } if known < 99),
        "{error}"
    );
    let words = error.to_string();
    assert!(words.contains("schema version 99") && words.contains("none above"));
}

/// Adds a step of the future: with this name, and this done.
async fn step_on(path: &Path, name: &str, statement: &'static str) {
    let mut connection = raw(path).await;
    sqlx::query(statement)
        .execute(&mut connection)
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         SELECT max(version) + 90, $1, 1, x'00', 0 FROM _sqlx_migrations",
    )
    .bind(name)
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_schema_that_a_newer_program_has_expanded_is_worked_on_and_one_that_it_contracted_is_not()
{
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = SqliteStore::open(&path, metrics()).await.unwrap();
    store.close().await;
    let wider = "ALTER TABLE claims ADD COLUMN note TEXT";
    step_on(&path, "expand claims", wider).await;
    let at = Timestamp::from_millis;
    let store = SqliteStore::open(&path, metrics()).await.unwrap();
    store
        .claim("k", "a", &[0; 32], at(0), at(10))
        .await
        .unwrap();
    store.confirm("k", "a", b"done", at(1)).await.unwrap();
    store.changes(0).await.unwrap();
    store.close().await;
    let seen = look(&path, ENOUGH).await.unwrap();
    assert_eq!(seen.forbids, None);
    assert!(seen.schema > Some(seen.known));

    step_on(&path, "contract claims", "DROP TABLE claims").await;
    let error = refusal(&path).await;
    assert!(matches!(error, OpenError::Newer { .. }), "{error}");
}

#[tokio::test]
async fn what_is_no_database_or_a_damaged_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    fs::write(&path, "this is a text, not a database. ".repeat(1000)).unwrap();
    let error = refusal(&path).await;
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("restore it from a backup"));

    fs::remove_file(&path).unwrap();
    let store = SqliteStore::open(&path, metrics()).await.unwrap();
    store.close().await;
    let mut bytes = fs::read(&path).unwrap();
    bytes[100..4096].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let error = refusal(&path).await;
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn a_folder_that_is_not_there_and_an_unknown_url_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nowhere").join("store.db");
    let error = refusal(&path).await;
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
    assert!(error.to_string().contains("nowhere"));
    for url in ["mysql://root:hunter2@db/x", "sqlite:", "store.db"] {
        let error = open(url, metrics()).await.err().unwrap();
        assert!(matches!(error, OpenError::Url(_)), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn what_was_answered_is_there_after_the_store_was_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let at = Timestamp::from_millis;
    let store = SqliteStore::open(&path, metrics()).await.unwrap();
    let claim = store.claim("k", "a", &[0; 32], at(0), at(10)).await;
    claim.unwrap();
    store.confirm("k", "a", b"done", at(1)).await.unwrap();
    drop(store);
    let store: Box<dyn Store> = Box::new(SqliteStore::open(&path, metrics()).await.unwrap());
    let claim = store.claim("k", "b", &[0; 32], at(99), at(109)).await;
    let done = postrider_store::Claim::Done {
        fingerprint: [0; 32],
        answer: "done".into(),
    };
    assert_eq!(claim.unwrap(), done);
}

/// WAL with full sync on every connection, and pages that hold rows of a kilobyte well.
#[tokio::test]
async fn the_file_is_in_wal_mode_with_large_pages() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = SqliteStore::open(&path, metrics()).await.unwrap();
    let mut connection = raw(&path).await;
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let page: i64 = sqlx::query_scalar("PRAGMA page_size")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!((mode.as_str(), page), ("wal", 8192));
    store.close().await;
}

#[tokio::test]
async fn a_closed_store_leaves_everything_in_its_one_file_also_when_somebody_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = SqliteStore::open(&path, metrics()).await.unwrap();
    let at = Timestamp::from_millis;
    store.claim("k", "a", &[0; 32], at(0), at(1)).await.unwrap();
    // A backup's connection: with it open, SQLite itself would leave the WAL as it is.
    let mut beside = raw(&path).await;
    let claims = "SELECT count(*) FROM claims";
    let count: i64 = sqlx::query_scalar(claims)
        .fetch_one(&mut beside)
        .await
        .unwrap();
    assert_eq!(count, 1);
    store.close().await;
    let wal = fs::metadata(dir.path().join("store.db-wal")).map_or(0, |file| file.len());
    assert_eq!(wal, 0, "bytes in the WAL");
    beside.close().await.unwrap();
    SqliteStore::open(&path, metrics()).await.unwrap();
}

/// Spoils the page in which the tree of `name` begins.
async fn spoil(path: &Path, name: &str) {
    let mut connection = raw(path).await;
    let page = sqlx::query_scalar("SELECT rootpage FROM sqlite_schema WHERE name = ?").bind(name);
    let page: usize = page
        .fetch_one(&mut connection)
        .await
        .map(|page: i64| page.try_into().unwrap())
        .unwrap();
    connection.close().await.unwrap();
    let mut bytes = fs::read(path).unwrap();
    bytes[(page - 1) * PAGE_BYTES..page * PAGE_BYTES].fill(0xee);
    fs::write(path, bytes).unwrap();
}

const PAGE_BYTES: usize = 8192;

#[tokio::test]
async fn looking_reads_every_page_and_finds_damage_that_opening_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = SqliteStore::open(&path, metrics()).await.unwrap();
    store.close().await;
    let seen = look(&path, ENOUGH).await.unwrap().file.unwrap();
    assert!(seen.bytes > 0 && seen.extent == Extent::Whole, "{seen:?}");
    let names: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");

    spoil(&path, "events_by_time").await;
    let error = look(&path, ENOUGH).await.unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("Stop the server"), "{error}");
    // While it is in use it is read table by table.
    let store = SqliteStore::open(&path, metrics()).await.unwrap();
    let error = look(&path, ENOUGH).await.unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    store.close().await;
}

/// Gives the file free pages, and returns the number of that which lists the others.
async fn free_pages(path: &Path) -> usize {
    let mut connection = raw(path).await;
    for statement in [
        "CREATE TABLE gone (x)",
        "INSERT INTO gone VALUES (zeroblob(200000))",
        "DROP TABLE gone",
    ] {
        let done = sqlx::query(statement).execute(&mut connection);
        done.await.unwrap();
    }
    connection.close().await.unwrap();
    let bytes = fs::read(path).unwrap();
    let list = u32::from_be_bytes(bytes[FREE_LIST][..4].try_into().unwrap());
    assert_ne!(list, 0);
    list as usize
}

/// Where in a file stands which pages are free, and how many (<https://sqlite.org/fileformat2.html>, 1.3).
const FREE_LIST: Range<usize> = 32..40;

#[tokio::test]
async fn looking_at_a_store_in_use_finds_a_damaged_list_of_free_pages() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = SqliteStore::open(&path, metrics()).await.unwrap();
    store.close().await;
    let list = free_pages(&path).await;
    let mut bytes = fs::read(&path).unwrap();
    bytes[(list - 1) * PAGE_BYTES..list * PAGE_BYTES].fill(0xee);
    fs::write(&path, bytes).unwrap();
    let store = SqliteStore::open(&path, metrics()).await.unwrap();
    let error = look(&path, ENOUGH).await.unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("reelist"), "{error}");
    store.close().await;
}

/// Pages of which nobody knows are found only where no table is left out.
#[tokio::test]
async fn what_a_killed_server_left_is_read_whole_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = SqliteStore::open(&path, metrics()).await.unwrap();
    store.close().await;
    free_pages(&path).await;
    let mut bytes = fs::read(&path).unwrap();
    bytes[FREE_LIST].fill(0);
    fs::write(&path, bytes).unwrap();
    let store = SqliteStore::open(&path, metrics()).await.unwrap();
    let at = Timestamp::from_millis;
    let claim = store.claim("k", "a", &[0; 32], at(0), at(10)).await;
    claim.unwrap();
    let seen = look(&path, ENOUGH).await.unwrap().file.unwrap();
    assert_eq!(seen.extent, Extent::Whole);
    let seen = look(&path, Duration::ZERO).await.unwrap().file.unwrap();
    let Extent::AllBut(tables) = seen.extent else {
        panic!("{seen:?}");
    };
    for table in ["sqlite_schema", "claims", "attempts"] {
        assert!(tables.iter().any(|name| name == table), "{tables:?}");
    }

    let left = tempfile::tempdir().unwrap();
    for name in ["store.db", "store.db-wal", "store.lock"] {
        fs::copy(dir.path().join(name), left.path().join(name)).unwrap();
    }
    let wal = fs::read(left.path().join("store.db-wal")).unwrap();
    assert!(!wal.is_empty());
    let error = look(&left.path().join("store.db"), ENOUGH).await;
    let error = error.unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("never used"), "{error}");
    assert!(fs::read(left.path().join("store.db-wal")).unwrap() == wal);
    store.close().await;
}

#[tokio::test]
async fn looking_follows_a_symbolic_link_to_where_the_wal_lies() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = dir.path().join("store.db");
    symlink(disk.path().join("store.db"), &path).unwrap();
    let seen = look(&path, ENOUGH).await.unwrap();
    assert_eq!((seen.schema, seen.file), (None, None));
    let store = SqliteStore::open(&path, metrics()).await.unwrap();
    assert!(disk.path().join("store.db-wal").exists());
    let seen = look(&path, ENOUGH).await.unwrap();
    assert_eq!(seen.schema, Some(seen.known));
    assert_eq!(seen.place, path.display().to_string());
    let size = fs::metadata(&path).unwrap().len();
    assert!(seen.file.unwrap().bytes > size);
    store.close().await;

    fs::remove_file(&path).unwrap();
    symlink("store.db", &path).unwrap();
    let error = look(&path, ENOUGH).await.unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}

#[tokio::test]
async fn a_start_waits_for_one_who_only_looks_whether_anybody_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let looked_at = fs::File::create(dir.path().join("store.lock")).unwrap();
    looked_at.lock_shared().unwrap();
    let mut opening = Box::pin(SqliteStore::open(&path, metrics()));
    assert!(futures::poll!(&mut opening).is_pending());
    looked_at.unlock().unwrap();
    opening.await.unwrap().close().await;
}

#[tokio::test]
async fn damage_that_a_call_comes_to_is_told_with_the_file_and_what_to_do_and_stays_known() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = SqliteStore::open(&path, metrics()).await.unwrap();
    store.close().await;
    spoil(&path, "claims").await;
    let store = SqliteStore::open(&path, metrics()).await.unwrap();
    let damage = store.for_pipeline().damage();
    store.changes(0).await.unwrap();
    assert_eq!(damage.found(), None);
    let at = Timestamp::from_millis;
    let claim = store.claim("k", "a", &[0; 32], at(0), at(10)).await;
    let Err(error @ StoreError::Damaged(_)) = claim else {
        panic!("{claim:?}");
    };
    store.changes(0).await.unwrap();
    for words in [error.to_string().as_str(), damage.found().unwrap()] {
        assert!(
            words.contains("store.db (") && words.contains("Stop the server"),
            "{words}"
        );
    }
    store.close().await;
}
