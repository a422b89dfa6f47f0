//! Questions to the brokers that belong to no member: ends, what groups have committed, how old records are. All of
//! this blocks: it is asked from threads that may.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use postrider_log::{BatchLimit, Group, Position, Record, TopicPartition};
use postrider_model::Timestamp;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message as _;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::ages::Ages;
use crate::catalog::Catalog;
use crate::error::forbids;
use crate::onlooker::{Looking, Onlooker};
use crate::peek::peek;
use crate::surplus::Surplus;
use crate::{Options, config};

/// For one question.
const ASK: Duration = Duration::from_secs(5);
/// For the first records of partitions.
const READ: Duration = Duration::from_secs(2);
/// A group that nothing is ever committed for, for clients that need one to read.
pub(crate) const NOBODY: Group = Group("nobody");

/// Where a partition begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edge {
    First,
    End,
}

/// Asks.
pub(crate) struct Inspector {
    options: Options,
    catalog: Arc<Catalog>,
    /// One client for each group that was asked for; none of them joins it.
    groups: Mutex<HashMap<Group, Arc<Onlooker>>>,
    pub(crate) ages: Ages,
    surplus: Surplus,
    /// Reads single records; one at a time.
    reading: Mutex<()>,
}

impl Inspector {
    pub(crate) fn new(options: &Options, catalog: Arc<Catalog>) -> Self {
        Self {
            options: options.clone(),
            catalog,
            groups: Mutex::default(),
            ages: Ages::default(),
            surplus: Surplus::default(),
            reading: Mutex::new(()),
        }
    }

    fn of(&self, group: Group) -> KafkaResult<Arc<Onlooker>> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = groups.get(&group) {
            // Errors of its connections wait to be heard, behind lines that librdkafka logs: with no time at all
            // rdkafka returns after the first of these.
            while client.poll(Duration::from_millis(1)).is_some() {}
            return Ok(Arc::clone(client));
        }
        let client: Onlooker = self.config(group).create_with_context(Looking)?;
        let client = Arc::new(client);
        groups.insert(group, Arc::clone(&client));
        Ok(client)
    }

    fn config(&self, group: Group) -> ClientConfig {
        config::consumer(&self.options, &self.catalog.group(group))
    }

    /// Looks now and then whether topics have partitions that nothing is written to.
    pub(crate) fn look_for_partitions(&self) -> KafkaResult<()> {
        if self.surplus.is_due() {
            let metadata = self.of(NOBODY)?.fetch_metadata(None, ASK)?;
            let metrics = &self.options.metrics;
            self.surplus.see(&self.catalog, &metadata, metrics);
        }
        Ok(())
    }

    /// Where these begin or end.
    pub(crate) fn edges(
        &self,
        partitions: &[TopicPartition],
        edge: Edge,
    ) -> KafkaResult<BTreeMap<TopicPartition, Position>> {
        let mut list = self.catalog.list(partitions.iter().copied());
        list.set_all_offsets(match edge {
            Edge::First => Offset::Beginning,
            Edge::End => Offset::End,
        })?;
        let found = self.of(NOBODY)?.offsets_for_times(list, ASK)?;
        self.positions(&found)
    }

    /// What a group has committed of these; those of which it never committed anything are left out.
    pub(crate) fn committed(
        &self,
        group: Group,
        partitions: &[TopicPartition],
    ) -> KafkaResult<BTreeMap<TopicPartition, Position>> {
        let list = self.catalog.list(partitions.iter().copied());
        let found = self.of(group)?.committed_offsets(list, ASK)?;
        self.positions(&found)
    }

    /// What lies in a partition from `from` on: at most `limit`, and nothing only if nothing does.
    pub(crate) fn read(
        &self,
        at: TopicPartition,
        from: Position,
        limit: BatchLimit,
    ) -> KafkaResult<Vec<Record>> {
        let edge = |edge| Ok::<_, KafkaError>(self.edges(&[at], edge)?.get(&at).copied());
        let first = edge(Edge::First)?.unwrap_or_default().max(from);
        match edge(Edge::End)? {
            Some(end) if first < end => peek(self.config(NOBODY), &self.catalog, at, first, limit),
            _ => Ok(Vec::new()),
        }
    }

    fn positions(
        &self,
        list: &TopicPartitionList,
    ) -> KafkaResult<BTreeMap<TopicPartition, Position>> {
        let mut positions = BTreeMap::new();
        for element in list.elements() {
            element.error()?;
            let at = self.catalog.at(element.topic(), element.partition());
            if let (Some(at), Offset::Offset(offset)) = (at, element.offset()) {
                positions.insert(at, Position::try_from(offset).unwrap_or_default());
            }
        }
        Ok(positions)
    }

    /// When the records at these positions, or the next ones after them, came. Those that do not answer in time are
    /// left out.
    pub(crate) fn times(
        &self,
        positions: &[(TopicPartition, Position)],
    ) -> KafkaResult<BTreeMap<TopicPartition, Timestamp>> {
        let mut list = TopicPartitionList::new();
        for (at, position) in positions {
            if let Some((name, partition)) = self.catalog.name(*at) {
                let offset = Offset::Offset(i64::try_from(*position).unwrap_or(i64::MAX));
                list.add_partition_offset(name, partition, offset)?;
            }
        }
        let mut times = BTreeMap::new();
        if list.count() == 0 {
            return Ok(times);
        }
        let _one_at_a_time = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        // Of its own, so that nothing is fetched before or after.
        let mut config = self.config(NOBODY);
        config
            .set("fetch.message.max.bytes", "1024")
            .set("queued.min.messages", "1");
        let reader: Onlooker = config.create_with_context(Looking)?;
        reader.assign(&list)?;
        let until = Instant::now() + READ;
        while times.len() < list.count() && Instant::now() < until {
            let message = match reader.poll(Duration::from_millis(50)) {
                Some(Ok(message)) => message,
                // Who may not read the one may hardly read the others.
                Some(Err(error)) if forbids(&error) => break,
                Some(Err(_)) | None => continue,
            };
            if let Some(at) = self.catalog.at(message.topic(), message.partition()) {
                let millis = message.timestamp().to_millis().unwrap_or_default();
                times.entry(at).or_insert(Timestamp::from_millis(millis));
            }
        }
        Ok(times)
    }
}
