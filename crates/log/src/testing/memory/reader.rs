//! Reading and finishing, for one member of a group.

use std::sync::Arc;

use async_trait::async_trait;
use postrider_model::{Group, Position, Record, Topic, TopicPartition};
use tokio::sync::watch;

use super::{Shared, state};
use crate::{
    Assignment, BatchLimit, Committer, Completion, LogError, Polled, Reader, Subscription, Turns,
};

struct Cursor {
    topic: Topic,
    next: Position,
    epoch: u64,
    paused: bool,
}

/// The one reader of its group.
pub(super) struct MemoryReader {
    shared: Arc<Shared>,
    changes: watch::Receiver<()>,
    group: Group,
    /// Returned by the first call of `next`.
    assigned: Option<Vec<Assignment>>,
    cursors: Vec<Cursor>,
    turns: Turns,
}

impl MemoryReader {
    pub(super) fn new(
        shared: Arc<Shared>,
        subscription: &Subscription,
        assigned: Vec<Assignment>,
    ) -> Self {
        let group = subscription.group;
        let cursor = |assignment: &Assignment| {
            let topic = assignment.at.topic;
            let state = shared.state();
            // A group that never committed begins where the topic does; for it, nothing was lost.
            let next = match state.has_committed(group, topic) {
                true => assignment.committed.next,
                false => state.first(topic),
            };
            Cursor {
                topic,
                next,
                epoch: assignment.epoch,
                paused: false,
            }
        };
        let cursors = assigned.iter().map(cursor).collect();
        Self {
            changes: shared.changes.subscribe(),
            group,
            cursors,
            turns: Turns::new(subscription.topics.iter().map(|topic| topic.weight), 1),
            assigned: Some(assigned),
            shared,
        }
    }

    /// What is there now, if anything is.
    fn poll(&mut self, limit: BatchLimit) -> Result<Option<Polled>, LogError> {
        let state = self.shared.state();
        state.check_open()?;
        let mut records: Vec<Record> = Vec::new();
        let mut bytes = 0;
        for cursor in self.cursors.iter_mut().filter(|cursor| !cursor.paused) {
            let first = state.first(cursor.topic);
            if cursor.next < first {
                let asked = std::mem::replace(&mut cursor.next, first);
                let at = at(cursor.topic);
                return Err(LogError::Trimmed { at, asked, first });
            }
        }
        while records.len() < limit.records {
            let cursors = &self.cursors;
            let ready = |index: usize| {
                let cursor: &Cursor = &cursors[index];
                !cursor.paused && state.from(cursor.topic, cursor.next).next().is_some()
            };
            let Some((turn, _)) = self.turns.deal(ready) else {
                break;
            };
            let cursor = &mut self.cursors[turn];
            let Some(record) = state.from(cursor.topic, cursor.next).next() else {
                break;
            };
            bytes += record.value.len();
            if bytes > limit.bytes && !records.is_empty() {
                break;
            }
            cursor.next = record.position + 1;
            self.turns.took(1);
            records.push(record.clone());
        }
        Ok((!records.is_empty()).then_some(Polled::Records(records)))
    }

    fn set_paused(&mut self, partitions: &[TopicPartition], paused: bool) {
        for cursor in &mut self.cursors {
            if partitions.contains(&at(cursor.topic)) {
                cursor.paused = paused;
            }
        }
    }
}

fn at(topic: Topic) -> TopicPartition {
    TopicPartition {
        topic,
        partition: 0,
    }
}

#[async_trait]
impl Reader for MemoryReader {
    async fn next(&mut self, limit: BatchLimit) -> Result<Polled, LogError> {
        if let Some(assigned) = self.assigned.take() {
            return Ok(Polled::Assigned(assigned));
        }
        loop {
            // Seen before looking, so that a change in between is not slept through.
            self.changes.borrow_and_update();
            if let Some(polled) = self.poll(limit)? {
                return Ok(polled);
            }
            if self.changes.changed().await.is_err() {
                return Err(state::stopped());
            }
        }
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        self.set_paused(partitions, true);
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        self.set_paused(partitions, false);
    }
}

impl Drop for MemoryReader {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        for cursor in &self.cursors {
            state.leave(self.group, cursor.topic, cursor.epoch);
        }
    }
}

/// The reader's other half.
pub(super) struct MemoryCommitter {
    shared: Arc<Shared>,
    group: Group,
    epochs: Vec<(Topic, u64)>,
}

impl MemoryCommitter {
    pub(super) fn new(shared: Arc<Shared>, group: Group, assigned: &[Assignment]) -> Self {
        let epochs = assigned.iter().map(|a| (a.at.topic, a.epoch)).collect();
        Self {
            shared,
            group,
            epochs,
        }
    }

    fn epoch(&self, topic: Topic) -> Option<u64> {
        let found = self.epochs.iter().find(|(of, _)| *of == topic);
        found.map(|(_, epoch)| *epoch)
    }
}

#[async_trait]
impl Committer for MemoryCommitter {
    async fn complete(&self, completion: Completion) -> Result<(), LogError> {
        self.shared.check_sizes(&completion.outputs)?;
        let now = self.shared.clock.now();
        self.shared.change(|state| {
            for progress in &completion.finished {
                let topic = progress.at.topic;
                let epoch = self.epoch(topic);
                if !epoch.is_some_and(|epoch| state.holds(self.group, topic, epoch)) {
                    return Err(LogError::Lost(progress.at));
                }
            }
            state.complete(
                self.group,
                completion.finished,
                completion.outputs,
                completion.purpose,
                now,
            )
        })
    }

    fn holds(&self, at: TopicPartition) -> bool {
        let epoch = self.epoch(at.topic);
        epoch.is_some_and(|epoch| self.shared.state().holds(self.group, at.topic, epoch))
    }

    async fn release(&self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        self.shared.change(|state| {
            for at in partitions {
                if let Some(epoch) = self.epoch(at.topic) {
                    state.release(self.group, at.topic, epoch);
                }
            }
            Ok(())
        })
    }
}
