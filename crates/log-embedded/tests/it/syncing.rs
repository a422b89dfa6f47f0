//! What nobody waits for becomes durable all the same.

use std::time::{Duration, Instant};

use postrider_log::testing::conformance::{A, numbered, topics};
use postrider_log::{Durability, Log, Purpose};
use postrider_log_embedded::EmbeddedLog;

use crate::support::options;

/// A second is promised; the rest is for a loaded machine.
const SOON: Duration = Duration::from_secs(15);

#[tokio::test]
async fn an_ordered_commit_that_nobody_waits_for_is_synced_soon() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path(), topics());
    let fsyncs = options.metrics.fsync_seconds.clone();
    let log = EmbeddedLog::open(options).unwrap();
    // Whatever opening wrote is durable before the count begins.
    log.sync().await.unwrap();
    for n in 0..2 {
        let before = fsyncs.count();
        let records = numbered(A, 1, n, 100);
        let appended = log.append(records, Durability::Ordered, Purpose::Pipeline);
        appended.await.unwrap();
        let began = Instant::now();
        while fsyncs.count() == before {
            assert!(began.elapsed() < SOON, "nothing syncs it");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    log.close().await.unwrap();
}
