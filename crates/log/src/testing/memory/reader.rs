//! Reading and finishing, for one member of a group.

use std::sync::Arc;

use async_trait::async_trait;
use postrider_model::{Group, Position, Record, Topic, TopicPartition};
use tokio::sync::watch;

use super::Shared;
use super::members::{MemberId, News};
use super::state::{self, State};
use crate::{
    Assignment, BatchLimit, Committer, Completion, Durability, LogError, Polled, Reader,
    Subscription, Tenure, Turns,
};

/// How far a partition was read.
struct Cursor {
    at: TopicPartition,
    next: Position,
    epoch: u64,
    paused: bool,
}

/// One reader of a group.
pub(super) struct MemoryReader {
    shared: Arc<Shared>,
    changes: watch::Receiver<()>,
    group: Group,
    member: MemberId,
    topics: Vec<Topic>,
    cursors: Vec<Cursor>,
    turns: Turns,
}

impl MemoryReader {
    pub(super) fn new(shared: Arc<Shared>, subscription: &Subscription, member: MemberId) -> Self {
        let topics = subscription.topics.iter();
        Self {
            changes: shared.changes.subscribe(),
            group: subscription.group,
            member,
            turns: Turns::new(topics.clone().map(|topic| topic.weight), 1),
            topics: topics.map(|topic| topic.topic).collect(),
            cursors: Vec::new(),
            shared,
        }
    }

    /// What is there now, if anything is.
    fn poll(&mut self, limit: BatchLimit) -> Result<Option<Polled>, LogError> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        state.check_open()?;
        if let Some(news) = state.members.news(self.member) {
            return Ok(Some(self.hear(news, &state)));
        }
        for cursor in self.cursors.iter_mut().filter(|cursor| !cursor.paused) {
            let first = state.first(cursor.at);
            if cursor.next < first {
                let asked = std::mem::replace(&mut cursor.next, first);
                let at = cursor.at;
                return Err(LogError::Trimmed { at, asked, first });
            }
        }
        let records = self.take(&state, limit);
        Ok((!records.is_empty()).then_some(Polled::Records(records)))
    }

    /// Begins or ends with partitions.
    fn hear(&mut self, news: News, state: &State) -> Polled {
        match news {
            News::Given(given) => {
                let begun = given
                    .into_iter()
                    .map(|(at, epoch)| self.begin(at, epoch, state));
                Polled::Assigned(begun.collect())
            }
            News::Revoked(partitions) => {
                self.cursors
                    .retain(|cursor| !partitions.contains(&cursor.at));
                Polled::Revoking(partitions)
            }
            News::Lost(partitions) => {
                self.cursors
                    .retain(|cursor| !partitions.contains(&cursor.at));
                Polled::Lost(partitions)
            }
        }
    }

    fn begin(&mut self, at: TopicPartition, epoch: u64, state: &State) -> Assignment {
        let committed = state.committed(self.group, at);
        // A group that never committed begins where the topic does; for it, nothing was lost.
        let next = match state.has_committed(self.group, at) {
            true => committed.next,
            false => state.first(at),
        };
        self.cursors.retain(|cursor| cursor.at != at);
        self.cursors.push(Cursor {
            at,
            next,
            epoch,
            paused: false,
        });
        Assignment {
            at,
            committed,
            epoch,
        }
    }

    /// The next records, by weight of their topics.
    fn take(&mut self, state: &State, limit: BatchLimit) -> Vec<Record> {
        let mut records: Vec<Record> = Vec::new();
        let mut bytes = 0;
        while records.len() < limit.records {
            let next = |topic: Topic| self.next_of(topic, state);
            let ready = |turn: usize| next(self.topics[turn]).is_some();
            let Some((turn, _)) = self.turns.clone().deal(ready) else {
                break;
            };
            // Dealt again, now that nothing is borrowed: what is ready is the same.
            let Some((index, record)) = next(self.topics[turn]) else {
                break;
            };
            bytes += record.size();
            if bytes > limit.bytes && !records.is_empty() {
                break;
            }
            self.turns.deal(|other| other == turn);
            self.turns.took(1);
            self.cursors[index].next = record.position + 1;
            records.push(record);
        }
        records
    }

    /// The next record of a topic, and which cursor it is of: the oldest of its partitions' heads.
    fn next_of(&self, topic: Topic, state: &State) -> Option<(usize, Record)> {
        let heads = self
            .cursors
            .iter()
            .enumerate()
            .filter_map(|(index, cursor)| {
                let readable = cursor.at.topic == topic
                    && !cursor.paused
                    && state.members.may_read(self.member, cursor.at, cursor.epoch);
                let head = readable.then(|| state.from(cursor.at, cursor.next).next())?;
                Some((index, head?))
            });
        let oldest = heads.min_by_key(|(_, head)| (head.appended_at, head.position));
        oldest.map(|(index, head)| (index, head.clone()))
    }

    fn set_paused(&mut self, partitions: &[TopicPartition], paused: bool) {
        for cursor in &mut self.cursors {
            if partitions.contains(&cursor.at) {
                cursor.paused = paused;
            }
        }
    }
}

#[async_trait]
impl Reader for MemoryReader {
    async fn next(&mut self, limit: BatchLimit) -> Result<Polled, LogError> {
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
        self.shared.state().members.leave(self.member);
    }
}

/// The reader's other half.
pub(super) struct MemoryCommitter {
    shared: Arc<Shared>,
    group: Group,
    member: MemberId,
}

impl MemoryCommitter {
    pub(super) fn new(shared: Arc<Shared>, group: Group, member: MemberId) -> Self {
        Self {
            shared,
            group,
            member,
        }
    }
}

#[async_trait]
impl Committer for MemoryCommitter {
    async fn complete(&self, completion: Completion) -> Result<(), LogError> {
        self.shared.check_sizes(&completion.outputs)?;
        let now = self.shared.clock.now();
        self.shared.change(|state| {
            for progress in &completion.finished {
                if !state.may_finish(self.member, progress.tenure()) {
                    return Err(LogError::Lost(progress.at));
                }
            }
            state.complete(
                self.group,
                completion.finished,
                completion.outputs,
                completion.purpose,
                now,
            )?;
            if completion.durability == Durability::Synced {
                state.sync();
            }
            Ok(())
        })
    }

    fn holds(&self, at: TopicPartition) -> bool {
        self.shared.state().holds(self.member, at)
    }

    async fn release(&self, partitions: &[Tenure]) -> Result<(), LogError> {
        self.shared.change(|state| {
            state.members.release(self.member, partitions);
            Ok(())
        })
    }
}
