//! Owners of partitions in the log in memory, as services' tests order them.

use std::sync::Arc;

use postrider_log::testing::MemoryLog;
use postrider_log::testing::conformance::{A, FIRST, Member, numbered, topics};
use postrider_log::{
    BatchLimit, Committer, Durability, Log, LogError, Polled, Purpose, Reader, Subscription,
    TopicPartition,
};
use postrider_model::SystemClock;

const PLENTY: BatchLimit = BatchLimit {
    records: 100,
    bytes: 1 << 20,
};

/// A log whose topic A has two partitions, each with records, and may have further members.
async fn log() -> (MemoryLog, Vec<TopicPartition>) {
    let log = MemoryLog::with_partitions(topics(), Arc::new(SystemClock), |_| 2);
    log.share(FIRST);
    let records = numbered(A, 8, 0, 20);
    log.append(records, Durability::Ordered, Purpose::Intake)
        .await
        .unwrap();
    let partitions = log.partitions(A);
    assert!(partitions.iter().all(|at| in_partition(&log, *at) > 0));
    (log, partitions)
}

fn in_partition(log: &MemoryLog, at: TopicPartition) -> usize {
    let records = log.records(A);
    records.iter().filter(|record| record.at == at).count()
}

async fn join(log: &MemoryLog) -> (Box<dyn Reader>, Arc<dyn Committer>) {
    log.subscribe(Subscription::to(FIRST, A)).await.unwrap()
}

fn given(polled: &Polled) -> Vec<TopicPartition> {
    match polled {
        Polled::Assigned(assigned) => assigned.iter().map(|one| one.at).collect(),
        other => panic!("not an assignment: {other:?}"),
    }
}

fn count(polled: &Polled, at: TopicPartition) -> usize {
    match polled {
        Polled::Records(records) => records.iter().filter(|record| record.at == at).count(),
        other => panic!("no records: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_revoked_partition_is_read_no_more_and_goes_to_another_once_it_is_released() {
    let (log, all) = log().await;
    let mut first = Member::join(&log, FIRST, A).await;
    let (mut second, second_committer) = join(&log).await;
    log.revoke(FIRST, &all[..1]);
    let revoking = first.next(PLENTY).await.unwrap();
    assert_eq!(revoking, Polled::Revoking(vec![all[0]]));
    let rest = first.next(PLENTY).await.unwrap();
    assert_eq!(count(&rest, all[0]), 0);
    assert_eq!(count(&rest, all[1]), in_partition(&log, all[1]));
    assert!(first.committer.holds(all[0]), "not released yet");

    let released = first.epochs.tenures(&all[..1]);
    first.committer.release(&released).await.unwrap();
    assert!(!first.committer.holds(all[0]));
    assert_eq!(given(&second.next(PLENTY).await.unwrap()), [all[0]]);
    assert!(second_committer.holds(all[0]));
    let read = second.next(PLENTY).await.unwrap();
    assert_eq!(count(&read, all[0]), in_partition(&log, all[0]));
}

#[tokio::test(start_paused = true)]
async fn a_lost_partition_cannot_be_finished_and_its_next_owner_has_a_greater_epoch() {
    let (log, all) = log().await;
    let mut first = Member::join(&log, FIRST, A).await;
    let before = first.assigned[0].epoch;
    first.read(1).await;
    let (mut second, _committer) = join(&log).await;
    log.lose(FIRST, &all);
    assert!(matches!(
        first.finish(Vec::new()).await,
        Err(LogError::Lost(_))
    ));
    assert_eq!(first.next(PLENTY).await.unwrap(), Polled::Lost(all.clone()));
    let Polled::Assigned(assigned) = second.next(PLENTY).await.unwrap() else {
        panic!("the second member was given nothing");
    };
    assert!(assigned.iter().all(|one| one.epoch > before));
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_lease_ended_may_finish_and_holds_nothing_until_it_is_renewed() {
    let (log, all) = log().await;
    let mut member = Member::join(&log, FIRST, A).await;
    member.read(20).await;
    log.end_leases(FIRST, &all);
    assert!(all.iter().all(|at| !member.committer.holds(*at)));
    member.finish(Vec::new()).await.unwrap();
    log.renew_leases(FIRST, &all);
    assert!(all.iter().all(|at| member.committer.holds(*at)));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_owns_can_be_given_to_the_one_that_had_lost_it() {
    let (log, all) = log().await;
    let mut member = Member::join(&log, FIRST, A).await;
    log.lose(FIRST, &all[..1]);
    assert_eq!(
        member.next(PLENTY).await.unwrap(),
        Polled::Lost(vec![all[0]])
    );
    log.assign(FIRST, &all);
    assert_eq!(given(&member.next(PLENTY).await.unwrap()), [all[0]]);
}
