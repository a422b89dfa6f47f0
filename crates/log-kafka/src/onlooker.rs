//! A consumer outside any group: it looks on, and owns nothing.

use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

/// Reads or asks, without a group's rights.
pub(crate) type Onlooker = BaseConsumer<Looking>;

/// What librdkafka tells an onlooker.
pub(crate) struct Looking;

impl ClientContext for Looking {
    fn error(&self, error: KafkaError, reason: &str) {
        // The end of a partition is asked for, and also comes as an answer; rdkafka would call it an error each time.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            tracing::warn!(%error, reason, "a reader's connection to Kafka");
        }
    }
}

impl ConsumerContext for Looking {}
