//! Order, completeness, and what a reader can ask for.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use postrider_model::{NewRecord, Record, TopicPartition};

use super::member::sorted_numbers;
use super::{A, B, FIRST, Harness, Member, SECOND, append, numbered, topics};
use crate::{BatchLimit, Durability, Purpose};

/// Fails if records of one key are not in the order of their numbers.
fn assert_ordered_by_key(records: &[Record]) {
    let mut last: BTreeMap<&Bytes, u64> = BTreeMap::new();
    for record in records {
        let text = std::str::from_utf8(&record.value).expect("text");
        let number = text.parse().expect("a number");
        let before = last.insert(&record.key, number);
        assert!(
            before.is_none_or(|before| before < number),
            "{before:?} comes before {number}"
        );
    }
}

pub async fn records_of_one_key_keep_their_order(harness: &impl Harness) {
    let log = harness.open(topics()).await;
    for from in (0..600).step_by(60) {
        append(&*log, numbered(A, 7, from, 60)).await;
    }
    let mut member = Member::join(&*log, FIRST, A).await;
    let records = member.read(600).await;
    assert_ordered_by_key(&records);
    assert_eq!(sorted_numbers(&records), (0..600).collect::<Vec<_>>());
}

pub async fn nothing_is_missing_and_nothing_comes_twice_from_many_writers(harness: &impl Harness) {
    const WRITERS: u64 = 16;
    const EACH: u64 = 120;
    let log = harness.open(topics()).await;
    let mut reader = Member::join(&*log, FIRST, A).await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let log = log.clone();
            tokio::spawn(async move {
                for batch in 0..EACH / 4 {
                    let number = |n: u64| writer * EACH + batch * 4 + n;
                    let key = format!("writer-{writer}");
                    let record = |n| NewRecord::new(A, key.clone(), number(n).to_string());
                    let durability = match batch % 2 {
                        0 => Durability::Ordered,
                        _ => Durability::Synced,
                    };
                    let records = (0..4).map(record).collect();
                    log.append(records, durability, Purpose::Intake)
                        .await
                        .expect("appended");
                }
            })
        })
        .collect();
    let records = reader.read((WRITERS * EACH) as usize).await;
    for writer in writers {
        writer.await.expect("the writer ends");
    }
    assert_ordered_by_key(&records);
    assert_eq!(
        sorted_numbers(&records),
        (0..WRITERS * EACH).collect::<Vec<_>>()
    );
}

pub async fn two_groups_each_get_everything(harness: &impl Harness) {
    let log = harness.open(topics()).await;
    let mut first = Member::join(&*log, FIRST, A).await;
    let mut second = Member::join(&*log, SECOND, A).await;
    append(&*log, numbered(A, 5, 0, 200)).await;
    let all: Vec<u64> = (0..200).collect();
    assert_eq!(sorted_numbers(&first.read(200).await), all);
    first.finish(Vec::new()).await.expect("finished");
    assert_eq!(sorted_numbers(&second.read(200).await), all);
}

pub async fn reading_resumes_at_the_watermark_after_reopening(harness: &impl Harness) {
    let log = harness.open(topics()).await;
    append(&*log, numbered(A, 1, 0, 100)).await;
    let mut member = Member::join(&*log, FIRST, A).await;
    member.read(40).await;
    member.finish(Vec::new()).await.expect("finished");
    // Read, but not finished: these come again.
    member.read(30).await;
    drop(member);
    let log = harness.reopen(log).await;
    let mut member = Member::join(&*log, FIRST, A).await;
    let again = member.read(60).await;
    assert_eq!(sorted_numbers(&again), (40..100).collect::<Vec<_>>());
}

pub async fn a_batch_keeps_its_limits(harness: &impl Harness) {
    let log = harness.open(topics()).await;
    // By their values or their headers: a producer of its own may write either.
    let large = |n: u64| match n % 2 {
        0 => NewRecord::new(A, "k", vec![n as u8; 1000]),
        _ => {
            let mut record = NewRecord::new(A, "k", vec![n as u8]);
            record.headers.push("n", vec![n as u8; 1000]);
            record
        }
    };
    append(&*log, (0..20).map(large).collect()).await;
    let mut member = Member::join(&*log, FIRST, A).await;
    let few = member
        .batch(BatchLimit {
            records: 3,
            bytes: 1 << 20,
        })
        .await;
    assert!(few.len() <= 3);
    let small = member
        .batch(BatchLimit {
            records: 100,
            bytes: 2500,
        })
        .await;
    assert!(small.len() <= 2);
    // One that is larger than the limit comes alone.
    assert_eq!(
        member
            .batch(BatchLimit {
                records: 100,
                bytes: 10
            })
            .await
            .len(),
        1
    );
}

pub async fn a_paused_partition_is_silent_until_it_is_resumed(harness: &impl Harness) {
    let log = harness.open(topics()).await;
    let mut member = Member::join_weighted(&*log, FIRST, &[(A, 1), (B, 1)]).await;
    let of_a = |at: &TopicPartition| at.topic == A;
    let paused: Vec<TopicPartition> = member
        .assigned
        .iter()
        .map(|assignment| assignment.at)
        .filter(of_a)
        .collect();
    member.reader.pause(&paused);
    append(&*log, numbered(A, 3, 0, 30)).await;
    append(&*log, numbered(B, 3, 0, 30)).await;
    let records = member.read(30).await;
    assert!(records.iter().all(|record| record.at.topic == B));
    member.reader.resume(&paused);
    let records = member.read(30).await;
    assert_eq!(sorted_numbers(&records), (0..30).collect::<Vec<_>>());
}

pub async fn cancelling_a_read_loses_nothing(harness: &impl Harness) {
    const COUNT: u64 = 400;
    let log = harness.open(topics()).await;
    append(&*log, numbered(A, 3, 0, COUNT / 2)).await;
    let mut member = Member::join(&*log, FIRST, A).await;
    let writer = {
        let log = log.clone();
        tokio::spawn(async move {
            for from in COUNT / 2..COUNT {
                append(&*log, numbered(A, 3, from, 1)).await;
            }
        })
    };
    let limit = BatchLimit {
        records: 7,
        bytes: 1 << 20,
    };
    let mut records = Vec::new();
    let mut tries = 0_u64;
    while (records.len() as u64) < COUNT {
        // Cancelled at once, or after a moment, or not at all.
        let patience = Duration::from_micros([0, 0, 50, 500, 60_000_000][tries as usize % 5]);
        tries += 1;
        let next = member.next(limit);
        if let Ok(polled) = tokio::time::timeout(patience, next).await
            && let crate::Polled::Records(more) = polled.expect("reading succeeds")
        {
            records.extend(more);
        }
    }
    writer.await.expect("the writer ends");
    assert_eq!(sorted_numbers(&records), (0..COUNT).collect::<Vec<_>>());
}

pub async fn a_heavier_topic_is_read_more_often_and_the_lighter_one_still(harness: &impl Harness) {
    const OF_EACH: u64 = 1000;
    // A log that fetches ahead may have all of one topic before any of the other: then there is nothing to be shared.
    const TRIES: u64 = 20;
    let log = harness.open(topics()).await;
    let mut member = Member::join_weighted(&*log, FIRST, &[(A, 4), (B, 1)]).await;
    for round in 0..TRIES {
        let mut both = numbered(A, 3, round * OF_EACH, OF_EACH);
        both.extend(numbered(B, 3, round * OF_EACH, OF_EACH));
        append(&*log, both).await;
        let mut records = Vec::new();
        while (records.len() as u64) < 2 * OF_EACH {
            let limit = BatchLimit {
                records: 20,
                bytes: 1 << 20,
            };
            records.extend(member.batch(limit).await);
        }
        if let Some((heavy, light)) = shared(&records) {
            assert!(
                light > 0 && heavy > 2 * light,
                "{heavy} of the heavy one, {light} of the light one"
            );
            return;
        }
    }
    panic!("the two topics never came together");
}

/// How many were read of each topic while there was enough of both: from where both had come, if neither came far ahead.
fn shared(records: &[Record]) -> Option<(usize, usize)> {
    const AHEAD: usize = 100;
    const SHARED: usize = 200;
    let first = |topic| records.iter().position(|record| record.at.topic == topic);
    let from = first(A)?.max(first(B)?);
    let shared = records.get(from..from + SHARED).filter(|_| from <= AHEAD)?;
    let heavy = shared.iter().filter(|record| record.at.topic == A).count();
    Some((heavy, SHARED - heavy))
}

pub async fn a_reader_that_was_left_behind_joins_the_tail_without_gap_or_repeat(
    harness: &impl Harness,
) {
    const COUNT: u64 = 6000;
    let log = harness.open(topics()).await;
    let mut member = Member::join(&*log, FIRST, A).await;
    let padded = |n: u64| {
        let mut record = NewRecord::new(A, format!("key-{}", n % 3), n.to_string());
        record.headers.push("padding", vec![0; 1000]);
        record
    };
    append(&*log, (0..COUNT / 2).map(padded).collect()).await;
    let writer = {
        let log = log.clone();
        tokio::spawn(async move {
            for from in (COUNT / 2..COUNT).step_by(50) {
                append(&*log, (from..from + 50).map(padded).collect()).await;
            }
        })
    };
    let records = member.read(COUNT as usize).await;
    writer.await.expect("the writer ends");
    assert_ordered_by_key(&records);
    assert_eq!(sorted_numbers(&records), (0..COUNT).collect::<Vec<_>>());
}
