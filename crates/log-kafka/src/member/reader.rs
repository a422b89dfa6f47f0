//! The reader's half of a member.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postrider_log::{BatchLimit, LogError, Polled, Reader, TopicPartition};

use super::Member;
use crate::error::closed;

/// How often an idle reader looks into its queues although librdkafka did not say that anything came.
const DOUBT: Duration = Duration::from_secs(1);

/// Takes what comes. Leaves the group when it is dropped.
pub(crate) struct KafkaReader {
    member: Arc<Member>,
}

impl KafkaReader {
    pub(super) fn new(member: Arc<Member>) -> Self {
        Self { member }
    }

    fn take(&self, limit: BatchLimit) -> Result<Option<Polled>, LogError> {
        if self.member.is_closed() {
            return Err(closed());
        }
        let mut seats = self.member.seats();
        if let Some(event) = seats.events.pop_front() {
            return event.map(Some);
        }
        let records = seats.take(limit);
        Ok((!records.is_empty()).then_some(Polled::Records(records)))
    }
}

#[async_trait]
impl Reader for KafkaReader {
    async fn next(&mut self, limit: BatchLimit) -> Result<Polled, LogError> {
        loop {
            if let Some(polled) = self.take(limit)? {
                return Ok(polled);
            }
            // A permit is kept for what came since.
            let something = self.member.notify.notified();
            if tokio::time::timeout(DOUBT, something).await.is_err() {
                self.member.seats().doubt();
            }
        }
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        self.member.seats().set_paused(partitions, true);
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        self.member.seats().set_paused(partitions, false);
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        self.member.close();
    }
}
