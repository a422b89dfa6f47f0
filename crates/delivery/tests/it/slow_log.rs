//! A log that takes its time, and partitions that go at the worst of times.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use postrider_log::testing::MemoryLog;
use postrider_log::{
    Committer, Completion, Durability, Follower, Group, Lag, Limits, Log, LogError, NewRecord,
    Partition, Position, Purpose, Reader, Subscription, Tenure, Topic, TopicPartition, TopicSpec,
};
use postrider_model::topics;

pub(crate) struct SlowLog {
    pub(crate) log: MemoryLog,
    pub(crate) commit_takes: Duration,
    /// How long it takes to begin to follow a topic, in milliseconds.
    pub(crate) follow_takes: Arc<AtomicU64>,
    /// Beside which partitions a topic was followed last.
    pub(crate) followed: Arc<Mutex<Vec<TopicPartition>>>,
    /// The worker loses these as its next commit is made: that ends before the reader hears of it.
    pub(crate) loses: Arc<Mutex<Vec<TopicPartition>>>,
    /// The process is stopped once it has asked for the lease of one of these, and wakes up late: the answer was yes, and is
    /// not true any more.
    pub(crate) stops: Arc<Mutex<Vec<TopicPartition>>>,
}

struct SlowCommitter {
    committer: Arc<dyn Committer>,
    log: MemoryLog,
    takes: Duration,
    loses: Arc<Mutex<Vec<TopicPartition>>>,
    stops: Arc<Mutex<Vec<TopicPartition>>>,
}

#[async_trait]
impl Committer for SlowCommitter {
    async fn complete(&self, completion: Completion) -> Result<(), LogError> {
        if !self.takes.is_zero() {
            tokio::time::sleep(self.takes).await;
        }
        let lost = std::mem::take(&mut *self.loses.lock().unwrap());
        if !lost.is_empty() {
            self.log.lose(topics::WORKER, &lost);
        }
        self.committer.complete(completion).await
    }

    fn holds(&self, at: TopicPartition) -> bool {
        let held = self.committer.holds(at);
        let mut stops = self.stops.lock().unwrap();
        if held && stops.contains(&at) {
            self.log.end_leases(topics::WORKER, &stops);
            stops.clear();
        }
        held
    }

    async fn release(&self, partitions: &[Tenure]) -> Result<(), LogError> {
        self.committer.release(partitions).await
    }
}

#[async_trait]
impl Log for SlowLog {
    fn limits(&self) -> Limits {
        self.log.limits()
    }

    fn topics(&self) -> &[TopicSpec] {
        self.log.topics()
    }

    async fn append(
        &self,
        records: Vec<NewRecord>,
        durability: Durability,
        purpose: Purpose,
    ) -> Result<Vec<(TopicPartition, Position)>, LogError> {
        self.log.append(records, durability, purpose).await
    }

    async fn sync(&self) -> Result<(), LogError> {
        self.log.sync().await
    }

    async fn subscribe(
        &self,
        subscription: Subscription,
    ) -> Result<(Box<dyn Reader>, Arc<dyn Committer>), LogError> {
        let (reader, committer) = self.log.subscribe(subscription).await?;
        let committer = SlowCommitter {
            committer,
            log: self.log.clone(),
            takes: self.commit_takes,
            loses: Arc::clone(&self.loses),
            stops: Arc::clone(&self.stops),
        };
        Ok((reader, Arc::new(committer)))
    }

    async fn follow(&self, topic: Topic) -> Result<Box<dyn Follower>, LogError> {
        let takes = Duration::from_millis(self.follow_takes.load(Ordering::SeqCst));
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        self.log.follow(topic).await
    }

    async fn follow_beside(
        &self,
        topic: Topic,
        beside: &[TopicPartition],
    ) -> Result<Box<dyn Follower>, LogError> {
        *self.followed.lock().unwrap() = beside.to_vec();
        self.follow(topic).await
    }

    async fn ends(&self, topic: Topic) -> Result<Vec<(Partition, Position)>, LogError> {
        self.log.ends(topic).await
    }

    async fn wait_finished(
        &self,
        group: Group,
        topic: Topic,
        ends: &[(Partition, Position)],
        within: Duration,
    ) -> Result<bool, LogError> {
        self.log.wait_finished(group, topic, ends, within).await
    }

    async fn lags(&self) -> Result<Vec<Lag>, LogError> {
        self.log.lags().await
    }

    fn completes_at_once(&self) -> bool {
        self.log.completes_at_once()
    }

    fn disk_bytes(&self) -> u64 {
        self.log.disk_bytes()
    }

    async fn close(&self) -> Result<(), LogError> {
        self.log.close().await
    }
}
