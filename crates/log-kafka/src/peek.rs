//! Records for an operator: read without a group and without waiting for more.

use std::time::{Duration, Instant};

use postrider_log::{BatchLimit, Position, Record, TopicPartition};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{ClientConfig, Offset};

use crate::catalog::Catalog;
use crate::onlooker::{Looking, Onlooker};
use crate::record::record;

/// For what is known to be there.
const READ: Duration = Duration::from_secs(10);

/// What lies in a partition from `from` on, where something does: at most `limit`, but one at least. Blocks.
pub(crate) fn peek(
    mut config: ClientConfig,
    catalog: &Catalog,
    at: TopicPartition,
    from: Position,
    limit: BatchLimit,
) -> KafkaResult<Vec<Record>> {
    let mut list = TopicPartitionList::new();
    if let Some((name, partition)) = catalog.name(at) {
        let offset = Offset::Offset(i64::try_from(from).unwrap_or(i64::MAX));
        list.add_partition_offset(name, partition, offset)?;
    }
    config.set("enable.partition.eof", "true");
    let reader: Onlooker = config.create_with_context(Looking)?;
    reader.assign(&list)?;
    let mut records: Vec<Record> = Vec::new();
    let (mut bytes, until) = (limit.bytes, Instant::now() + READ);
    while records.len() < limit.records {
        match reader.poll(Duration::from_millis(50)) {
            Some(Ok(message)) => {
                let record = record(at, &message);
                if record.size() > bytes && !records.is_empty() {
                    break;
                }
                bytes = bytes.saturating_sub(record.size());
                records.push(record);
            }
            Some(Err(KafkaError::PartitionEOF(_))) => break,
            Some(Err(_)) | None if Instant::now() < until => {}
            Some(Err(error)) => return Err(error),
            None if records.is_empty() => return Err(KafkaError::NoMessageReceived),
            None => break,
        }
    }
    Ok(records)
}
