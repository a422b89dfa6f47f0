//! The port, on Kafka.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use postrider_log::{
    BatchLimit, Committer, Durability, Follower, Group, Keep, Lag, Limits, Log, LogError,
    NewRecord, Partition, Position, Purpose, Reader, Record, Subscription, Topic, TopicPartition,
    TopicSpec,
};

use crate::catalog::{Catalog, Entry};
use crate::error::{busy, closed};
use crate::follower::KafkaFollower;
use crate::inspector::Edge;
use crate::lags::{self, Waits};
use crate::member::{METADATA_BYTES, Member};
use crate::shared::Shared;
use crate::{OpenError, Options, topics};

/// How long closing waits for members to leave their groups.
const LEAVE: Duration = Duration::from_secs(5);

/// The log on Apache Kafka.
pub struct KafkaLog {
    shared: Arc<Shared>,
    waits: Waits,
}

impl KafkaLog {
    /// Opens the log. The topics must be there ([`crate::ensure_topics`]) with the configured number of partitions.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        options.check()?;
        let catalog = Arc::new(Catalog::new(&options));
        topics::require(&options, &catalog).await?;
        let shared = Shared::new(&options, catalog);
        let shared = shared.map_err(|error| OpenError::of_client(&options, error))?;
        Ok(Self {
            shared: Arc::new(shared),
            waits: Waits::default(),
        })
    }

    fn check_open(&self) -> Result<(), LogError> {
        match self.shared.is_closed() {
            true => Err(closed()),
            false => Ok(()),
        }
    }

    fn follow_these(
        &self,
        entry: &Entry,
        partitions: Vec<TopicPartition>,
    ) -> Result<Box<dyn Follower>, LogError> {
        self.check_open()?;
        let topic = entry.spec.topic;
        let follower = KafkaFollower::new(Arc::clone(&self.shared), entry, &partitions);
        let stopped = |error| LogError::Stopped(format!("following {topic}: {error}"));
        Ok(Box::new(follower.map_err(stopped)?))
    }

    /// Members leave; what was taken to be written still is.
    fn end(&self) -> Vec<Arc<Member>> {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.members.close()
    }
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        drop(self.end());
        self.shared.producer.abandon();
    }
}

#[async_trait]
impl Log for KafkaLog {
    fn limits(&self) -> Limits {
        Limits {
            record_bytes: self.shared.options.record_bytes,
            metadata_bytes: Some(METADATA_BYTES),
        }
    }

    fn topics(&self) -> &[TopicSpec] {
        self.shared.catalog.specs()
    }

    /// Kafka knows one durability: every append is acknowledged by all in-sync replicas.
    async fn append(
        &self,
        records: Vec<NewRecord>,
        _durability: Durability,
        _purpose: Purpose,
    ) -> Result<Vec<(TopicPartition, Position)>, LogError> {
        self.shared.producer.append(records).await
    }

    /// What was acknowledged is on all in-sync replicas already.
    async fn sync(&self) -> Result<(), LogError> {
        self.check_open()
    }

    async fn subscribe(
        &self,
        subscription: Subscription,
    ) -> Result<(Box<dyn Reader>, Arc<dyn Committer>), LogError> {
        self.check_open()?;
        let (reader, committer) = Member::join(Arc::clone(&self.shared), &subscription)?;
        Ok((Box::new(reader), Arc::new(committer)))
    }

    async fn follow(&self, topic: Topic) -> Result<Box<dyn Follower>, LogError> {
        let entry = self.shared.catalog.resolve_compacted(topic)?;
        self.follow_these(entry, Catalog::partitions(entry).collect())
    }

    async fn follow_beside(
        &self,
        topic: Topic,
        beside: &[TopicPartition],
    ) -> Result<Box<dyn Follower>, LogError> {
        let catalog = &self.shared.catalog;
        let entry = catalog.resolve_compacted(topic)?;
        let mut numbers = HashSet::new();
        for at in beside {
            if catalog.resolve(at.topic)?.partitions != entry.partitions {
                return self.follow(topic).await;
            }
            numbers.insert(at.partition);
        }
        let mut partitions: Vec<_> = Catalog::partitions(entry).collect();
        partitions.retain(|at| numbers.contains(&at.partition));
        self.follow_these(entry, partitions)
    }

    /// A crash can lie between the acknowledgement of outputs and the commit of positions.
    fn completes_at_once(&self) -> bool {
        false
    }

    async fn read(
        &self,
        at: TopicPartition,
        from: Position,
        limit: BatchLimit,
    ) -> Result<Vec<Record>, LogError> {
        let entry = self.shared.catalog.resolve(at.topic)?;
        if entry.spec.keep == Keep::Newest || at.partition >= entry.partitions {
            return Err(LogError::NoSuchTopic(at.topic.0));
        }
        self.check_open()?;
        let inspector = Arc::clone(&self.shared.inspector);
        let read = tokio::task::spawn_blocking(move || inspector.read(at, from, limit)).await;
        let read = read.map_err(|error| LogError::Stopped(error.to_string()))?;
        read.map_err(|error| busy("reading a partition", &error))
    }

    async fn ends(&self, topic: Topic) -> Result<Vec<(Partition, Position)>, LogError> {
        let entry = self.shared.catalog.resolve(topic)?;
        self.check_open()?;
        let partitions: Vec<TopicPartition> = Catalog::partitions(entry).collect();
        let inspector = Arc::clone(&self.shared.inspector);
        let asked =
            tokio::task::spawn_blocking(move || inspector.edges(&partitions, Edge::End)).await;
        let ends = asked.map_err(|error| LogError::Stopped(error.to_string()))?;
        let ends = ends.map_err(|error| busy("asking where a topic ends", &error))?;
        Ok(ends
            .into_iter()
            .map(|(at, end)| (at.partition, end))
            .collect())
    }

    async fn wait_finished(
        &self,
        group: Group,
        topic: Topic,
        ends: &[(Partition, Position)],
        within: Duration,
    ) -> Result<bool, LogError> {
        self.shared.catalog.resolve(topic)?;
        self.check_open()?;
        let finished = self.waits.until_finished(&self.shared, group, topic, ends);
        match tokio::time::timeout(within, finished).await {
            Ok(finished) => finished.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Of the groups that have a member in this process; in one that reads nothing, of all, so that somebody tells of a
    /// group whose members have all gone. Each group takes a client of its own to ask.
    async fn lags(&self) -> Result<Vec<Lag>, LogError> {
        self.check_open()?;
        // Whoever asks this asks it again and again.
        self.shared.producer.forget_old_clocks();
        let shared = Arc::clone(&self.shared);
        let asked = tokio::task::spawn_blocking(move || {
            let mut groups = shared.members.groups();
            if groups.is_empty() {
                groups = shared.catalog.groups();
            }
            shared.inspector.look_for_partitions()?;
            lags::lags(&shared.inspector, &shared.catalog, &groups)
        });
        let asked = asked.await;
        let lags = asked.map_err(|error| LogError::Stopped(error.to_string()))?;
        lags.map_err(|error| busy("asking how far groups are behind", &error))
    }

    /// The log is the brokers'.
    fn disk_bytes(&self) -> u64 {
        0
    }

    async fn close(&self) -> Result<(), LogError> {
        let members = self.end();
        self.shared.producer.close().await;
        let left = async {
            for member in &members {
                member.left().await;
            }
        };
        if tokio::time::timeout(LEAVE, left).await.is_err() {
            tracing::warn!(
                "a group could not be left in {LEAVE:?}: its other members wait for the session to end"
            );
        }
        Ok(())
    }
}
