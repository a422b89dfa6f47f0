//! What librdkafka tells a member. Callbacks only mark; the member's thread acts when its poll returns.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use postrider_log::TopicPartition;
use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use crate::catalog::Catalog;

/// A consumer of a member.
pub(crate) type Consumer = BaseConsumer<Context>;

/// What happened.
#[derive(Debug)]
pub(crate) enum Mark {
    /// The group gives us these.
    Assigned(Vec<TopicPartition>),
    /// The group wants these back.
    Revoked(Vec<TopicPartition>),
    /// The group has given these to others already.
    Lost(Vec<TopicPartition>),
}

/// Hands what happened from librdkafka's callbacks to the member's thread.
pub(crate) struct Context {
    catalog: Arc<Catalog>,
    marks: Mutex<Vec<Mark>>,
    /// The consumer is being closed: nobody takes marks any more.
    closing: AtomicBool,
}

impl Context {
    pub(crate) fn new(catalog: Arc<Catalog>) -> Self {
        Self {
            catalog,
            marks: Mutex::default(),
            closing: AtomicBool::new(false),
        }
    }

    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// What happened since this was called last.
    pub(crate) fn take(&self) -> Vec<Mark> {
        std::mem::take(&mut *self.marks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn mark(&self, mark: Mark) {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.push(mark);
    }
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "a member's connection to Kafka");
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        if self.closing.load(Ordering::Acquire) {
            // Everything was given up before; this only lets librdkafka leave.
            if let Err(error) = give_back(consumer, list) {
                tracing::debug!(%error, "leaving a group");
            }
            return;
        }
        let partitions = self.catalog.of_list(list);
        self.mark(match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Mark::Assigned(partitions),
            _ if consumer.assignment_lost() => Mark::Lost(partitions),
            _ => Mark::Revoked(partitions),
        });
    }
}

/// Takes these into the assignment, in the manner of the group's protocol. Nothing of them is read: that is the fetcher's.
pub(crate) fn take_over(consumer: &Consumer, list: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_assign(list)?,
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.assign(list)?,
    }
    consumer.pause(list)
}

/// Takes these out of the assignment, in the manner of the group's protocol.
pub(crate) fn give_back(consumer: &Consumer, list: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
    }
}
