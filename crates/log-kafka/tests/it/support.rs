//! A log of a test's own on the broker that all share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postrider_log::testing::conformance::Harness;
use postrider_log::{
    Assignment, BatchLimit, Committed, Committer, Completion, Durability, Group, Log, LogError,
    Polled, Position, Progress, Purpose, Reader, Subscription, Tenure, Topic, TopicPartition,
    TopicSpec, Weighted,
};
use postrider_log_kafka::{GroupProtocol, KafkaLog, LogMetrics, Options, ensure_topics};

/// Options with a prefix, metrics, and few partitions of their own.
pub(crate) fn options(brokers: &str, topics: Vec<TopicSpec>) -> Options {
    let registry = postrider_metrics::Registry::new();
    let metrics = LogMetrics::register(&registry).unwrap();
    let mut options = Options::new(brokers, topics, metrics);
    options.topic_prefix = format!("test-{}.", uuid::Uuid::now_v7().simple());
    options.layout.partitions = 3;
    options.layout.replication = 1;
    options.layout.min_insync_replicas = 1;
    options
}

/// Opens a log on topics that are made for it.
pub(crate) async fn open(options: &Options) -> Arc<KafkaLog> {
    let begun = std::time::Instant::now();
    ensure_topics(options).await.unwrap();
    loop {
        match KafkaLog::open(options.clone()).await {
            Ok(log) => return Arc::new(log),
            // A broker learns of new topics a moment after the controller made them.
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(30), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Opens as the suite does, with whatever `adjust` changes.
pub(crate) struct OnBroker {
    options: Options,
}

impl OnBroker {
    pub(crate) fn new(adjust: impl Fn(&mut Options)) -> Self {
        let brokers = postrider_testkit::kafka().unwrap();
        let mut options = options(&brokers, Vec::new());
        adjust(&mut options);
        Self { options }
    }

    fn with(&self, topics: Vec<TopicSpec>) -> Options {
        let mut options = self.options.clone();
        options.topics = topics;
        options
    }
}

#[async_trait]
impl Harness for OnBroker {
    async fn open(&self, topics: Vec<TopicSpec>) -> Arc<dyn Log> {
        open(&self.with(topics)).await
    }

    async fn reopen(&self, log: Arc<dyn Log>) -> Arc<dyn Log> {
        log.close().await.unwrap();
        let topics = log.topics().to_vec();
        drop(log);
        open(&self.with(topics)).await
    }

    fn trims(&self) -> bool {
        false
    }
}

/// The older group protocol.
pub(crate) fn classic(options: &mut Options) {
    options.membership.protocol = GroupProtocol::Classic {
        session_timeout: Duration::from_secs(6),
        heartbeat: Duration::from_millis(500),
    };
}

/// A member that does what it is told, and keeps account of what it owns.
pub(crate) struct Party {
    pub(crate) reader: Box<dyn Reader>,
    pub(crate) committer: Arc<dyn Committer>,
    pub(crate) owned: BTreeMap<TopicPartition, Assignment>,
    /// How often partitions were lost.
    pub(crate) losses: usize,
    /// Keeps what the group wants back.
    pub(crate) clings: bool,
    /// How often something was wanted back that it kept.
    pub(crate) kept: usize,
    pub(crate) values: Vec<u64>,
    read: BTreeMap<TopicPartition, Position>,
}

impl Party {
    pub(crate) async fn join(log: &dyn Log, group: Group, topics: &[Topic]) -> Self {
        let weighted = |topic: &Topic| Weighted {
            topic: *topic,
            weight: 1,
        };
        let topics = topics.iter().map(weighted).collect();
        let joined = log.subscribe(Subscription::to_all(group, topics)).await;
        let (reader, committer) = joined.unwrap();
        Self {
            reader,
            committer,
            owned: BTreeMap::new(),
            losses: 0,
            clings: false,
            kept: 0,
            values: Vec::new(),
            read: BTreeMap::new(),
        }
    }

    /// Takes part for a moment: finishes what comes, gives up what is wanted back.
    pub(crate) async fn step(&mut self) {
        let limit = BatchLimit {
            records: 100,
            bytes: 1 << 20,
        };
        let moment = Duration::from_millis(50);
        let Ok(polled) = tokio::time::timeout(moment, self.reader.next(limit)).await else {
            return;
        };
        match polled.unwrap() {
            Polled::Assigned(assigned) => {
                for assignment in assigned {
                    self.owned.insert(assignment.at, assignment);
                }
            }
            Polled::Revoking(_) if self.clings => self.kept += 1,
            Polled::Revoking(partitions) => {
                self.finish(&partitions).await;
                let released = self.tenures(&partitions);
                self.committer.release(&released).await.unwrap();
                self.forget(&partitions);
            }
            Polled::Lost(partitions) => {
                self.losses += 1;
                self.forget(&partitions);
            }
            Polled::Records(records) => {
                for record in records {
                    assert!(
                        self.owned.contains_key(&record.at),
                        "{} is not ours",
                        record.at
                    );
                    self.read.insert(record.at, record.position + 1);
                    let text = std::str::from_utf8(&record.value).unwrap();
                    self.values.push(text.parse().unwrap());
                }
            }
        }
    }

    /// Commits how far these were read, with their names as metadata.
    pub(crate) async fn finish(&self, partitions: &[TopicPartition]) {
        let progress = |at: &TopicPartition| {
            let owned = self.owned.get(at)?;
            let (epoch, committed) = (owned.epoch, owned.committed.next);
            let next = self.read.get(at).copied().unwrap_or(committed);
            let metadata = format!("of {at}");
            let committed = Committed { next, metadata };
            Some(Progress {
                at: *at,
                epoch,
                committed,
            })
        };
        let completion = Completion {
            finished: partitions.iter().filter_map(progress).collect(),
            outputs: Vec::new(),
            durability: Durability::Ordered,
            purpose: Purpose::Pipeline,
        };
        match self.committer.complete(completion).await {
            Ok(()) | Err(LogError::Lost(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// What is ours of these, under its assignment.
    pub(crate) fn tenures(&self, partitions: &[TopicPartition]) -> Vec<Tenure> {
        let owned = partitions.iter().filter_map(|at| self.owned.get(at));
        owned.map(Assignment::tenure).collect()
    }

    fn forget(&mut self, partitions: &[TopicPartition]) {
        for at in partitions {
            self.owned.remove(at);
            self.read.remove(at);
        }
    }

    /// The numbers of the partitions of a topic that are ours.
    pub(crate) fn numbers(&self, topic: Topic) -> Vec<u32> {
        let of_topic = self.owned.keys().filter(|at| at.topic == topic);
        of_topic.map(|at| at.partition).collect()
    }
}

/// Fails once a test has taken too long.
pub(crate) struct Deadline(std::time::Instant);

impl Deadline {
    pub(crate) fn new() -> Self {
        Self(std::time::Instant::now())
    }

    pub(crate) fn check(&self, what: &str) {
        assert!(
            self.0.elapsed() < Duration::from_secs(90),
            "waited in vain until {what}"
        );
    }
}
