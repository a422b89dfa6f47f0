//! The conformance suite, and what services' tests use beyond it.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use postrider_log::testing::MemoryLog;
use postrider_log::testing::conformance::{A, FIRST, Harness, Member, numbered, topics};
use postrider_log::{Durability, Log, LogError, Purpose, TopicSpec};

#[derive(Default)]
struct Memory(Mutex<Option<MemoryLog>>);

#[async_trait]
impl Harness for Memory {
    async fn open(&self, topics: Vec<TopicSpec>) -> Arc<dyn Log> {
        let log = MemoryLog::new(topics);
        *self.0.lock().unwrap() = Some(log.clone());
        Arc::new(log)
    }

    async fn reopen(&self, _log: Arc<dyn Log>) -> Arc<dyn Log> {
        let mut current = self.0.lock().unwrap();
        let log = current.as_ref().unwrap().restarted();
        *current = Some(log.clone());
        Arc::new(log)
    }
}

postrider_log::conformance_suite!(Memory::default());

#[tokio::test(start_paused = true)]
async fn appends_fail_as_told_until_recovery() {
    let log = MemoryLog::new(topics());
    log.fail_appends(Purpose::Intake, LogError::Full("no room".to_owned()));
    let append = |purpose| log.append(numbered(A, 1, 0, 1), Durability::Synced, purpose);
    assert!(matches!(
        append(Purpose::Intake).await,
        Err(LogError::Full(_))
    ));
    append(Purpose::Pipeline).await.unwrap();
    log.recover();
    append(Purpose::Intake).await.unwrap();
    assert_eq!(log.wait_for_records(A, 2).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_second_reader_of_a_group_is_refused_until_the_first_is_gone() {
    let log = MemoryLog::new(topics());
    let first = Member::join(&log, FIRST, A).await;
    let again = postrider_log::Subscription::to(FIRST, A);
    assert!(matches!(
        log.subscribe(again.clone()).await,
        Err(LogError::Stopped(_))
    ));
    let at = first.assigned[0].at;
    drop(first.reader);
    assert!(first.committer.holds(at));
    log.subscribe(again).await.unwrap();
    assert!(!first.committer.holds(at));
}

#[tokio::test(start_paused = true)]
async fn what_is_appended_synced_is_synced_with_all_before_it_and_what_is_ordered_is_not() {
    let log = MemoryLog::new(topics());
    let append = async |durability| {
        let appended = log.append(numbered(A, 1, 0, 1), durability, Purpose::Intake);
        appended.await.unwrap();
        log.is_synced()
    };
    assert!(append(Durability::Synced).await);
    assert!(!append(Durability::Ordered).await);
    assert!(append(Durability::Synced).await);
    assert!(!append(Durability::Ordered).await);
    log.sync().await.unwrap();
    assert!(log.is_synced());
}
