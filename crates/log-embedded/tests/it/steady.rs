//! Writing that does not end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use postrider_log::testing::conformance::{B, FIRST, Member, append, topics};
use postrider_log::{BatchLimit, Log, NewRecord};
use postrider_log_embedded::{EmbeddedLog, LogMetrics, Options};

/// Of a record.
const BYTES: u64 = 1000;
/// What a file of nothing but what is not finished may hold beside: pages that are half full, and what was finished since
/// the last trim.
const BESIDE: u64 = 32 << 20;

/// How long: a minute unless the environment says otherwise.
fn duration() -> Duration {
    let seconds = std::env::var("POSTRIDER_TEST_STEADY_SECONDS");
    Duration::from_secs(seconds.map_or(60, |text| text.parse().expect("a number of seconds")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_steady_writing_the_wal_stays_within_its_bound_and_the_file_stops_growing() {
    const WAL: u64 = 16 << 20;
    let dir = tempfile::tempdir().unwrap();
    let metrics = LogMetrics::register(&postrider_metrics::Registry::new()).unwrap();
    let mut options = Options::new(dir.path(), topics(), metrics.clone());
    options.wal_bytes = WAL;
    let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(options).unwrap());
    let end = Instant::now() + duration();
    let appended = Arc::new(AtomicU64::new(0));
    let writer = {
        let (log, appended) = (Arc::clone(&log), Arc::clone(&appended));
        tokio::spawn(async move {
            let mut written = 0_u64;
            loop {
                // One append after the end, so that the reader below does not wait for what never comes.
                let last = Instant::now() >= end;
                let value = vec![1; BYTES as usize];
                let record = |n: u64| NewRecord::new(B, (n % 50).to_string(), value.clone());
                // Before they are there, so that the file never holds more than is known of.
                appended.fetch_add(50, Ordering::AcqRel);
                append(&*log, (written..written + 50).map(record).collect()).await;
                written += 50;
                if last {
                    return written;
                }
            }
        })
    };
    let mut member = Member::join(&*log, FIRST, B).await;
    let limit = BatchLimit {
        records: 500,
        bytes: 8 << 20,
    };
    let mut read = 0;
    let (mut largest_wal, mut largest_file, mut largest_backlog) = (0, 0, 0);
    let size = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().len();
    while Instant::now() < end {
        largest_backlog = largest_backlog.max(appended.load(Ordering::Acquire) - read);
        read += member.batch(limit).await.len() as u64;
        member.finish(Vec::new()).await.unwrap();
        largest_wal = largest_wal.max(size("log.db-wal"));
        largest_file = largest_file.max(size("log.db"));
    }
    let written = writer.await.unwrap();
    while read < written {
        read += member.batch(limit).await.len() as u64;
    }
    assert_eq!(read, written);
    // One commit may go past the bound before the writer pauses.
    assert!(
        largest_wal <= WAL + (8 << 20),
        "the WAL grew to {largest_wal} bytes"
    );
    assert!(
        written * BYTES < 4 * WAL || metrics.stall_seconds.count() > 0,
        "the WAL began anew"
    );
    // What was trimmed is used again: the file holds the backlog, not the history.
    let backlog = largest_backlog * BYTES;
    println!(
        "{written} records, WAL at most {largest_wal} bytes, backlog {backlog}, file {largest_file}"
    );
    assert!(
        largest_file <= 2 * backlog + BESIDE,
        "the file grew to {largest_file} bytes, and {backlog} waited at most"
    );
    assert!(
        written * BYTES > 2 * BESIDE,
        "too little was written to see it"
    );
}
