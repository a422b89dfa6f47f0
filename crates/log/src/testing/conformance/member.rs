//! A member of a group, as the tests use it.

use std::collections::BTreeMap;
use std::sync::Arc;

use postrider_model::{Group, NewRecord, Position, Record, Topic, TopicPartition};

use super::DEADLINE;
use crate::{
    Assignment, BatchLimit, Committed, Committer, Completion, Durability, Epochs, Log, LogError,
    Polled, Progress, Purpose, Reader, Subscription, Weighted,
};

/// Enough for any batch.
const PLENTY: BatchLimit = BatchLimit {
    records: 500,
    bytes: 64 << 20,
};

/// A reader with its committer, and how far it has read.
pub struct Member {
    /// Its reader.
    pub reader: Box<dyn Reader>,
    /// Its committer.
    pub committer: Arc<dyn Committer>,
    /// What it was given at first.
    pub assigned: Vec<Assignment>,
    /// Under which assignment it reads each partition.
    pub epochs: Epochs,
    read: BTreeMap<TopicPartition, Position>,
}

impl Member {
    /// Joins a group for one topic.
    pub async fn join(log: &dyn Log, group: Group, topic: Topic) -> Self {
        Self::join_weighted(log, group, &[(topic, 1)]).await
    }

    /// Joins a group for topics with weights, and waits until each has an owner.
    pub async fn join_weighted(log: &dyn Log, group: Group, topics: &[(Topic, u32)]) -> Self {
        let weighted = |(topic, weight): &(Topic, u32)| Weighted {
            topic: *topic,
            weight: *weight,
        };
        let topics = topics.iter().map(weighted).collect();
        let subscription = Subscription::to_all(group, topics);
        let joined = log.subscribe(subscription).await;
        let (reader, committer) = joined.expect("a group can be joined");
        let mut member = Self {
            reader,
            committer,
            assigned: Vec::new(),
            epochs: Epochs::default(),
            read: BTreeMap::new(),
        };
        match member.next(PLENTY).await {
            Ok(Polled::Assigned(assigned)) => member.assigned = assigned,
            other => panic!("a reader begins with an assignment, not {other:?}"),
        }
        member
    }

    /// What comes next, within the deadline.
    pub async fn next(&mut self, limit: BatchLimit) -> Result<Polled, LogError> {
        let next = tokio::time::timeout(DEADLINE, self.reader.next(limit)).await;
        let polled = next.expect("something comes within the deadline")?;
        self.epochs.hear(&polled);
        if let Polled::Records(records) = &polled {
            for record in records {
                let before = self.read.insert(record.at, record.position + 1);
                assert!(
                    before.is_none_or(|next| next <= record.position),
                    "{} comes in order: {} after {before:?}",
                    record.at,
                    record.position
                );
            }
        }
        Ok(polled)
    }

    /// The next records.
    pub async fn batch(&mut self, limit: BatchLimit) -> Vec<Record> {
        loop {
            match self.next(limit).await.expect("reading succeeds") {
                Polled::Records(records) => return records,
                Polled::Assigned(more) => self.assigned.extend(more),
                Polled::Revoking(_) | Polled::Lost(_) => {}
            }
        }
    }

    /// Reads until there are this many.
    pub async fn read(&mut self, count: usize) -> Vec<Record> {
        let mut records = Vec::new();
        while records.len() < count {
            let limit = BatchLimit {
                records: PLENTY.records.min(count - records.len()),
                ..PLENTY
            };
            records.extend(self.batch(limit).await);
        }
        records
    }

    /// What was read so far as progress, with metadata.
    pub fn progress(&self, metadata: &str) -> Vec<Progress> {
        let committed = |next: Position| Committed {
            next,
            metadata: metadata.to_owned(),
        };
        let progress = |(at, next): (&TopicPartition, &Position)| Progress {
            at: *at,
            epoch: self.epochs.of(*at),
            committed: committed(*next),
        };
        self.read.iter().map(progress).collect()
    }

    /// Finishes everything read so far, with outputs.
    pub async fn finish(&self, outputs: Vec<NewRecord>) -> Result<(), LogError> {
        self.complete(self.progress(""), outputs).await
    }

    /// Completes.
    pub async fn complete(
        &self,
        finished: Vec<Progress>,
        outputs: Vec<NewRecord>,
    ) -> Result<(), LogError> {
        let completion = Completion {
            finished,
            outputs,
            durability: Durability::Ordered,
            purpose: Purpose::Pipeline,
        };
        self.committer.complete(completion).await
    }
}

/// Their values as text.
pub(super) fn values(records: &[Record]) -> Vec<String> {
    let text = |record: &Record| String::from_utf8_lossy(&record.value).into_owned();
    records.iter().map(text).collect()
}

/// Their values as numbers, in ascending order.
pub(super) fn sorted_numbers(records: &[Record]) -> Vec<u64> {
    let values = values(records);
    let mut numbers: Vec<u64> = values
        .iter()
        .map(|v| v.parse().expect("a number"))
        .collect();
    numbers.sort_unstable();
    numbers
}
