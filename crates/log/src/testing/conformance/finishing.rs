//! Watermarks, metadata, and outputs that go with them.

use std::time::Duration;

use postrider_model::{NewRecord, Partition, Position, TopicPartition};

use super::member::sorted_numbers;
use super::{A, B, DEADLINE, FIRST, Harness, Member, SECOND, append, numbered, topics};
use crate::{Assignment, Committed, Durability, LogError, Progress, Purpose, Tenure};

fn committed(assigned: &[Assignment]) -> Vec<(Partition, Committed)> {
    let mut committed: Vec<_> = assigned
        .iter()
        .map(|a| (a.at.partition, a.committed.clone()))
        .collect();
    committed.sort_by_key(|(partition, _)| *partition);
    committed
}

pub async fn positions_and_their_metadata_survive_reopening(harness: &impl Harness) {
    let log = harness.open(topics()).await;
    append(&*log, numbered(A, 1, 0, 10)).await;
    let mut member = Member::join(&*log, FIRST, A).await;
    assert!(
        member
            .assigned
            .iter()
            .all(|a| a.committed == Committed::default())
    );
    let records = member.read(6).await;
    let metadata = "kept with it: 0-3,5/~".repeat(40);
    member
        .complete(member.progress(&metadata), Vec::new())
        .await
        .expect("completed");
    drop(member);
    let log = harness.reopen(log).await;
    let member = Member::join(&*log, FIRST, A).await;
    let last = records.last().expect("six");
    let of_last = (
        last.at.partition,
        Committed {
            next: last.position + 1,
            metadata,
        },
    );
    assert!(committed(&member.assigned).contains(&of_last));
    drop(member);
    let other = Member::join(&*log, SECOND, A).await;
    assert!(
        other
            .assigned
            .iter()
            .all(|a| a.committed == Committed::default())
    );
}

pub async fn the_watermark_never_goes_back(harness: &impl Harness) {
    let log = harness.open(topics()).await;
    append(&*log, numbered(A, 1, 0, 10)).await;
    let mut member = Member::join(&*log, FIRST, A).await;
    member.read(8).await;
    let far = member.progress("far");
    member
        .complete(far.clone(), Vec::new())
        .await
        .expect("completed");
    let back = |progress: &Progress| Progress {
        at: progress.at,
        epoch: progress.epoch,
        committed: Committed {
            next: 1.min(progress.committed.next),
            metadata: "back".to_owned(),
        },
    };
    let late = far.iter().map(back).collect();
    member
        .complete(late, Vec::new())
        .await
        .expect("a late completion is no error");
    drop(member);
    let log = harness.reopen(log).await;
    let mut member = Member::join(&*log, FIRST, A).await;
    let ours = |a: &Assignment| far.iter().any(|progress| progress.at == a.at);
    let resumed: Vec<_> = member
        .assigned
        .iter()
        .filter(|a| ours(a))
        .cloned()
        .collect();
    assert!(
        resumed
            .iter()
            .all(|assignment| assignment.committed.metadata == "far")
    );
    assert_eq!(sorted_numbers(&member.read(2).await), [8, 9]);
}

pub async fn outputs_are_there_once_their_positions_are_finished(harness: &impl Harness) {
    let log = harness.open(topics()).await;
    append(&*log, numbered(A, 1, 0, 50)).await;
    let mut first = Member::join_weighted(&*log, FIRST, &[(A, 1), (B, 1)]).await;
    let inputs = first.read(50).await;
    assert_eq!(inputs.len(), 50);
    first
        .finish(numbered(B, 3, 100, 150))
        .await
        .expect("completed");
    assert_eq!(
        sorted_numbers(&first.read(150).await),
        (100..250).collect::<Vec<_>>()
    );
    drop(first);
    let log = harness.reopen(log).await;
    let mut first = Member::join_weighted(&*log, FIRST, &[(A, 1), (B, 1)]).await;
    // The inputs do not come again; the outputs, which nobody has finished, do.
    append(&*log, numbered(A, 1, 50, 1)).await;
    let mut expected: Vec<u64> = (100..250).collect();
    expected.insert(0, 50);
    assert_eq!(sorted_numbers(&first.read(151).await), expected);
}

pub async fn an_output_that_is_refused_leaves_its_positions_unfinished(harness: &impl Harness) {
    let log = harness.open(topics()).await;
    append(&*log, numbered(A, 1, 0, 5)).await;
    let mut member = Member::join(&*log, FIRST, A).await;
    member.read(5).await;
    let limit = log.limits().record_bytes;
    let outputs = vec![NewRecord::new(B, "k", vec![0; limit])];
    let refused = member.finish(outputs).await;
    assert!(matches!(refused, Err(LogError::TooLarge { .. })));
    drop(member);
    let log = harness.reopen(log).await;
    let mut member = Member::join(&*log, FIRST, A).await;
    assert_eq!(sorted_numbers(&member.read(5).await), [0, 1, 2, 3, 4]);
}

pub async fn what_was_given_up_cannot_be_finished_and_giving_it_up_again_is_no_error(
    harness: &impl Harness,
) {
    let log = harness.open(topics()).await;
    append(&*log, numbered(A, 1, 0, 10)).await;
    let mut member = Member::join(&*log, FIRST, A).await;
    member.read(10).await;
    let ours: Vec<_> = member.assigned.iter().map(Assignment::tenure).collect();
    let nobodys = TopicPartition {
        topic: B,
        partition: 0,
    };
    let nobodys = Tenure {
        at: nobodys,
        ..ours[0]
    };
    for given_up in [&ours[..], &ours[..], &[nobodys]] {
        let released = member.committer.release(given_up).await;
        released.expect("nothing stands in the way");
    }
    assert!(ours.iter().all(|one| !member.committer.holds(one.at)));
    let refused = member.finish(Vec::new()).await;
    assert!(matches!(refused, Err(LogError::Lost(_))), "{refused:?}");
}

pub async fn waiting_for_a_group_ends_when_it_has_finished(harness: &impl Harness) {
    let log = harness.open(topics()).await;
    append(&*log, numbered(A, 3, 0, 20)).await;
    let ends: Vec<(Partition, Position)> = log.ends(A).await.expect("ends");
    let short = Duration::from_millis(50);
    let waited = log.wait_finished(FIRST, A, &ends, short).await;
    assert!(!waited.expect("it waits"), "nothing was finished yet");
    let waiter = {
        let (log, ends) = (log.clone(), ends.clone());
        tokio::spawn(async move { log.wait_finished(FIRST, A, &ends, DEADLINE).await })
    };
    let mut member = Member::join(&*log, FIRST, A).await;
    member.read(20).await;
    member.finish(Vec::new()).await.expect("finished");
    assert!(waiter.await.expect("it ends").expect("it waits"));
    let waited = log.wait_finished(FIRST, A, &ends, Duration::ZERO).await;
    assert!(waited.expect("it waits"));
}

pub async fn lag_counts_what_a_group_has_not_finished(harness: &impl Harness) {
    let log = harness.open(topics()).await;
    append(&*log, numbered(A, 3, 0, 30)).await;
    let mut member = Member::join(&*log, FIRST, A).await;
    member.read(30).await;
    member.finish(Vec::new()).await.expect("finished");
    // Of groups that nobody reads here, a log need not tell.
    let _second = Member::join(&*log, SECOND, A).await;
    let lags = log.lags().await.expect("lags");
    let of = |group| -> u64 {
        let ours = lags
            .iter()
            .filter(|lag| lag.group == group && lag.at.topic == A);
        ours.map(|lag| lag.records).sum()
    };
    assert_eq!(of(FIRST), 0);
    assert!(
        of(SECOND) >= 30,
        "a group that never committed has finished nothing"
    );
    let idle = lags.iter().filter(|lag| lag.records == 0);
    assert!(idle.into_iter().all(|lag| lag.oldest_age == Duration::ZERO));
}

pub async fn what_is_acknowledged_can_be_synced(harness: &impl Harness) {
    let log = harness.open(topics()).await;
    log.sync().await.expect("nothing to sync");
    append(&*log, numbered(A, 3, 0, 30)).await;
    log.sync().await.expect("synced");
    let places = log
        .append(numbered(A, 1, 30, 3), Durability::Synced, Purpose::Intake)
        .await
        .expect("appended");
    assert_eq!(places.len(), 3);
    assert!(
        places.is_sorted_by(|a, b| a.0 == b.0 && a.1 < b.1),
        "one key, one partition, in order"
    );
}
