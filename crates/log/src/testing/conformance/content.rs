//! What a record may hold, and what is refused.

use postrider_model::{Headers, NewRecord, Record, Topic, TopicPartition};

use super::member::values;
use super::{A, DEADLINE, FIRST, Harness, Member, append, numbered, topics};
use crate::{BatchLimit, Durability, Log, LogError, Purpose};

pub async fn large_records_are_taken_and_larger_ones_refused_with_all_that_came_along(
    harness: &impl Harness,
) {
    let log = harness.open(topics()).await;
    let limit = log.limits().record_bytes;
    let sized = |bytes: usize| NewRecord::new(A, "k", vec![7; bytes - 1]);
    let refused = log
        .append(
            vec![numbered(A, 1, 0, 1).remove(0), sized(limit + 1)],
            Durability::Synced,
            Purpose::Intake,
        )
        .await;
    match refused {
        Err(LogError::TooLarge {
            topic,
            size,
            limit: told,
        }) => {
            assert_eq!((topic, size, told), (A.0, limit + 1, limit));
        }
        other => panic!("a record beyond the limit is refused, not {other:?}"),
    }
    append(&*log, vec![sized(limit)]).await;
    let mut member = Member::join(&*log, FIRST, A).await;
    let records = member.read(1).await;
    assert_eq!(records[0].value.len(), limit - 1);
}

pub async fn empty_and_binary_values_come_back_as_they_went(harness: &impl Harness) {
    let log = harness.open(topics()).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let records = vec![
        NewRecord::new(A, "k", Vec::new()),
        NewRecord::new(A, "k", every_byte.clone()),
        NewRecord::new(A, every_byte, "\0"),
        NewRecord::new(A, Vec::new(), "no key"),
    ];
    append(&*log, records.clone()).await;
    let mut member = Member::join(&*log, FIRST, A).await;
    let mut read: Vec<_> = member
        .read(4)
        .await
        .into_iter()
        .map(|r| (r.key, r.value))
        .collect();
    let mut written: Vec<_> = records.into_iter().map(|r| (r.key, r.value)).collect();
    read.sort();
    written.sort();
    assert_eq!(read, written);
}

/// As the deliveries of one event do; also where reading begins among them.
pub async fn values_that_end_alike_come_back_as_they_went(harness: &impl Harness) {
    let alike = |number: usize, bytes: usize| {
        let value = [format!("{number} ").into_bytes(), vec![b'='; bytes]].concat();
        NewRecord::new(A, "k", value)
    };
    let mut written: Vec<_> = (0..30).map(|number| alike(number, 2000)).collect();
    written.insert(10, NewRecord::new(A, "k", "another"));
    written.insert(20, alike(20, 5000));
    written.extend((30..40).map(|number| alike(number, 300)));
    let values: Vec<_> = written.iter().map(|record| record.value.clone()).collect();
    let log = harness.open(topics()).await;
    append(&*log, written).await;
    let read = async |log: &dyn Log, count| {
        let mut member = Member::join(log, FIRST, A).await;
        let records = member.read(count).await;
        (
            member,
            records
                .into_iter()
                .map(|record| record.value)
                .collect::<Vec<_>>(),
        )
    };
    let (live, all) = read(&*log, values.len()).await;
    assert_eq!(all, values);
    drop(live);
    let (half, first) = read(&*log, 15).await;
    assert_eq!(first, values[..15]);
    half.finish(Vec::new()).await.unwrap();
    drop(half);
    let log = harness.reopen(log).await;
    let (_rest, rest) = read(&*log, values.len() - 15).await;
    assert_eq!(rest, values[15..]);
}

pub async fn headers_keep_their_order_and_repeated_names(harness: &impl Harness) {
    let log = harness.open(topics()).await;
    let mut headers = Headers::new();
    headers.push("ce_type", &b"invoice.paid"[..]);
    headers.push("again", &b"1"[..]);
    headers.push("again", &b"\xff\0"[..]);
    headers.push("empty", &b""[..]);
    let mut record = NewRecord::new(A, "k", "v");
    record.headers = headers.clone();
    append(&*log, vec![record]).await;
    let mut live = Member::join(&*log, FIRST, A).await;
    assert_eq!(live.read(1).await[0].headers, headers);
    drop(live);
    let log = harness.reopen(log).await;
    let mut stored = Member::join(&*log, FIRST, A).await;
    assert_eq!(stored.read(1).await[0].headers, headers);
}

pub async fn an_unknown_topic_is_refused(harness: &impl Harness) {
    let log = harness.open(topics()).await;
    let unknown = Topic("unknown");
    let records = vec![
        numbered(A, 1, 0, 1).remove(0),
        NewRecord::new(unknown, "k", "v"),
    ];
    let refused = log
        .append(records, Durability::Ordered, Purpose::Pipeline)
        .await;
    assert!(matches!(refused, Err(LogError::NoSuchTopic("unknown"))));
    append(&*log, numbered(A, 1, 1, 1)).await;
    // Nothing of the refused append was written.
    let mut member = Member::join(&*log, FIRST, A).await;
    assert_eq!(values(&member.read(1).await), ["1"]);
}

pub async fn a_closed_log_says_so(harness: &impl Harness) {
    let log = harness.open(topics()).await;
    let mut member = Member::join(&*log, FIRST, A).await;
    append(&*log, numbered(A, 1, 0, 1)).await;
    let records: Vec<Record> = member.read(1).await;
    assert_eq!(records.len(), 1);
    log.close().await.expect("it closes");
    let appended = log
        .append(numbered(A, 1, 1, 1), Durability::Ordered, Purpose::Pipeline)
        .await;
    assert!(matches!(appended, Err(LogError::Stopped(_))));
    let limit = BatchLimit {
        records: 1,
        bytes: 1,
    };
    let next = tokio::time::timeout(DEADLINE, member.reader.next(limit)).await;
    assert!(matches!(next, Ok(Err(LogError::Stopped(_)))));
    assert!(matches!(
        member.finish(Vec::new()).await,
        Err(LogError::Stopped(_))
    ));
}

pub async fn what_lies_in_a_partition_is_read_without_a_group(harness: &impl Harness) {
    let log = harness.open(topics()).await;
    append(&*log, numbered(A, 5, 0, 60)).await;
    let limit = BatchLimit {
        records: 7,
        bytes: 1 << 20,
    };
    let mut values = Vec::new();
    for (partition, end) in log.ends(A).await.unwrap() {
        let at = TopicPartition {
            topic: A,
            partition,
        };
        let mut from = 0;
        loop {
            let records = log.read(at, from, limit).await.unwrap();
            assert!(records.len() <= 7);
            let Some(last) = records.last() else { break };
            assert!(records.iter().all(|r| r.at == at && r.position >= from));
            from = last.position + 1;
            values.extend(super::member::sorted_numbers(&records));
        }
        assert!(log.read(at, end, limit).await.unwrap().is_empty());
    }
    values.sort_unstable();
    assert_eq!(values, (0..60).collect::<Vec<u64>>());
    // It is nobody's progress, and what is larger than the limit is still returned alone.
    let mut member = Member::join(&*log, FIRST, A).await;
    let all = member.read(60).await;
    let one = BatchLimit {
        records: 7,
        bytes: 0,
    };
    let alone = log.read(all[0].at, all[0].position, one).await.unwrap();
    assert_eq!((alone.len(), &alone[0].value), (1, &all[0].value));
    let nowhere = TopicPartition {
        topic: Topic("nowhere"),
        partition: 0,
    };
    let refused = log.read(nowhere, 0, limit).await;
    assert!(matches!(refused, Err(LogError::NoSuchTopic("nowhere"))));
}
