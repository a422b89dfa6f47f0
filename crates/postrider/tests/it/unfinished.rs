//! What a killed server's log holds that its worker had not finished: that may come again, and nothing else.

use std::collections::BTreeSet;
use std::path::Path;

use postrider_delivery::Tracker;
use postrider_log::{
    Assignment, BatchLimit, Log as _, Polled, Record, Subscription, TopicPartition, Weighted,
};
use postrider_log_embedded::{EmbeddedLog, LogMetrics, Options};
use postrider_metrics::Registry;
use postrider_model::{Attempt, Delivery, topics};
use tempfile::TempDir;

use crate::world::DEADLINE;

/// The topics that the worker reads.
const READ: [postrider_model::Topic; 3] = [
    topics::DELIVERIES_HIGH,
    topics::DELIVERIES_NORMAL,
    topics::DELIVERIES_BULK,
];

const LIMIT: BatchLimit = BatchLimit {
    records: 1_000,
    bytes: usize::MAX,
};

/// The deliveries, each an event to an endpoint, that the next worker would begin with in this data directory, whose server
/// does not run.
pub(crate) async fn unfinished(data: &Path) -> BTreeSet<(String, String)> {
    // A copy: to recover the file is the next server's part.
    let copy = TempDir::with_prefix("postrider-").unwrap();
    for name in ["log.db", "log.db-wal"] {
        std::fs::copy(data.join(name), copy.path().join(name)).unwrap();
    }
    let metrics = LogMetrics::register(&Registry::new()).unwrap();
    let options = Options::new(copy.path(), topics::all(), metrics);
    let log = EmbeddedLog::open(options).unwrap();
    let unfinished = tokio::time::timeout(DEADLINE, read(&log)).await;
    log.close().await.unwrap();
    let of = |delivery: Delivery| {
        let endpoint = delivery.endpoint_id.to_string();
        (delivery.event_id.to_string(), endpoint)
    };
    unfinished.unwrap().into_iter().map(of).collect()
}

/// What lies above the worker's watermarks and not in its maps. An attempt and the position that it finishes are in one
/// commit: of nothing that is unfinished the attempt is in the log.
async fn read(log: &EmbeddedLog) -> Vec<Delivery> {
    let mut unfinished = Vec::new();
    for assignment in assigned(log).await {
        let mut tracker = Tracker::restore(&assignment.committed);
        for record in whole(log, assignment.at, assignment.committed.next).await {
            if tracker.start(record.position) {
                unfinished.push(Delivery::decode(&record.value).unwrap());
            }
        }
    }
    let attempts = TopicPartition {
        topic: topics::ATTEMPTS,
        partition: 0,
    };
    let mut made = BTreeSet::new();
    for record in whole(log, attempts, 0).await {
        let attempt = Attempt::decode(&record.value).unwrap();
        made.insert((attempt.delivery_id, attempt.generation, attempt.number));
    }
    for delivery in &unfinished {
        let next = (delivery.id, delivery.generation, delivery.attempts_made + 1);
        assert!(!made.contains(&next), "{next:?} is written and unfinished");
    }
    unfinished
}

/// What the worker had committed.
async fn assigned(log: &EmbeddedLog) -> Vec<Assignment> {
    let topic = |topic| Weighted { topic, weight: 1 };
    let subscription = Subscription::to_all(topics::WORKER, READ.map(topic).into());
    let (mut reader, _committer) = log.subscribe(subscription).await.unwrap();
    let Polled::Assigned(assigned) = reader.next(LIMIT).await.unwrap() else {
        panic!("it is told first what is its own");
    };
    assigned
}

/// All that lies there from a position on, to the end: a lag says only how many there are at most.
async fn whole(log: &EmbeddedLog, at: TopicPartition, mut from: u64) -> Vec<Record> {
    let mut all = Vec::new();
    loop {
        let some = log.read(at, from, LIMIT).await.unwrap();
        let Some(last) = some.last() else { return all };
        from = last.position + 1;
        all.extend(some);
    }
}
