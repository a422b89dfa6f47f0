//! The newest record of each partition, for whoever compares clocks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_log::{Partition, Position, Record, Topic, TopicPartition};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use crate::catalog::Catalog;
use crate::inspector::{Edge, Inspector, NOBODY};
use crate::onlooker::{Looking, Onlooker};
use crate::record::record;
use crate::topics::unreachable;
use crate::{OpenError, Options, config};

/// For records that are known to be there.
const READ: Duration = Duration::from_secs(10);
/// So many partitions have leaders on every broker, but by chance.
const MOST: usize = 16;
/// So many positions are looked at: behind the last record of a producer that uses transactions lies the end of one, which
/// is shown to nobody.
const REACH: Position = 2;

/// The last record of each partition of `topic` that has one among its last positions, of sixteen at most.
///
/// # Errors
/// If the brokers do not answer or refuse.
pub async fn newest_records(options: &Options, topic: Topic) -> Result<Vec<Record>, OpenError> {
    options.check()?;
    let asked = options.clone();
    let read = tokio::task::spawn_blocking(move || read(&asked, topic)).await;
    let read = read.unwrap_or_else(|error| Err(KafkaError::AdminOpCreation(error.to_string())));
    read.map_err(|error| unreachable(options, &error))
}

fn read(options: &Options, topic: Topic) -> KafkaResult<Vec<Record>> {
    let catalog = Arc::new(Catalog::new(options));
    let Ok(entry) = catalog.resolve(topic) else {
        return Ok(Vec::new());
    };
    let inspector = Inspector::new(options, Arc::clone(&catalog));
    let partitions: Vec<TopicPartition> = Catalog::partitions(entry).collect();
    let firsts = inspector.edges(&partitions, Edge::First)?;
    let ends = inspector.edges(&partitions, Edge::End)?;
    let filled = ends
        .iter()
        .filter(|(at, end)| firsts.get(at).is_some_and(|first| first < *end));
    let mut list = TopicPartitionList::new();
    let mut lasts = BTreeMap::new();
    for (at, end) in filled.take(MOST) {
        if let Some((name, partition)) = catalog.name(*at) {
            let from = end
                .saturating_sub(REACH)
                .max(firsts.get(at).copied().unwrap_or(0));
            let from = i64::try_from(from).unwrap_or(i64::MAX);
            list.add_partition_offset(name, partition, Offset::Offset(from))?;
            lasts.insert(at.partition, end.saturating_sub(1));
        }
    }
    if list.count() == 0 {
        return Ok(Vec::new());
    }
    let mut config = config::consumer(options, &catalog.group(NOBODY));
    config.set("enable.partition.eof", "true");
    let reader: Onlooker = config.create_with_context(Looking)?;
    reader.assign(&list)?;
    Ok(read_to(lasts, &reader, &catalog))
}

/// The last record of each partition that was assigned, up to these positions.
fn read_to(
    mut lasts: BTreeMap<Partition, Position>,
    reader: &Onlooker,
    catalog: &Catalog,
) -> Vec<Record> {
    let mut newest = BTreeMap::new();
    let until = Instant::now() + READ;
    while !lasts.is_empty() && Instant::now() < until {
        match reader.poll(Duration::from_millis(50)) {
            Some(Ok(message)) => {
                let Some(at) = catalog.at(message.topic(), message.partition()) else {
                    continue;
                };
                let record = record(at, &message);
                if lasts
                    .get(&at.partition)
                    .is_some_and(|last| record.position >= *last)
                {
                    lasts.remove(&at.partition);
                }
                newest.insert(at.partition, record);
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                lasts.retain(|number, _| i32::try_from(*number) != Ok(partition));
            }
            Some(Err(_)) | None => {}
        }
    }
    newest.into_values().collect()
}
