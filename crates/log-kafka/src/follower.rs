//! Reading a compacted topic from its beginning, without a group.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postrider_log::{Followed, Follower, LogError, Partition, Record, TopicPartition};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Notify;

use crate::catalog::Entry;
use crate::config;
use crate::error::closed;
use crate::onlooker::{Looking, Onlooker};
use crate::record::record;
use crate::shared::Shared;

/// The most records that one call returns.
const BATCH: usize = 1000;
/// How often an idle follower looks whether something came although nothing said so.
const DOUBT: Duration = Duration::from_millis(500);

/// Follows one topic.
pub(crate) struct KafkaFollower {
    shared: Arc<Shared>,
    /// None while it is dropped.
    consumer: Option<Onlooker>,
    notify: Arc<Notify>,
    topic: postrider_log::Topic,
    /// Partitions whose end was not reached yet.
    behind: HashSet<Partition>,
    caught_up: bool,
}

impl KafkaFollower {
    /// These partitions of the topic.
    pub(crate) fn new(
        shared: Arc<Shared>,
        entry: &Entry,
        partitions: &[TopicPartition],
    ) -> KafkaResult<Self> {
        let nobody = shared.catalog.group(postrider_log::Group("nobody"));
        let mut config = config::consumer_of(&shared.options, &nobody, partitions.len());
        // It has no position to lose: where its own is gone, the newest of each key is still there.
        config
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest");
        let mut consumer: Onlooker = config.create_with_context(Looking)?;
        let notify = Arc::new(Notify::new());
        let wake = Arc::clone(&notify);
        consumer.set_nonempty_callback(move || wake.notify_one());
        let mut list = TopicPartitionList::new();
        let mut behind = HashSet::new();
        for at in partitions {
            let partition = i32::try_from(at.partition).unwrap_or_default();
            list.add_partition_offset(&entry.name, partition, Offset::Beginning)?;
            behind.insert(at.partition);
        }
        consumer.assign(&list)?;
        Ok(Self {
            topic: entry.spec.topic,
            shared,
            consumer: Some(consumer),
            notify,
            behind,
            caught_up: false,
        })
    }

    /// What is there now.
    fn poll(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        let Some(consumer) = &self.consumer else {
            return records;
        };
        while records.len() < BATCH {
            match consumer.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => {
                    let partition = Partition::try_from(message.partition()).unwrap_or_default();
                    let at = TopicPartition {
                        topic: self.topic,
                        partition,
                    };
                    records.push(record(at, &message));
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    if let Ok(partition) = Partition::try_from(partition) {
                        self.behind.remove(&partition);
                    }
                }
                Some(Err(error)) => complain(&error),
            }
        }
        records
    }
}

fn complain(error: &KafkaError) {
    let passing = matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown)
    );
    match passing {
        true => tracing::debug!(%error, "following a topic"),
        false => tracing::warn!(%error, "following a topic; it is tried again"),
    }
}

#[async_trait]
impl Follower for KafkaFollower {
    async fn next(&mut self) -> Result<Followed, LogError> {
        loop {
            if self.shared.is_closed() {
                return Err(closed());
            }
            let records = self.poll();
            if !records.is_empty() {
                return Ok(Followed::Records(records));
            }
            if self.behind.is_empty() && !std::mem::replace(&mut self.caught_up, true) {
                return Ok(Followed::CaughtUp);
            }
            // Timing out is no error: then it looks again.
            let _ = tokio::time::timeout(DOUBT, self.notify.notified()).await;
        }
    }
}

impl Drop for KafkaFollower {
    fn drop(&mut self) {
        // Closing waits for the client's threads.
        if let Some(consumer) = self.consumer.take() {
            std::thread::spawn(move || drop(consumer));
        }
    }
}
