//! What only this log promises: one reader a group, records kept for a time, memory that is bounded.

use std::sync::Arc;
use std::time::Duration;

use postrider_log::testing::conformance::{A, DEADLINE, FIRST, Member, append, numbered, topics};
use postrider_log::{BatchLimit, Keep, Log, LogError, Polled, Subscription, Topic, TopicSpec};
use postrider_log_embedded::{EmbeddedLog, LogMetrics, Options};
use postrider_model::{TestClock, Timestamp};

use crate::support::{options, sized};

const ONE: BatchLimit = BatchLimit {
    records: 1,
    bytes: 1 << 20,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_reader_of_a_group_is_refused_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(options(dir.path(), topics())).unwrap();
    let first = Member::join(&log, FIRST, A).await;
    let again = Subscription::to(FIRST, A);
    let refused = log.subscribe(again.clone()).await.err();
    assert!(matches!(refused, Some(LogError::Stopped(why)) if why.contains("reader")));
    let at = first.assigned[0].at;
    let (reader, committer) = (first.reader, first.committer);
    drop(reader);
    assert!(committer.holds(at), "what is in hand can still be finished");
    let _second = log.subscribe(again).await.unwrap();
    assert!(!committer.holds(at));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_kept_for_a_time_go_when_it_is_over() {
    const AGING: Topic = Topic("aging");
    let dir = tempfile::tempdir().unwrap();
    let keep = Keep::For(Duration::from_secs(60));
    let clock = TestClock::at(Timestamp::from_millis(1_000_000));
    let mut options = options(dir.path(), vec![TopicSpec { topic: AGING, keep }]);
    options.clock = Arc::new(clock.clone());
    let log = EmbeddedLog::open(options).unwrap();
    append(&log, numbered(AGING, 1, 0, 2000)).await;
    clock.advance(Duration::from_secs(50));
    append(&log, numbered(AGING, 1, 2000, 10)).await;
    clock.advance(Duration::from_secs(20));
    let begun = std::time::Instant::now();
    loop {
        let mut member = Member::join(&log, FIRST, AGING).await;
        match member.next(ONE).await {
            Ok(Polled::Records(records)) if records[0].position >= 2000 => {
                assert_eq!(member.read(9).await.len(), 9);
                return;
            }
            // Still there; or gone between joining and reading, by steps.
            Ok(Polled::Records(_)) => {}
            // Young records stay, whatever goes.
            Err(LogError::Trimmed { first, .. }) => assert!(first <= 2000, "{first}"),
            other => panic!("records were due, not {other:?}"),
        }
        assert!(begun.elapsed() < DEADLINE, "old records go");
        drop(member);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_unread_takes_no_more_memory_than_the_tail_may() {
    let dir = tempfile::tempdir().unwrap();
    let registry = postrider_metrics::Registry::new();
    let metrics = LogMetrics::register(&registry).unwrap();
    let mut options = Options::new(dir.path(), topics(), metrics.clone());
    options.tail_bytes = 1 << 20;
    let log = EmbeddedLog::open(options).unwrap();
    let mut member = Member::join(&log, FIRST, A).await;
    for from in 0..40 {
        append(
            &log,
            (from * 100..from * 100 + 100)
                .map(|n| sized(n, 1000))
                .collect(),
        )
        .await;
        assert!(metrics.tail.get() <= 1 << 20);
    }
    assert_eq!(member.read(4000).await.len(), 4000);
    assert!(
        metrics.behind.get() > 0,
        "what was no longer in memory came from the file"
    );
    append(&log, vec![sized(4000, 10)]).await;
    assert_eq!(member.read(1).await[0].position, 4000);
    let begun = std::time::Instant::now();
    // What every reader has had is dropped.
    while metrics.tail.get() > 0 {
        assert!(
            begun.elapsed() < DEADLINE,
            "{} are held",
            metrics.tail.get()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordered_append_does_not_wait_for_an_fsync() {
    let dir = tempfile::tempdir().unwrap();
    let registry = postrider_metrics::Registry::new();
    let metrics = LogMetrics::register(&registry).unwrap();
    let log = EmbeddedLog::open(Options::new(dir.path(), topics(), metrics.clone())).unwrap();
    for from in 0..200 {
        append(&log, numbered(A, 1, from, 1)).await;
    }
    // One a second at most is due for them; a wait for each would have made two hundred.
    assert!(
        metrics.fsync_seconds.count() < 20,
        "{}",
        metrics.fsync_seconds.count()
    );
    log.sync().await.unwrap();
    assert!(metrics.fsync_seconds.count() >= 1);
}
