//! A directory with a log in it.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use postrider_log::testing::conformance::Harness;
use postrider_log::{Log, TopicSpec};
use postrider_log_embedded::{EmbeddedLog, LogMetrics, OpenError, Options};

/// Options with metrics of their own.
pub(crate) fn options(dir: &Path, topics: Vec<TopicSpec>) -> Options {
    let registry = postrider_metrics::Registry::new();
    Options::new(dir, topics, LogMetrics::register(&registry).unwrap())
}

/// Opens as the suite does, with whatever `adjust` changes.
pub(crate) struct InDirectory<F> {
    dir: tempfile::TempDir,
    adjust: F,
}

impl<F: Fn(&mut Options)> InDirectory<F> {
    pub(crate) fn new(adjust: F) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, adjust }
    }

    fn open_now(&self, topics: Vec<TopicSpec>) -> Result<EmbeddedLog, OpenError> {
        let mut options = options(self.dir.path(), topics);
        (self.adjust)(&mut options);
        EmbeddedLog::open(options)
    }
}

#[async_trait]
impl<F: Fn(&mut Options) + Send + Sync> Harness for InDirectory<F> {
    async fn open(&self, topics: Vec<TopicSpec>) -> Arc<dyn Log> {
        Arc::new(self.open_now(topics).unwrap())
    }

    async fn reopen(&self, log: Arc<dyn Log>) -> Arc<dyn Log> {
        log.close().await.unwrap();
        let topics = log.topics().to_vec();
        drop(log);
        Arc::new(self.open_now(topics).unwrap())
    }
}
