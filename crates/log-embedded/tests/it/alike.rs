//! Values that end alike: written once, never missing, gone when all who need them are.

use std::path::Path;
use std::time::{Duration, Instant};

use postrider_log::testing::conformance::{
    A, B, DEADLINE, FIRST, Member, SECOND, append, numbered, topics,
};
use postrider_log::{BatchLimit, Durability, Log, LogError, NewRecord, Purpose, Topic};
use postrider_log_embedded::{EmbeddedLog, Inspected, inspect};
use rusqlite::Connection;

use crate::support::{finish_all, numbers, options};

fn open(dir: &Path) -> EmbeddedLog {
    EmbeddedLog::open(options(dir, topics())).unwrap()
}

/// Records whose keys are numbers from `from` on, with one payload behind beginnings of their own.
fn alike(from: u64, count: u64, bytes: usize) -> Vec<NewRecord> {
    let value = |number: u64| [format!("{number:08}").into_bytes(), vec![0x5a; bytes]].concat();
    (from..from + count)
        .map(|number| NewRecord::new(A, number.to_string(), value(number)))
        .collect()
}

/// Rows of topic `A` in the file, and how many of them need another.
fn rows(dir: &Path) -> (i64, i64) {
    let connection = Connection::open(dir.join("log.db")).unwrap();
    let table = format!("\"topic:{A}\"");
    let sql = format!("SELECT count(*), count(back) FROM {table}");
    connection
        .query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
}

/// The first position that is left of a topic; none if nothing is.
fn first(dir: &Path, topic: Topic) -> Option<i64> {
    let connection = Connection::open(dir.join("log.db")).unwrap();
    let sql = format!("SELECT min(position) FROM \"topic:{topic}\"");
    connection.query_row(&sql, [], |row| row.get(0)).unwrap()
}

/// Waits until a topic begins there.
async fn trimmed(dir: &Path, topic: Topic, to: Option<i64>) {
    let begun = Instant::now();
    while first(dir, topic) != to {
        let found = first(dir, topic);
        assert!(begun.elapsed() < DEADLINE, "{topic} begins at {found:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Finishes so many records of topic `A` for both of its groups.
async fn finish(log: &dyn Log, count: usize) {
    for group in [FIRST, SECOND] {
        let mut member = Member::join(log, group, A).await;
        member.read(count).await;
        member.finish(Vec::new()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_alike_in_one_append_lies_on_the_disk_once() {
    const BYTES: usize = 20_000;
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, alike(0, 100, BYTES)).await;
    // Of another append, so a whole one.
    append(&log, alike(100, 1, BYTES)).await;
    log.close().await.unwrap();
    assert_eq!(rows(dir.path()), (101, 99));
    let file = std::fs::metadata(dir.path().join("log.db")).unwrap().len();
    assert!(file < 20 * BYTES as u64, "{file}");
    let log = open(dir.path());
    assert_eq!(numbers(&log, FIRST).await, (0..101).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trim_in_their_middle_leaves_what_the_others_need() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    // More than reach each other.
    append(&log, alike(0, 1500, 1000)).await;
    finish(&log, 1200).await;
    // Up to the whole one that the rest needs: such lie at 0, 513 and 1026.
    trimmed(dir.path(), A, Some(1026)).await;
    log.close().await.unwrap();
    let log = open(dir.path());
    let mut member = Member::join(&log, FIRST, A).await;
    let rest = member.read(300).await;
    let values = rest.into_iter().map(|record| record.value);
    let written = alike(1200, 300, 1000);
    assert!(values.eq(written.into_iter().map(|record| record.value)));
    member.finish(Vec::new()).await.unwrap();
    drop(member);
    assert_eq!(finish_all(&log, SECOND).await.len(), 300);
    trimmed(dir.path(), A, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_must_stay_for_others_keeps_no_other_topic_from_being_trimmed() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, alike(0, 400, 1000)).await;
    append(&log, numbered(B, 1, 0, 10)).await;
    finish(&log, 399).await;
    let mut member = Member::join(&log, FIRST, B).await;
    member.read(10).await;
    member.finish(Vec::new()).await.unwrap();
    trimmed(dir.path(), B, None).await;
    assert_eq!(first(dir.path(), A), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_whose_end_is_missing_stops_the_log_and_makes_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, alike(0, 3, 1000)).await;
    log.close().await.unwrap();
    let connection = Connection::open(dir.path().join("log.db")).unwrap();
    let table = format!("\"topic:{A}\"");
    let damage = format!("UPDATE {table} SET value = x'00' WHERE position = 0");
    connection.execute(&damage, []).unwrap();
    drop(connection);
    let log = open(dir.path());
    let mut member = Member::join(&log, FIRST, A).await;
    let limit = BatchLimit {
        records: 10,
        bytes: 1 << 20,
    };
    let error = member.next(limit).await.unwrap_err();
    assert!(
        matches!(&error, LogError::Stopped(why) if why.contains("log.db") && why.contains("end")),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_the_first_format_is_opened_and_written_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    for number in 0..20 {
        append(&log, alike(number, 1, 1000)).await;
    }
    log.close().await.unwrap();
    let connection = Connection::open(dir.path().join("log.db")).unwrap();
    for topic in topics() {
        let table = format!("\"topic:{}\"", topic.topic);
        // A compacted one has no such columns.
        let _ = connection.execute_batch(&format!(
            "ALTER TABLE {table} DROP COLUMN back; ALTER TABLE {table} DROP COLUMN ending"
        ));
    }
    connection.pragma_update(None, "user_version", 1).unwrap();
    drop(connection);
    // Looked at before, and under a lower limit, so that all sizes are.
    let mut lower = options(dir.path(), topics());
    lower.record_bytes = 1 << 20;
    let seen = inspect(lower, Duration::from_secs(60)).unwrap();
    assert!(
        matches!(seen, Inspected::Sound { whole: true, .. }),
        "{seen:?}"
    );
    let log = open(dir.path());
    log.append(alike(20, 20, 1000), Durability::Synced, Purpose::Intake)
        .await
        .unwrap();
    log.close().await.unwrap();
    assert_eq!(rows(dir.path()), (40, 19));
    let log = open(dir.path());
    assert_eq!(numbers(&log, FIRST).await, (0..40).collect::<Vec<_>>());
}
