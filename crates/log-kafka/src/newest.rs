//! The newest record of each partition, for whoever compares clocks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_log::{Record, Topic, TopicPartition};
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

/// The last record of each partition of `topic` that has one, of sixteen at most.
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
    for (at, end) in filled.take(MOST) {
        if let Some((name, partition)) = catalog.name(*at) {
            let last = i64::try_from(end.saturating_sub(1)).unwrap_or(i64::MAX);
            list.add_partition_offset(name, partition, Offset::Offset(last))?;
        }
    }
    if list.count() == 0 {
        return Ok(Vec::new());
    }
    let config = config::consumer(options, &catalog.group(NOBODY));
    let reader: Onlooker = config.create_with_context(Looking)?;
    reader.assign(&list)?;
    let mut newest: Vec<Record> = Vec::new();
    let until = Instant::now() + READ;
    while newest.len() < list.count() && Instant::now() < until {
        let Some(Ok(message)) = reader.poll(Duration::from_millis(50)) else {
            continue;
        };
        let at = catalog.at(message.topic(), message.partition());
        if let Some(at) = at.filter(|at| newest.iter().all(|record| record.at != *at)) {
            newest.push(record(at, &message));
        }
    }
    Ok(newest)
}
