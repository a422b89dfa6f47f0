//! CPU per record of the embedded log beside SQLite alone, in one run: `cargo run --release --example throughput`.
//!
//! Records of 1 KiB are appended `Ordered` in batches, read by one group, finished and trimmed; checkpoints included.
//! SQLite alone inserts and deletes the same rows in transactions of the same size, on one thread.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark: it prints, and ends at the first error"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use postrider_log::{
    BatchLimit, Committed, Completion, Durability, Epochs, Group, Keep, Log, NewRecord, Polled,
    Progress, Purpose, Subscription, Topic, TopicSpec,
};
use postrider_log_embedded::{EmbeddedLog, LogMetrics, Options};
use rusqlite::Connection;

const TOPIC: Topic = Topic("throughput");
const GROUP: Group = Group("reader");
const VALUE_BYTES: usize = 1024;

/// CPU time of all threads so far, by the scheduler's own count.
fn cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux has /proc");
    let nanoseconds = tasks.filter_map(|task| {
        let stat = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

struct Cost {
    cpu: Duration,
    wall: Duration,
}

fn measured(run: impl FnOnce()) -> Cost {
    let (cpu_before, began) = (cpu(), Instant::now());
    run();
    Cost {
        cpu: cpu().saturating_sub(cpu_before),
        wall: began.elapsed(),
    }
}

async fn write(log: &dyn Log, batch: usize, total: usize) {
    let value = Bytes::from(vec![7; VALUE_BYTES]);
    for _ in 0..total / batch {
        let record = || NewRecord::new(TOPIC, "ep_0123456789", value.clone());
        let records = (0..batch).map(|_| record()).collect();
        let appended = log
            .append(records, Durability::Ordered, Purpose::Pipeline)
            .await;
        appended.expect("appended");
    }
}

async fn read(log: &dyn Log, batch: usize, total: usize) {
    let joined = log.subscribe(Subscription::to(GROUP, TOPIC)).await;
    let (mut reader, committer) = joined.expect("joined");
    let limit = BatchLimit {
        records: batch.max(100),
        bytes: 4 << 20,
    };
    let (mut read, mut epochs) = (0, Epochs::default());
    while read < total {
        let polled = reader.next(limit).await.expect("read");
        epochs.hear(&polled);
        let Polled::Records(records) = polled else {
            continue;
        };
        read += records.len();
        let last = records.last().expect("never empty");
        let committed = Committed {
            next: last.position + 1,
            metadata: String::new(),
        };
        let completion = Completion {
            finished: vec![Progress {
                at: last.at,
                epoch: epochs.of(last.at),
                committed,
            }],
            outputs: Vec::new(),
            durability: Durability::Ordered,
            purpose: Purpose::Pipeline,
        };
        committer.complete(completion).await.expect("completed");
    }
}

fn ours(batch: usize, total: usize) -> Cost {
    let dir = tempfile::tempdir_in(".").expect("a directory");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let keep = Keep::UntilFinished(&[GROUP]);
    let metrics = LogMetrics::register(&postrider_metrics::Registry::new()).expect("metrics");
    let options = Options::new(dir.path(), vec![TopicSpec { topic: TOPIC, keep }], metrics);
    let log = Arc::new(EmbeddedLog::open(options).expect("opened"));
    let cost = measured(|| {
        runtime.block_on(async {
            let reading = {
                let log = log.clone();
                tokio::spawn(async move { read(&*log, batch, total).await })
            };
            write(&*log, batch, total).await;
            reading.await.expect("read");
        });
    });
    runtime.block_on(log.close()).expect("closed");
    cost
}

fn sqlite_alone(batch: usize, total: usize) -> Cost {
    let dir = tempfile::tempdir_in(".").expect("a directory");
    let connection = Connection::open(dir.path().join("alone.db")).expect("opened");
    connection
        .execute_batch(
            "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
             PRAGMA wal_autocheckpoint = 4096;
             CREATE TABLE t (position INTEGER PRIMARY KEY, appended_at INTEGER NOT NULL,
                 key BLOB NOT NULL, headers BLOB NOT NULL, value BLOB NOT NULL) STRICT",
        )
        .expect("a table");
    let value = vec![7; VALUE_BYTES];
    measured(|| {
        let mut insert = connection
            .prepare("INSERT INTO t VALUES (?1, ?2, ?3, ?4, ?5)")
            .unwrap();
        let mut trim = connection
            .prepare("DELETE FROM t WHERE position < ?1")
            .unwrap();
        let mut trimmed = 0;
        for from in (0..total).step_by(batch) {
            connection.execute_batch("BEGIN").unwrap();
            for position in from..from + batch {
                let row = (position as i64, 0, b"ep_0123456789", b"", &value[..]);
                insert.execute(row).unwrap();
            }
            connection.execute_batch("COMMIT").unwrap();
            if from - trimmed >= 1024 {
                trimmed = from;
                trim.execute([from as i64]).unwrap();
            }
        }
    })
}

fn main() {
    println!("1 KiB records, appended, read, finished and trimmed; µs of CPU per record");
    println!(
        "{:>6} {:>10} {:>10} {:>14}",
        "batch", "log", "SQLite", "log records/s"
    );
    for (batch, total) in [(1, 30_000), (10, 100_000), (100, 200_000), (1000, 200_000)] {
        let (ours, alone) = (ours(batch, total), sqlite_alone(batch, total));
        let each = |cost: &Cost| cost.cpu.as_secs_f64() * 1e6 / total as f64;
        let rate = total as f64 / ours.wall.as_secs_f64();
        println!(
            "{batch:>6} {:>10.2} {:>10.2} {rate:>14.0}",
            each(&ours),
            each(&alone)
        );
    }
}
