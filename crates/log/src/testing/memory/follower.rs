//! Reading a compacted topic without a group.

use std::sync::Arc;

use async_trait::async_trait;
use postrider_model::{Position, Record, Topic, TopicPartition};
use tokio::sync::watch;

use super::{Shared, state};
use crate::{Followed, Follower, LogError};

/// The most records that one call returns.
const BATCH: usize = 1000;

/// Follows one topic.
pub(super) struct MemoryFollower {
    changes: watch::Receiver<()>,
    shared: Arc<Shared>,
    at: TopicPartition,
    next: Position,
    /// The topic's end when following began; none once it was reached and said so.
    until: Option<Position>,
}

impl MemoryFollower {
    pub(super) fn new(shared: Arc<Shared>, topic: Topic, until: Position) -> Self {
        Self {
            changes: shared.changes.subscribe(),
            shared,
            // Compacted topics have one partition.
            at: TopicPartition {
                topic,
                partition: 0,
            },
            next: 0,
            until: Some(until),
        }
    }

    fn poll(&mut self) -> Result<Option<Followed>, LogError> {
        let state = self.shared.state();
        state.check_open()?;
        let records: Vec<Record> = match self.until {
            // What was removed before following began is not there.
            Some(until) => state
                .from(self.at, self.next)
                .take_while(|record| record.position < until)
                .filter(|record| !record.value.is_empty())
                .take(BATCH)
                .cloned()
                .collect(),
            None => state
                .from(self.at, self.next)
                .take(BATCH)
                .cloned()
                .collect(),
        };
        if let Some(last) = records.last() {
            self.next = last.position + 1;
            return Ok(Some(Followed::Records(records)));
        }
        if let Some(until) = self.until.take() {
            self.next = until;
            return Ok(Some(Followed::CaughtUp));
        }
        Ok(None)
    }
}

#[async_trait]
impl Follower for MemoryFollower {
    async fn next(&mut self) -> Result<Followed, LogError> {
        loop {
            self.changes.borrow_and_update();
            if let Some(followed) = self.poll()? {
                return Ok(followed);
            }
            if self.changes.changed().await.is_err() {
                return Err(state::stopped());
            }
        }
    }
}
