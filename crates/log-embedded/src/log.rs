//! The port, on the embedded log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use postrider_log::{
    BatchLimit, Committer, Durability, Follower, Group, Lag, Limits, Log, LogError, NewRecord,
    Partition, Position, Purpose, Reader, Record, Subscription, Topic, TopicPartition, TopicSpec,
};
use tokio::sync::{Notify, oneshot};

use crate::committer::EmbeddedCommitter;
use crate::disk;
use crate::follower::EmbeddedFollower;
use crate::open::{self, Threads};
use crate::queue::Request;
use crate::reader::EmbeddedReader;
use crate::shared::Shared;
use crate::{OpenError, Options, closed};

/// The embedded log.
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    threads: Mutex<Option<Threads>>,
}

impl EmbeddedLog {
    /// Opens the log in a directory, which is made if it is not there. Blocks while the files are read.
    ///
    /// # Errors
    /// See [`OpenError`]; what was there is as it was.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let (shared, threads) = open::open(options)?;
        Ok(Self::of(shared, threads))
    }

    pub(crate) fn of(shared: Arc<Shared>, threads: Threads) -> Self {
        let threads = Mutex::new(Some(threads));
        Self { shared, threads }
    }

    /// Takes no more; the threads, if they still run, write what was taken.
    fn end(&self) -> Option<Threads> {
        self.shared.queue.close();
        self.threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        // Waits for a commit and an fsync, so that whoever opens the directory next finds it free.
        if let Some(threads) = self.end() {
            threads.join();
        }
    }
}

#[async_trait]
impl Log for EmbeddedLog {
    fn limits(&self) -> Limits {
        Limits {
            record_bytes: self.shared.record_bytes,
            metadata_bytes: None,
        }
    }

    fn topics(&self) -> &[TopicSpec] {
        self.shared.catalog.specs()
    }

    async fn append(
        &self,
        records: Vec<NewRecord>,
        durability: Durability,
        purpose: Purpose,
    ) -> Result<Vec<(TopicPartition, Position)>, LogError> {
        let bytes = self
            .shared
            .catalog
            .check(&records, self.shared.record_bytes)?;
        self.shared.state().check_open()?;
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let (reply, replied) = oneshot::channel();
        let request = Request {
            records,
            finished: Vec::new(),
            durability,
            purpose,
            reply,
        };
        self.shared.queue.send(request, bytes).await?;
        replied.await.unwrap_or_else(|_| Err(closed()))
    }

    async fn sync(&self) -> Result<(), LogError> {
        self.shared.syncs.sync().await
    }

    async fn subscribe(
        &self,
        subscription: Subscription,
    ) -> Result<(Box<dyn Reader>, Arc<dyn Committer>), LogError> {
        let notify = Arc::new(Notify::new());
        let seats = {
            let mut state = self.shared.state();
            state.check_open()?;
            state.join(&subscription, &self.shared.catalog, &notify)?
        };
        let shared = || Arc::clone(&self.shared);
        let committer = EmbeddedCommitter::new(shared(), subscription.group, seats.clone());
        let reader = EmbeddedReader::new(shared(), notify, &subscription, seats);
        Ok((Box::new(reader), Arc::new(committer)))
    }

    async fn follow(&self, topic: Topic) -> Result<Box<dyn Follower>, LogError> {
        let index = self.shared.catalog.resolve_compacted(topic)?;
        self.shared.state().check_open()?;
        Ok(Box::new(EmbeddedFollower::new(
            Arc::clone(&self.shared),
            index,
        )))
    }

    async fn read(
        &self,
        at: TopicPartition,
        from: Position,
        limit: BatchLimit,
    ) -> Result<Vec<Record>, LogError> {
        let index = self.shared.catalog.resolve_appended(at)?;
        let visible = {
            let state = self.shared.state();
            state.check_open()?;
            state.topics[index].tail.visible()
        };
        let shared = Arc::clone(&self.shared);
        let read = tokio::task::spawn_blocking(move || {
            shared.disk.read(|connection| {
                disk::fetch(connection, &shared.catalog.sql()[index], at, from, visible)
            })
        });
        let fetched = read.await;
        let fetched = fetched.map_err(|error| LogError::Stopped(error.to_string()))??;
        Ok(within(fetched.records, limit))
    }

    async fn ends(&self, topic: Topic) -> Result<Vec<(Partition, Position)>, LogError> {
        let index = self.shared.catalog.resolve(topic)?;
        let state = self.shared.state();
        state.check_open()?;
        Ok(vec![(0, state.topics[index].tail.end())])
    }

    async fn wait_finished(
        &self,
        group: Group,
        topic: Topic,
        ends: &[(Partition, Position)],
        within: Duration,
    ) -> Result<bool, LogError> {
        let index = self.shared.catalog.resolve(topic)?;
        let mut progress = self.shared.progress.subscribe();
        let finished = async {
            loop {
                progress.borrow_and_update();
                {
                    let state = self.shared.state();
                    state.check_open()?;
                    let group = state.topics[index].group(group.0);
                    let watermark = group.map_or(0, |group| group.watermark());
                    if ends.iter().all(|(_, end)| watermark >= *end) {
                        return Ok(true);
                    }
                }
                if progress.changed().await.is_err() {
                    return Err(closed());
                }
            }
        };
        tokio::time::timeout(within, finished)
            .await
            .unwrap_or(Ok(false))
    }

    async fn lags(&self) -> Result<Vec<Lag>, LogError> {
        let behind = self.shared.behind()?;
        let shared = Arc::clone(&self.shared);
        let aged = tokio::task::spawn_blocking(move || shared.aged(behind)).await;
        aged.map_err(|error| LogError::Stopped(error.to_string()))?
    }

    fn disk_bytes(&self) -> u64 {
        self.shared.disk_bytes()
    }

    fn shortage(&self) -> Option<String> {
        self.shared.shortage.why()
    }

    async fn close(&self) -> Result<(), LogError> {
        if let Some(threads) = self.end() {
            let joined = tokio::task::spawn_blocking(move || threads.join()).await;
            joined.map_err(|error| LogError::Stopped(error.to_string()))?;
        }
        Ok(())
    }
}

/// As many of `records` as `limit` allows; one at least.
fn within(mut records: Vec<Record>, limit: BatchLimit) -> Vec<Record> {
    let mut bytes = 0usize;
    let fitting = records.iter().take(limit.records).take_while(|record| {
        bytes += record.size();
        bytes <= limit.bytes
    });
    let count = fitting.count().max(1);
    records.truncate(count);
    records
}
