//! Records gathered to be dealt with together, and how they are finished together.

use std::collections::BTreeMap;
use std::time::Duration;

use postrider_model::{NewRecord, Position, Record, TopicPartition};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    Committed, Committer, Completion, Durability, LogError, Progress, Purpose, complete_patiently,
};

/// What was read and is not finished yet.
#[derive(Debug, Default)]
pub struct Batch {
    /// In order within each partition.
    pub records: Vec<Record>,
    bytes: usize,
    next: BTreeMap<TopicPartition, Position>,
    /// When the first came, and the last.
    came: Option<(Instant, Instant)>,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes what came at `now`.
    pub(crate) fn take(&mut self, records: Vec<Record>, now: Instant) {
        let first = self.came.map_or(now, |(first, _)| first);
        self.came = Some((first, now));
        for record in &records {
            self.bytes += record.value.len();
            self.next.insert(record.at, record.position + 1);
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
        self.bytes = self.records.iter().map(|record| record.value.len()).sum();
        self.next.retain(|of, _| !at.contains(of));
    }

    /// When it is to be written: `linger` after the first came, or `idle` after the last; `None` while it is empty.
    pub(crate) fn due_at(&self, linger: Duration, idle: Duration) -> Option<Instant> {
        let (first, last) = self.came.filter(|_| !self.is_empty())?;
        Some((first + linger).min(last + idle))
    }

    /// Finishes all of it together with what follows from it, and asks again for as long as the log is busy or full;
    /// `refused` is told each time. A partition that is another's by now is left out: who has it deals with it again.
    /// Returns false if `stop` came first: nothing was written then.
    ///
    /// # Errors
    /// When the log stops, or refuses an output for good.
    pub async fn finish(
        mut self,
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
                Err(LogError::Busy(_) | LogError::Full(_)) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// How far each partition is finished once it is written.
    fn progress(&self) -> Vec<Progress> {
        let progress = |(at, next): (&TopicPartition, &Position)| Progress {
            at: *at,
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
    use super::*;
    use bytes::Bytes;
    use postrider_model::{Headers, Timestamp, topics};

    fn record(topic: postrider_model::Topic, position: Position) -> Record {
        Record {
            at: at(topic),
            position,
            appended_at: Timestamp::default(),
            key: Bytes::new(),
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
        batch.take(vec![record(topics::EVENTS, 0)], now);
        assert_eq!(batch.due_at(linger, idle), Some(now + idle));
        let later = now + Duration::from_millis(90);
        batch.take(vec![record(topics::EVENTS, 1)], later);
        assert_eq!(batch.due_at(linger, idle), Some(now + linger));
    }

    #[test]
    fn each_partition_is_finished_behind_its_last_record_and_one_that_was_lost_is_left_out() {
        let mut batch = Batch::default();
        let records = vec![record(topics::EVENTS, 3), record(topics::ATTEMPTS, 8)];
        batch.take(records, Instant::now());
        batch.take(vec![record(topics::ATTEMPTS, 20)], Instant::now());
        batch.forget(&[at(topics::EVENTS)]);
        let progress = batch.progress();
        assert_eq!((progress.len(), progress[0].committed.next), (1, 21));
        assert_eq!((batch.records.len(), batch.bytes()), (2, 8));
    }
}
