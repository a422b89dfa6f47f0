//! The topics that this log was opened with, numbered.

use std::collections::HashMap;

use postrider_log::{Keep, LogError, NewRecord, Topic, TopicPartition, TopicSpec};

use crate::schema::TopicSql;

/// The topics, numbered in the order in which they were given.
pub(crate) struct Catalog {
    specs: Vec<TopicSpec>,
    sql: Vec<TopicSql>,
    index: HashMap<&'static str, usize>,
}

impl Catalog {
    pub(crate) fn new(specs: Vec<TopicSpec>) -> Self {
        let sql = specs.iter().map(TopicSql::new).collect();
        let numbered = specs.iter().enumerate();
        let index = numbered
            .map(|(index, spec)| (spec.topic.0, index))
            .collect();
        Self { specs, sql, index }
    }

    pub(crate) fn specs(&self) -> &[TopicSpec] {
        &self.specs
    }

    pub(crate) fn sql(&self) -> &[TopicSql] {
        &self.sql
    }

    pub(crate) fn index_of(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    pub(crate) fn resolve(&self, topic: Topic) -> Result<usize, LogError> {
        self.index_of(topic.0).ok_or(LogError::NoSuchTopic(topic.0))
    }

    /// The number of a compacted topic.
    pub(crate) fn resolve_compacted(&self, topic: Topic) -> Result<usize, LogError> {
        let index = self.resolve(topic)?;
        match self.specs[index].keep {
            Keep::Newest => Ok(index),
            Keep::UntilFinished(_) | Keep::For(_) => Err(LogError::NoSuchTopic(topic.0)),
        }
    }

    /// The number of an append-only topic of which this is the partition.
    pub(crate) fn resolve_appended(&self, at: TopicPartition) -> Result<usize, LogError> {
        let index = self.resolve(at.topic)?;
        match self.specs[index].keep {
            Keep::UntilFinished(_) | Keep::For(_) if at.partition == 0 => Ok(index),
            _ => Err(LogError::NoSuchTopic(at.topic.0)),
        }
    }

    /// A topic's one partition: inside one process parallelism comes from lanes.
    pub(crate) fn at(&self, index: usize) -> TopicPartition {
        TopicPartition {
            topic: self.specs[index].topic,
            partition: 0,
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
