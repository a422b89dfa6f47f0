//! The topics that this log was opened with, and what Kafka calls them.

use std::collections::{BTreeSet, HashMap};

use postrider_log::{
    Group, Keep, LogError, NewRecord, Partition, Topic, TopicPartition, TopicSpec,
};
use rdkafka::TopicPartitionList;

use crate::Options;
use crate::partitioner::partition_of;

/// One topic.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) spec: TopicSpec,
    /// With the prefix.
    pub(crate) name: String,
    pub(crate) partitions: u32,
}

/// The topics.
#[derive(Debug)]
pub(crate) struct Catalog {
    prefix: String,
    specs: Vec<TopicSpec>,
    entries: Vec<Entry>,
    by_topic: HashMap<&'static str, usize>,
    by_name: HashMap<String, usize>,
}

impl Catalog {
    pub(crate) fn new(options: &Options) -> Self {
        let entry = |spec: &TopicSpec| Entry {
            spec: *spec,
            name: format!("{}{}", options.topic_prefix, spec.topic),
            partitions: options.layout.partitions_of(spec.topic),
        };
        let entries: Vec<Entry> = options.topics.iter().map(entry).collect();
        let numbered = || entries.iter().enumerate();
        Self {
            prefix: options.topic_prefix.clone(),
            specs: options.topics.clone(),
            by_topic: numbered()
                .map(|(n, entry)| (entry.spec.topic.0, n))
                .collect(),
            by_name: numbered()
                .map(|(n, entry)| (entry.name.clone(), n))
                .collect(),
            entries,
        }
    }

    pub(crate) fn specs(&self) -> &[TopicSpec] {
        &self.specs
    }

    /// Every group that has something to finish.
    pub(crate) fn groups(&self) -> Vec<Group> {
        let of = |spec: &TopicSpec| match spec.keep {
            Keep::UntilFinished(groups) => groups,
            Keep::For(_) | Keep::Newest => &[],
        };
        let groups: BTreeSet<Group> = self.specs.iter().flat_map(of).copied().collect();
        groups.into_iter().collect()
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What Kafka calls the group.
    pub(crate) fn group(&self, group: Group) -> String {
        format!("{}{group}", self.prefix)
    }

    pub(crate) fn resolve(&self, topic: Topic) -> Result<&Entry, LogError> {
        let found = self.by_topic.get(topic.0);
        let found = found.and_then(|index| self.entries.get(*index));
        found.ok_or(LogError::NoSuchTopic(topic.0))
    }

    pub(crate) fn resolve_compacted(&self, topic: Topic) -> Result<&Entry, LogError> {
        let entry = self.resolve(topic)?;
        match entry.spec.keep {
            Keep::Newest => Ok(entry),
            Keep::UntilFinished(_) | Keep::For(_) => Err(LogError::NoSuchTopic(topic.0)),
        }
    }

    /// Ours, by Kafka's name; none if it is not one of ours.
    pub(crate) fn at(&self, name: &str, partition: i32) -> Option<TopicPartition> {
        let entry = self.entries.get(*self.by_name.get(name)?)?;
        Some(TopicPartition {
            topic: entry.spec.topic,
            partition: Partition::try_from(partition).ok()?,
        })
    }

    /// Kafka's name and number of a partition; none if the topic is not one of ours.
    pub(crate) fn name(&self, at: TopicPartition) -> Option<(&str, i32)> {
        let entry = self.resolve(at.topic).ok()?;
        Some((&entry.name, i32::try_from(at.partition).ok()?))
    }

    /// As librdkafka takes them.
    pub(crate) fn list(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for at in partitions {
            if let Some((name, partition)) = self.name(at) {
                list.add_partition(name, partition);
            }
        }
        list
    }

    /// Ours, of a list.
    pub(crate) fn of_list(&self, list: &TopicPartitionList) -> Vec<TopicPartition> {
        let elements = list.elements();
        let ours = elements
            .iter()
            .filter_map(|element| self.at(element.topic(), element.partition()));
        ours.collect()
    }

    /// All partitions of a topic.
    pub(crate) fn partitions(entry: &Entry) -> impl Iterator<Item = TopicPartition> + use<> {
        let topic = entry.spec.topic;
        (0..entry.partitions).map(move |partition| TopicPartition { topic, partition })
    }

    /// Where a record goes.
    pub(crate) fn place(entry: &Entry, key: &[u8]) -> TopicPartition {
        TopicPartition {
            topic: entry.spec.topic,
            partition: partition_of(key, entry.partitions),
        }
    }

    /// Fails if one of these cannot be written here. Returns what they take in all.
    pub(crate) fn check(&self, records: &[NewRecord], limit: usize) -> Result<usize, LogError> {
        let mut bytes = 0;
        for record in records {
            self.resolve(record.topic)?;
            let size = record.size();
            if size > limit {
                let topic = record.topic.0;
                return Err(LogError::TooLarge { topic, size, limit });
            }
            bytes += size;
        }
        Ok(bytes)
    }
}
