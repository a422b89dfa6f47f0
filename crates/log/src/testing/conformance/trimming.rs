//! What goes, what stays, and what a position means afterwards.

use std::collections::BTreeSet;

use postrider_model::{Position, TopicPartition};

use super::member::sorted_numbers;
use super::{A, B, DEADLINE, FIRST, Harness, Member, SECOND, STRANGER, append, numbered, topics};
use crate::{BatchLimit, Log, LogError, Polled};

const LIMIT: BatchLimit = BatchLimit {
    records: 500,
    bytes: 1 << 20,
};

/// Waits until a reader of a group that is not declared is told that its place is gone.
async fn until_trimmed(log: &dyn Log) -> (Member, LogError) {
    let begun = tokio::time::Instant::now();
    loop {
        let mut member = Member::join(log, STRANGER, B).await;
        let next = tokio::time::timeout(DEADLINE, member.next(LIMIT)).await;
        match next.expect("something comes") {
            Err(error) => return (member, error),
            // Not yet: what was finished is still there. Trimming comes between commits.
            Ok(Polled::Records(_)) => {}
            Ok(other) => panic!("records or an error were due, not {other:?}"),
        }
        assert!(
            begun.elapsed() < DEADLINE,
            "what every group has finished is trimmed"
        );
        drop(member);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

pub async fn a_trimmed_position_is_reported_and_reading_goes_on(harness: &impl Harness) {
    if !harness.trims() {
        return;
    }
    let log = harness.open(topics()).await;
    append(&*log, numbered(B, 1, 0, 100)).await;
    let mut stranger = Member::join(&*log, STRANGER, B).await;
    stranger.read(10).await;
    stranger.finish(Vec::new()).await.expect("finished");
    drop(stranger);
    let mut first = Member::join(&*log, FIRST, B).await;
    first.read(90).await;
    first.finish(Vec::new()).await.expect("finished");
    let (mut stranger, error) = until_trimmed(&*log).await;
    let LogError::Trimmed { at, asked, first } = error else {
        panic!("a trimmed position was due, not {error:?}");
    };
    assert_eq!(at.topic, B);
    assert!(asked < first);
    let records = stranger.read(10).await;
    assert!(records.iter().all(|record| record.position >= first));
    assert_eq!(sorted_numbers(&records), (90..100).collect::<Vec<_>>());
}

pub async fn after_everything_was_trimmed_a_position_is_never_given_out_again(
    harness: &impl Harness,
) {
    let mut log = harness.open(topics()).await;
    let mut seen: BTreeSet<(TopicPartition, Position)> = BTreeSet::new();
    let mut highest: Position = 0;
    for round in 0..4 {
        append(&*log, numbered(B, 1, round * 10, 10)).await;
        let mut member = Member::join(&*log, FIRST, B).await;
        for record in member.read(10).await {
            assert!(
                record.position >= highest,
                "{} after {highest}",
                record.position
            );
            assert!(
                seen.insert((record.at, record.position)),
                "a position came twice"
            );
            highest = record.position + 1;
        }
        member.finish(Vec::new()).await.expect("finished");
        if harness.trims() && round % 2 == 0 {
            let (stranger, _) = trimmed_whole(&*log, highest).await;
            drop(stranger);
        }
        drop(member);
        log = harness.reopen(log).await;
        let ends = log.ends(B).await.expect("ends");
        assert!(
            ends.iter().any(|(_, end)| *end >= highest),
            "{ends:?} fell behind {highest}"
        );
    }
}

/// Waits until nothing below `end` is left.
async fn trimmed_whole(log: &dyn Log, end: Position) -> (Member, Position) {
    let begun = tokio::time::Instant::now();
    loop {
        let mut member = Member::join(log, STRANGER, B).await;
        let moment = std::time::Duration::from_millis(30);
        match tokio::time::timeout(moment, member.reader.next(LIMIT)).await {
            // Nothing is left to read.
            Err(_) => return (member, end),
            Ok(_) => drop(member),
        }
        assert!(
            begun.elapsed() < DEADLINE,
            "what every group has finished is trimmed"
        );
    }
}

pub async fn a_group_that_never_committed_keeps_everything(harness: &impl Harness) {
    let log = harness.open(topics()).await;
    append(&*log, numbered(A, 3, 0, 3000)).await;
    let mut first = Member::join_weighted(&*log, FIRST, &[(A, 1), (B, 1)]).await;
    let mut read = 0;
    while read < 3000 {
        read += first.read(500).await.len();
        first.finish(Vec::new()).await.expect("finished");
    }
    // A topic beside it is trimmed meanwhile.
    append(&*log, numbered(B, 1, 0, 10)).await;
    first.read(10).await;
    first.finish(Vec::new()).await.expect("finished");
    if harness.trims() {
        let (stranger, _) = trimmed_whole(&*log, 10).await;
        drop(stranger);
    }
    drop(first);
    let log = harness.reopen(log).await;
    let mut second = Member::join(&*log, SECOND, A).await;
    assert_eq!(
        sorted_numbers(&second.read(3000).await),
        (0..3000).collect::<Vec<_>>()
    );
}
