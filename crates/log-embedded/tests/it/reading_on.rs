//! A reader of the file that does not end: a backup, a shell, somebody who looks.

use std::path::Path;
use std::time::{Duration, Instant};

use postrider_log::testing::conformance::{A, DEADLINE, append, topics};
use postrider_log::{Log, NewRecord};
use postrider_log_embedded::{EmbeddedLog, LogMetrics, Options};
use rusqlite::Connection;

const WAL: u64 = 1 << 20;
/// How often its bound the WAL may hold.
const MOST: u64 = 4;

fn wal(dir: &Path) -> u64 {
    std::fs::metadata(dir.join("log.db-wal")).unwrap().len()
}

/// Reads, and does not stop reading.
fn reader(dir: &Path) -> Connection {
    let connection = Connection::open(dir.join("log.db")).unwrap();
    connection.execute_batch("BEGIN").unwrap();
    let count = "SELECT count(*) FROM topics";
    connection
        .query_row(count, [], |row| row.get::<_, i64>(0))
        .unwrap();
    connection
}

async fn write(log: &dyn Log, number: u64) {
    let record = NewRecord::new(A, number.to_string(), vec![1; 60_000]);
    append(log, vec![record]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_keeps_its_snapshot_does_not_hold_up_appends_and_the_wal_has_a_limit() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = LogMetrics::register(&postrider_metrics::Registry::new()).unwrap();
    let mut options = Options::new(dir.path(), topics(), metrics.clone());
    options.wal_bytes = WAL;
    let log = EmbeddedLog::open(options).unwrap();
    write(&log, 0).await;
    let reading = reader(dir.path());
    let began = Instant::now();
    let mut number = 1;
    // Each may write some pages more than the record fills.
    while wal(dir.path()) < (MOST - 1) * WAL {
        write(&log, number).await;
        number += 1;
    }
    assert!(number > 20, "{number} appends, each waiting on its own");
    // Two seconds each, if each waits for the reader.
    assert!(
        began.elapsed() < Duration::from_secs(40),
        "{number} appends took {:?}",
        began.elapsed()
    );
    // An eighth of the bound between two tries.
    assert!((1..=17).contains(&metrics.blocked.get()));

    // Only at the limit is the reader waited for.
    while wal(dir.path()) < MOST * WAL {
        write(&log, number).await;
        number += 1;
    }
    let begun = Instant::now();
    for _ in 0..2 {
        write(&log, number).await;
        number += 1;
    }
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert!(wal(dir.path()) <= MOST * WAL + (1 << 20));
    drop(reading);
    let begun = Instant::now();
    while metrics.wal.get() as u64 > WAL {
        assert!(begun.elapsed() < DEADLINE, "the WAL does not begin anew");
        write(&log, number).await;
        number += 1;
    }
    // The disk has it back.
    assert!(wal(dir.path()) <= 2 * WAL);
    log.close().await.unwrap();
}
