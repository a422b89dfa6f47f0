//! Records gathered to be dealt with together, and how they are finished together.

use std::collections::BTreeMap;
use std::time::Duration;

use postrider_model::{Clock as _, NewRecord, Position, Record, SystemClock, TopicPartition};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    Committed, Committer, Completion, Durability, Epochs, LogError, Progress, Purpose,
    complete_patiently, shrink,
};

/// What was read and is not finished yet.
#[derive(Debug, Default)]
pub struct Batch {
    /// In order within each partition.
    pub records: Vec<Record>,
    bytes: usize,
    /// Under which assignment each was read, and behind its last record.
    next: BTreeMap<TopicPartition, (u64, Position)>,
    /// When the first came, and the last.
    came: Option<(Instant, Instant)>,
}

impl Batch {
    /// True if nothing of it is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes what came at `now`.
    pub(crate) fn take(&mut self, records: Vec<Record>, epochs: &Epochs, now: Instant) {
        let first = self.came.map_or(now, |(first, _)| first);
        self.came = Some((first, now));
        for record in &records {
            self.bytes += record.size();
            let next = (epochs.of(record.at), record.position + 1);
            self.next.insert(record.at, next);
        }
        if self.records.is_empty() {
            self.records = records;
        } else {
            self.records.extend(records);
        }
    }

    /// These partitions are another's now, who reads all of it again.
    pub(crate) fn forget(&mut self, at: &[TopicPartition]) {
        self.records.retain(|record| !at.contains(&record.at));
        self.bytes = self.records.iter().map(|record| record.size()).sum();
        self.next.retain(|of, _| !at.contains(of));
    }

    /// When it is to be written: `linger` after the first came, or `idle` after the last; `None` while it is empty.
    pub(crate) fn due_at(&self, linger: Duration, idle: Duration) -> Option<Instant> {
        let (first, last) = self.came.filter(|_| !self.is_empty())?;
        Some((first + linger).min(last + idle))
    }

    /// Finishes all of it together with what follows from it, made smaller where the log takes none of its size, and
    /// asks again for as long as the log is busy, full or silent; `refused` is told each time. A partition that is
    /// another's by now is left out: who has it deals with it again. Returns false if `stop` came first: no position
    /// was written then.
    ///
    /// # Errors
    /// When the log stops, or refuses an output for good.
    pub async fn finish(
        &mut self,
        committer: &dyn Committer,
        outputs: Vec<NewRecord>,
        stop: &CancellationToken,
        refused: impl Fn(&LogError) + Send + Sync,
    ) -> Result<bool, LogError> {
        let mut completion = Completion {
            finished: self.progress(),
            outputs,
            durability: Durability::Ordered,
            purpose: Purpose::Pipeline,
        };
        loop {
            match complete_patiently(committer, &completion, stop, &refused).await {
                Ok(()) => return Ok(true),
                Err(LogError::Lost(at)) => {
                    self.forget(&[at]);
                    completion.finished = self.progress();
                }
                Err(error) if error.is_passing() => return Ok(false),
                // What is set aside for its content may be too large for where it is put, too.
                Err(error @ LogError::TooLarge { limit, .. }) => {
                    if shrink(&mut completion.outputs, limit, SystemClock.now()) == 0 {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// How far each partition is finished once it is written.
    fn progress(&self) -> Vec<Progress> {
        let progress = |(at, (epoch, next)): (&TopicPartition, &(u64, Position))| Progress {
            at: *at,
            epoch: *epoch,
            committed: Committed {
                next: *next,
                metadata: String::new(),
            },
        };
        self.next.iter().map(progress).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::Tenure;
    use async_trait::async_trait;
    use bytes::Bytes;
    use postrider_model::{Headers, Timestamp, topics};

    fn record(topic: postrider_model::Topic, position: Position) -> Record {
        Record {
            at: at(topic),
            position,
            appended_at: Timestamp::default(),
            key: Bytes::from_static(b"key"),
            headers: Headers::new(),
            value: Bytes::from_static(b"1234"),
        }
    }

    fn at(topic: postrider_model::Topic) -> TopicPartition {
        TopicPartition {
            topic,
            partition: 0,
        }
    }

    #[test]
    fn a_batch_is_due_after_lingering_or_once_nothing_came_for_a_while() {
        let (linger, idle) = (Duration::from_millis(100), Duration::from_millis(40));
        let (mut batch, now) = (Batch::default(), Instant::now());
        assert_eq!(batch.due_at(linger, idle), None);
        batch.take(vec![record(topics::EVENTS, 0)], &Epochs::default(), now);
        assert_eq!(batch.due_at(linger, idle), Some(now + idle));
        let later = now + Duration::from_millis(90);
        batch.take(vec![record(topics::EVENTS, 1)], &Epochs::default(), later);
        assert_eq!(batch.due_at(linger, idle), Some(now + linger));
    }

    #[test]
    fn each_partition_is_finished_behind_its_last_record_and_one_that_was_lost_is_left_out() {
        let mut batch = Batch::default();
        let records = vec![record(topics::EVENTS, 3), record(topics::ATTEMPTS, 8)];
        let epochs = Epochs::default();
        batch.take(records, &epochs, Instant::now());
        batch.take(vec![record(topics::ATTEMPTS, 20)], &epochs, Instant::now());
        batch.forget(&[at(topics::EVENTS)]);
        let progress = batch.progress();
        assert_eq!((progress.len(), progress[0].committed.next), (1, 21));
        assert_eq!((batch.records.len(), batch.bytes()), (2, 14));
    }

    /// Takes no output above so many bytes, whatever our own limit is; counts the commits that it took.
    struct Broker(usize, AtomicU32);

    #[async_trait]
    impl Committer for Broker {
        async fn complete(&self, completion: Completion) -> Result<(), LogError> {
            let large = completion.outputs.iter().find(|one| one.size() > self.0);
            if let Some(output) = large {
                return Err(LogError::TooLarge {
                    topic: output.topic.0,
                    size: output.size(),
                    limit: self.0,
                });
            }
            self.1.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }

        fn holds(&self, _at: TopicPartition) -> bool {
            true
        }

        async fn release(&self, _partitions: &[Tenure]) -> Result<(), LogError> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_is_set_aside_and_too_large_for_the_broker_is_set_aside_without_its_value() {
        let batch = || {
            let mut batch = Batch::default();
            let records = vec![record(topics::ATTEMPTS, 8)];
            batch.take(records, &Epochs::default(), Instant::now());
            batch
        };
        let aside = |topic| NewRecord::new(topic, "key", vec![0; 2000]);
        let (broker, stop) = (Broker(1000, AtomicU32::new(0)), CancellationToken::new());
        let rejected = vec![aside(topics::EVENTS_REJECTED)];
        let finished = batch().finish(&broker, rejected, &stop, |_| {}).await;
        assert!(finished.unwrap());
        assert_eq!(broker.1.load(Ordering::SeqCst), 1);
        let nothing_smaller = vec![aside(topics::FANOUTS)];
        let refused = batch()
            .finish(&broker, nothing_smaller, &stop, |_| {})
            .await;
        assert!(matches!(refused, Err(LogError::TooLarge { .. })));
    }
}
