//! A log that has a record and says so only when it is told to.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postrider_log::testing::MemoryLog;
use postrider_log::{
    Committer, Durability, Follower, Lag, Limits, Log, LogError, Purpose, Reader, Subscription,
};
use postrider_model::topics::TopicSpec;
use postrider_model::{Group, NewRecord, Partition, Position, Topic, TopicPartition};
use tokio::sync::Notify;

pub(crate) struct SlowLog {
    inner: MemoryLog,
    /// Told when a record was written.
    pub(crate) written: Notify,
    /// Lets one append be acknowledged.
    pub(crate) acknowledge: Notify,
}

impl SlowLog {
    pub(crate) fn over(inner: MemoryLog) -> Arc<Self> {
        Arc::new(Self {
            inner,
            written: Notify::new(),
            acknowledge: Notify::new(),
        })
    }
}

#[async_trait]
impl Log for SlowLog {
    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn topics(&self) -> &[TopicSpec] {
        self.inner.topics()
    }

    async fn append(
        &self,
        records: Vec<NewRecord>,
        durability: Durability,
        purpose: Purpose,
    ) -> Result<Vec<(TopicPartition, Position)>, LogError> {
        let at = self.inner.append(records, durability, purpose).await;
        self.written.notify_one();
        self.acknowledge.notified().await;
        at
    }

    async fn sync(&self) -> Result<(), LogError> {
        self.inner.sync().await
    }

    async fn subscribe(
        &self,
        subscription: Subscription,
    ) -> Result<(Box<dyn Reader>, Arc<dyn Committer>), LogError> {
        self.inner.subscribe(subscription).await
    }

    async fn follow(&self, topic: Topic) -> Result<Box<dyn Follower>, LogError> {
        self.inner.follow(topic).await
    }

    async fn ends(&self, topic: Topic) -> Result<Vec<(Partition, Position)>, LogError> {
        self.inner.ends(topic).await
    }

    async fn wait_finished(
        &self,
        group: Group,
        topic: Topic,
        ends: &[(Partition, Position)],
        within: Duration,
    ) -> Result<bool, LogError> {
        self.inner.wait_finished(group, topic, ends, within).await
    }

    async fn lags(&self) -> Result<Vec<Lag>, LogError> {
        self.inner.lags().await
    }

    fn disk_bytes(&self) -> u64 {
        self.inner.disk_bytes()
    }

    async fn close(&self) -> Result<(), LogError> {
        self.inner.close().await
    }
}
