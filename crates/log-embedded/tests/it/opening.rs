//! Files that are not ours to open.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use postrider_log::testing::conformance::{A, FIRST, Member, SECOND, append, numbered, topics};
use postrider_log::{BatchLimit, Log, LogError, NewRecord};
use postrider_log_embedded::{EmbeddedLog, Inspected, OpenError, inspect};

use crate::support::{Other, given_dir, options};

fn open_error(dir: &Path) -> OpenError {
    match EmbeddedLog::open(options(dir, topics())) {
        Ok(_) => panic!("it must not open"),
        Err(error) => error,
    }
}

/// A closed log with a few records.
async fn made(dir: &Path) {
    let log = EmbeddedLog::open(options(dir, topics())).unwrap();
    append(&log, numbered(A, 3, 0, 100)).await;
    log.close().await.unwrap();
}

#[test]
#[ignore = "runs in a process of its own, for the test below"]
fn a_process_that_has_the_directory() {
    let Some(dir) = given_dir() else { return };
    let _log = EmbeddedLog::open(options(&dir, topics())).unwrap();
    println!("opened {}", std::process::id());
    // Until the parent lets go.
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn a_directory_that_belongs_to_another_process_is_refused_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = Other::run("opening::a_process_that_has_the_directory", dir.path());
    let owner = other.told("opened ").unwrap();
    let error = open_error(dir.path());
    assert!(matches!(error, OpenError::InUse { .. }));
    let text = error.to_string();
    assert!(
        text.contains("belongs to a running process") && text.contains(&owner),
        "{text}"
    );
    assert!(text.contains(dir.path().to_str().unwrap()), "{text}");
    other.kill();
    // A dead owner holds nothing.
    EmbeddedLog::open(options(dir.path(), topics())).unwrap();
}

#[tokio::test]
async fn what_is_kept_is_for_its_owner_alone_to_read() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(options(dir.path(), topics())).unwrap();
    append(&log, numbered(A, 3, 0, 100)).await;
    let files: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file:?}");
    }
    log.close().await.unwrap();
}

#[test]
fn a_directory_that_is_open_already_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(options(dir.path(), topics())).unwrap();
    assert!(matches!(open_error(dir.path()), OpenError::InUse { .. }));
    drop(log);
    EmbeddedLog::open(options(dir.path(), topics())).unwrap();
}

#[tokio::test]
async fn a_newer_version_is_refused_with_both_versions_named() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path()).await;
    let file = dir.path().join("log.db");
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let before = std::fs::read(&file).unwrap();
    let error = open_error(dir.path());
    assert!(
        matches!(
            error,
            OpenError::Newer {
                found: 99,
                known: 2,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("format 99"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn a_database_of_another_program_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log.db");
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(connection);
    let before = std::fs::read(&file).unwrap();
    assert!(matches!(open_error(dir.path()), OpenError::Foreign { .. }));
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[tokio::test]
async fn a_damaged_file_is_refused_with_advice_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path()).await;
    let file = dir.path().join("log.db");
    // The header; then the schema behind it.
    for at in [0, 100] {
        let whole = std::fs::read(&file).unwrap();
        let mut damaged = whole.clone();
        damaged[at..at + 60].fill(0xee);
        std::fs::write(&file, &damaged).unwrap();
        let error = open_error(dir.path());
        assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("log.db is damaged") && text.contains("backup"),
            "{text}"
        );
        assert_eq!(std::fs::read(&file).unwrap(), damaged);
        std::fs::write(&file, &whole).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_that_only_reading_finds_stops_the_reader_and_does_not_panic() {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(options(dir.path(), topics())).unwrap();
    append(&log, numbered(A, 3, 0, 20_000)).await;
    log.close().await.unwrap();
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .open(dir.path().join("log.db"))
        .unwrap();
    let length = file.metadata().unwrap().len();
    // The middle of the records, so that both ends are as they were.
    file.seek(SeekFrom::Start(length / 2 / 8192 * 8192))
        .unwrap();
    file.write_all(&[0xee; 3 * 8192]).unwrap();
    drop(file);
    let log = EmbeddedLog::open(options(dir.path(), topics())).unwrap();
    let mut member = Member::join(&log, FIRST, A).await;
    let limit = BatchLimit {
        records: 500,
        bytes: 1 << 20,
    };
    let error = loop {
        match member.next(limit).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    let LogError::Stopped(reason) = error else {
        panic!("it stops, and does not say {error}")
    };
    assert!(reason.contains("log.db"), "{reason}");
    let advised = reason.contains("starting again does not help. Restore it");
    assert!(advised, "{reason}");
}

/// What is in the directory, byte for byte, but for what SQLite keeps beside a log that is open.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let named = std::fs::read_dir(dir).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, std::fs::read(entry.path()).unwrap())
    });
    let mut files: Vec<_> = named.filter(|(name, _)| !name.ends_with("-shm")).collect();
    files.sort();
    files
}

/// What is seen by looking, which changes nothing.
fn look(dir: &Path) -> Result<Inspected, OpenError> {
    let before = files(dir);
    let seen = inspect(options(dir, topics()), Duration::from_secs(60));
    assert!(files(dir) == before, "a file was changed, made or removed");
    seen
}

#[tokio::test]
async fn looking_sees_what_opening_would_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(look(dir.path()).unwrap(), Inspected::Missing);
    let file = dir.path().join("log.db");
    std::fs::write(&file, "").unwrap();
    assert_eq!(look(dir.path()).unwrap(), Inspected::Empty);

    // Beside the process that has it; what that has written since lies in the WAL.
    let log = EmbeddedLog::open(options(dir.path(), topics())).unwrap();
    append(&log, numbered(A, 3, 0, 1000)).await;
    let is_sound = |seen| matches!(seen, Inspected::Sound { whole: true, bytes } if bytes > 0);
    assert!(is_sound(look(dir.path()).unwrap()));
    append(&log, numbered(A, 3, 1000, 1100)).await;
    log.close().await.unwrap();
    drop(log);
    assert!(is_sound(look(dir.path()).unwrap()));

    // What is refused is refused in the same words.
    let whole = std::fs::read(&file).unwrap();
    for at in [0, 100] {
        let mut damaged = whole.clone();
        damaged[at..at + 60].fill(0xee);
        std::fs::write(&file, &damaged).unwrap();
        let seen = look(dir.path()).unwrap_err().to_string();
        assert_eq!(seen, open_error(dir.path()).to_string());
    }
    std::fs::write(&file, &whole).unwrap();
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    assert!(matches!(look(dir.path()), Err(OpenError::Newer { .. })));
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert!(matches!(
        inspect(options(dir.path(), topics()), Duration::ZERO),
        Err(OpenError::Io { .. })
    ));
}

#[tokio::test]
async fn looking_finds_damage_that_opening_does_not_and_says_when_its_time_was_over() {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(options(dir.path(), topics())).unwrap();
    append(&log, numbered(A, 3, 0, 20_000)).await;
    log.close().await.unwrap();
    drop(log);
    let seen = inspect(options(dir.path(), topics()), Duration::ZERO).unwrap();
    assert!(matches!(seen, Inspected::Sound { whole: false, .. }));

    let file = dir.path().join("log.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2 / 8192 * 8192;
    bytes[middle..middle + 3 * 8192].fill(0xee);
    std::fs::write(&file, &bytes).unwrap();
    let error = look(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    assert!(!error.to_string().contains('\n'), "{error}");
}

#[tokio::test]
async fn looking_at_a_log_in_use_reads_every_record_and_finds_what_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(options(dir.path(), topics())).unwrap();
    append(&log, numbered(A, 3, 0, 20_000)).await;
    log.close().await.unwrap();
    drop(log);
    let _log = EmbeddedLog::open(options(dir.path(), topics())).unwrap();
    let sound = |seen| matches!(seen, Ok(Inspected::Sound { whole: true, .. }));
    assert!(sound(inspect(
        options(dir.path(), topics()),
        Duration::from_secs(60)
    )));
    let seen = inspect(options(dir.path(), topics()), Duration::ZERO).unwrap();
    assert!(matches!(seen, Inspected::Sound { whole: false, .. }));

    // Not by opening it as a file of ours: closing that would give away SQLite's locks.
    let file = dir.path().join("log.db");
    let length = std::fs::metadata(&file).unwrap().len();
    let middle = length / 2 / 8192;
    let status = std::process::Command::new("dd")
        .args(["if=/dev/urandom", "bs=8192", "count=3", "conv=notrunc"])
        .arg(format!("of={}", file.display()))
        .arg(format!("seek={middle}"))
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let error = inspect(options(dir.path(), topics()), Duration::from_secs(60)).unwrap_err();
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path(), topics());
    options.max_bytes = Some(options.reserve_bytes);
    let refused = EmbeddedLog::open(options).err().unwrap();
    assert!(refused.to_string().contains("reserve"), "{refused}");
}

fn large() -> Vec<NewRecord> {
    vec![NewRecord::new(A, "key", vec![0; 1 << 20])]
}

#[tokio::test]
async fn a_record_limit_below_what_waits_is_refused_and_the_message_names_what_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let open = |record_bytes| {
        let mut options = options(dir.path(), topics());
        options.record_bytes = record_bytes;
        EmbeddedLog::open(options)
    };
    let log = open(8 << 20).unwrap();
    append(&log, large()).await;
    log.close().await.unwrap();
    drop(log);
    let Err(error @ OpenError::RecordLimit { needed, .. }) = open(1 << 20) else {
        panic!("it must not open");
    };
    let text = error.to_string();
    assert!(
        text.contains(&format!("set log.record to {needed} or more")),
        "{text}"
    );
    let needed = usize::try_from(needed).unwrap();
    assert!(matches!(
        open(needed - 1),
        Err(OpenError::RecordLimit { .. })
    ));
    // What is said is right, and it may stay there: what is refused later is larger.
    let log = open(needed).unwrap();
    log.close().await.unwrap();
    drop(log);
    open(needed).unwrap().close().await.unwrap();
    open(8 << 20).unwrap().close().await.unwrap();
}

#[tokio::test]
async fn a_record_limit_below_what_is_finished_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path(), topics());
    let log = EmbeddedLog::open(options.clone()).unwrap();
    append(&log, large()).await;
    for group in [FIRST, SECOND] {
        let mut member = Member::join(&log, group, A).await;
        member.read(1).await;
        member.finish(Vec::new()).await.unwrap();
    }
    log.close().await.unwrap();
    drop(log);
    options.record_bytes = 200 << 10;
    EmbeddedLog::open(options).unwrap();
}
