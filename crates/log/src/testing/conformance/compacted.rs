//! Topics of which only the newest of each key is kept.

use std::collections::BTreeMap;

use bytes::Bytes;
use postrider_model::NewRecord;

use super::{A, DEADLINE, Harness, NEWEST, append, topics};
use crate::{Followed, Follower, Log, LogError};

/// What a follower knows, built as a service builds it.
#[derive(Default)]
struct Known {
    values: BTreeMap<Bytes, Bytes>,
    caught_up: usize,
}

impl Known {
    async fn take(&mut self, follower: &mut dyn Follower) {
        let next = tokio::time::timeout(DEADLINE, follower.next()).await;
        match next.expect("something comes").expect("following succeeds") {
            Followed::CaughtUp => self.caught_up += 1,
            Followed::Records(records) => {
                for record in records {
                    match record.value.is_empty() {
                        true => self.values.remove(&record.key),
                        false => self.values.insert(record.key, record.value),
                    };
                }
            }
        }
    }

    async fn until_caught_up(log: &dyn Log) -> (Self, Box<dyn Follower>) {
        let mut follower = log.follow(NEWEST).await.expect("it can be followed");
        let mut known = Self::default();
        while known.caught_up == 0 {
            known.take(&mut *follower).await;
        }
        (known, follower)
    }
}

fn put(key: u64, value: impl Into<Bytes>) -> NewRecord {
    NewRecord::new(NEWEST, format!("key-{key}"), value)
}

pub async fn a_compacted_topic_gives_the_newest_of_each_key(harness: &impl Harness) {
    let log = harness.open(topics()).await;
    let (known, _) = Known::until_caught_up(&*log).await;
    assert!(known.values.is_empty());
    for round in 0..3 {
        let values = (0..1500).map(|key| put(key, format!("{round}")));
        append(&*log, values.collect()).await;
    }
    append(
        &*log,
        vec![put(3, ""), put(4, ""), put(4, "again"), put(5, "other")],
    )
    .await;
    let mut expected: BTreeMap<Bytes, Bytes> = (0..1500)
        .map(|key| (format!("key-{key}").into(), "2".into()))
        .collect();
    expected.remove(&b"key-3"[..]);
    expected.insert("key-4".into(), "again".into());
    expected.insert("key-5".into(), "other".into());
    let (known, follower) = Known::until_caught_up(&*log).await;
    assert_eq!(known.values, expected);
    drop(follower);
    let log = harness.reopen(log).await;
    let (known, _follower) = Known::until_caught_up(&*log).await;
    assert_eq!(known.values, expected);
    let refused = log.follow(A).await.err();
    assert!(matches!(refused, Some(LogError::NoSuchTopic("a"))));
}

pub async fn a_follower_is_caught_up_once_and_sees_what_is_written_later(harness: &impl Harness) {
    let log = harness.open(topics()).await;
    append(&*log, (0..10).map(|key| put(key, "before")).collect()).await;
    let (mut known, mut follower) = Known::until_caught_up(&*log).await;
    let writer = {
        let log = log.clone();
        tokio::spawn(async move {
            for round in 0..2000_u64 {
                append(&*log, vec![put(round % 10, format!("{round}"))]).await;
            }
            append(&*log, vec![put(0, ""), put(1, "last")]).await;
        })
    };
    // Keys may lie in different partitions, which are not read in the order of their writing.
    let mut expected: BTreeMap<Bytes, Bytes> = (2..10)
        .map(|key| (format!("key-{key}").into(), format!("199{key}").into()))
        .collect();
    expected.insert("key-1".into(), "last".into());
    while known.values != expected {
        known.take(&mut *follower).await;
    }
    writer.await.expect("the writer ends");
    assert_eq!(known.caught_up, 1);
}
