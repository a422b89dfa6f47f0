//! A log of a test's own on the broker that all share.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postrider_log::testing::conformance::Harness;
use postrider_log::{Log, TopicSpec};
use postrider_log_kafka::{KafkaLog, LogMetrics, Options, ensure_topics};

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
