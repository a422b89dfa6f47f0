//! Records gathered for one transaction, and when they have waited long enough. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use postrider_log::{Committed, Progress};
use postrider_model::{Position, Record, TopicPartition};
use tokio::time::Instant;

/// What was read and is not recorded yet.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) records: Vec<Record>,
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

    /// How far each partition is finished once it is written.
    pub(crate) fn progress(&self) -> Vec<Progress> {
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
