//! A consumer outside any group: it looks on, and owns nothing.

use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use crate::error::forbids;

/// Reads or asks, without a group's rights.
pub(crate) type Onlooker = BaseConsumer<Looking>;

/// What librdkafka tells an onlooker.
pub(crate) struct Looking;

impl ClientContext for Looking {
    fn error(&self, error: KafkaError, reason: &str) {
        // The end of a partition, and that it may not be read, also come as answers: rdkafka would call the first an error each
        // time, and of the second says more who asked.
        let is_answer = error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF);
        if !is_answer && !forbids(&error) {
            tracing::warn!(%error, reason, "a reader's connection to Kafka");
        }
    }
}

impl ConsumerContext for Looking {}
