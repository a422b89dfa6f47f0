//! A log in memory: no thread, no file, only tokio's waits, so it works under paused time.
//!
//! A topic has one partition unless more were asked for, and a group one reader unless it is [shared](MemoryLog::share).
//! Partitions change their owner only when a test says so.

mod follower;
mod members;
mod orders;
mod reader;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use postrider_model::topics::TopicSpec;
use postrider_model::{
    Clock, Group, NewRecord, Partition, Position, Record, SystemClock, Timestamp, Topic,
    TopicPartition,
};
use tokio::sync::watch;

use self::follower::MemoryFollower;
use self::reader::{MemoryCommitter, MemoryReader};
use self::state::State;
use crate::{
    BatchLimit, Committed, Committer, Durability, Follower, Lag, Limits, Log, LogError, Purpose,
    Reader, Subscription,
};

/// The log in memory. What was asked of an append or a completion is kept: see [`Self::is_synced`]. Its clones are the same
/// log.
#[derive(Clone)]
pub struct MemoryLog {
    shared: Arc<Shared>,
}

/// Only a record's size is bounded.
const NO_LIMITS: Limits = Limits {
    record_bytes: 8 << 20,
    metadata_bytes: None,
};

struct Shared {
    specs: Vec<TopicSpec>,
    limits: Limits,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Says that `state` has changed.
    changes: watch::Sender<()>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `change` and wakes everybody who waits.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        let changed = {
            let mut state = self.state();
            state.check_open().and_then(|()| change(&mut state))
        };
        // Also of what failed: it may have stopped the log.
        self.changes.send_replace(());
        changed
    }

    fn check_sizes(&self, records: &[NewRecord]) -> Result<(), LogError> {
        let limit = self.limits.record_bytes;
        match records.iter().find(|record| record.size() > limit) {
            Some(record) => Err(LogError::TooLarge {
                topic: record.topic.0,
                size: record.size(),
                limit,
            }),
            None => Ok(()),
        }
    }
}

/// The system's time at the start, moved on by tokio's clock, which tests can pause and advance.
struct TokioClock {
    began: Timestamp,
    since: tokio::time::Instant,
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.began.plus(self.since.elapsed())
    }
}

impl MemoryLog {
    /// An empty log with these topics, on tokio's clock, with no limit but 8 MiB a record.
    pub fn new(specs: impl Into<Vec<TopicSpec>>) -> Self {
        let clock = TokioClock {
            began: SystemClock.now(),
            since: tokio::time::Instant::now(),
        };
        Self::with_clock(specs, Arc::new(clock))
    }

    /// The same on another clock.
    pub fn with_clock(specs: impl Into<Vec<TopicSpec>>, clock: Arc<dyn Clock>) -> Self {
        Self::with_limits(specs, clock, NO_LIMITS)
    }

    /// The same with other limits.
    pub fn with_limits(
        specs: impl Into<Vec<TopicSpec>>,
        clock: Arc<dyn Clock>,
        limits: Limits,
    ) -> Self {
        let specs = specs.into();
        let state = State::new(&specs, |_| 1);
        Self::over(specs, clock, limits, state)
    }

    /// The same on a clock, where `parts` says how many partitions each topic has. Compacted ones have one.
    pub fn with_partitions(
        specs: impl Into<Vec<TopicSpec>>,
        clock: Arc<dyn Clock>,
        parts: impl Fn(Topic) -> Partition,
    ) -> Self {
        let specs = specs.into();
        let state = State::new(&specs, parts);
        Self::over(specs, clock, NO_LIMITS, state)
    }

    fn over(specs: Vec<TopicSpec>, clock: Arc<dyn Clock>, limits: Limits, state: State) -> Self {
        Self {
            shared: Arc::new(Shared {
                specs,
                limits,
                clock,
                state: Mutex::new(state),
                changes: watch::Sender::new(()),
            }),
        }
    }

    /// From now on every append and completion for `purpose` that writes a record fails with `error`, until
    /// [`Self::recover`]. What only moves positions still succeeds.
    pub fn fail_appends(&self, purpose: Purpose, error: LogError) {
        self.shared.state().fail(purpose, error);
    }

    /// From now on what writes more than so many bytes at once is refused as full, until [`Self::recover`].
    pub fn refuse_beyond(&self, bytes: usize) {
        self.shared.state().refuse_beyond(bytes);
    }

    /// Ends what [`Self::fail_appends`] and [`Self::refuse_beyond`] began.
    pub fn recover(&self) {
        self.shared.state().recover();
    }

    /// From now on a completion writes its outputs first and its positions after, as Kafka does.
    pub fn complete_in_two_steps(&self) {
        self.shared.state().set_two_steps();
    }

    /// From now on every completion that writes outputs stops the log between its two steps, as a crash would.
    pub fn crash_before_positions(&self) {
        self.shared.state().set_crash();
    }

    /// As if the process had been killed and started again: this log and its readers stop at once, and the one returned
    /// has the same records and positions.
    #[must_use]
    pub fn restarted(&self) -> Self {
        let state = self.shared.state().take_for_restart();
        self.shared.changes.send_replace(());
        Self::over(
            self.shared.specs.clone(),
            Arc::clone(&self.shared.clock),
            self.shared.limits,
            state,
        )
    }

    /// True if nothing `Ordered` was written since the last [`Log::sync`], or what was written `Synced`, which syncs all before
    /// it.
    pub fn is_synced(&self) -> bool {
        self.shared.state().is_synced()
    }

    /// What lies in a topic now, in order.
    pub fn records(&self, topic: Topic) -> Vec<Record> {
        self.shared.state().records(topic)
    }

    /// Waits until as many records lie in a topic as asked, and returns all that do.
    pub async fn wait_for_records(&self, topic: Topic, at_least: usize) -> Vec<Record> {
        let mut changes = self.shared.changes.subscribe();
        loop {
            let records = self.records(topic);
            if records.len() >= at_least || changes.changed().await.is_err() {
                return records;
            }
        }
    }

    /// What a group has committed for a topic, or for its first partition if it has several.
    pub fn committed(&self, group: Group, topic: Topic) -> Committed {
        let partition = 0;
        self.committed_at(group, TopicPartition { topic, partition })
    }

    /// What a group has committed for a partition.
    pub fn committed_at(&self, group: Group, at: TopicPartition) -> Committed {
        self.shared.state().committed(group, at)
    }

    /// Where records with this key are put.
    pub fn partition_of(&self, topic: Topic, key: &[u8]) -> TopicPartition {
        self.shared.state().partition_of(topic, key)
    }
}

#[async_trait]
impl Log for MemoryLog {
    fn limits(&self) -> Limits {
        self.shared.limits
    }

    fn topics(&self) -> &[TopicSpec] {
        &self.shared.specs
    }

    async fn append(
        &self,
        records: Vec<NewRecord>,
        durability: Durability,
        purpose: Purpose,
    ) -> Result<Vec<(TopicPartition, Position)>, LogError> {
        self.shared.check_sizes(&records)?;
        let now = self.shared.clock.now();
        self.shared.change(|state| {
            let written = state.append(records, purpose, now)?;
            if durability == Durability::Synced {
                state.sync();
            }
            Ok(written)
        })
    }

    async fn sync(&self) -> Result<(), LogError> {
        let mut state = self.shared.state();
        state.check_open()?;
        state.sync();
        Ok(())
    }

    async fn subscribe(
        &self,
        subscription: Subscription,
    ) -> Result<(Box<dyn Reader>, Arc<dyn Committer>), LogError> {
        let member = self.shared.change(|state| state.join(&subscription))?;
        let committer = MemoryCommitter::new(Arc::clone(&self.shared), subscription.group, member);
        let reader = MemoryReader::new(Arc::clone(&self.shared), &subscription, member);
        Ok((Box::new(reader), Arc::new(committer)))
    }

    async fn follow(&self, topic: Topic) -> Result<Box<dyn Follower>, LogError> {
        let until = self.shared.state().end_of_compacted(topic)?;
        let shared = Arc::clone(&self.shared);
        Ok(Box::new(MemoryFollower::new(shared, topic, until)))
    }

    fn completes_at_once(&self) -> bool {
        !self.shared.state().is_in_two_steps()
    }

    async fn read(
        &self,
        at: TopicPartition,
        from: Position,
        limit: BatchLimit,
    ) -> Result<Vec<Record>, LogError> {
        self.shared.state().read(at, from, limit)
    }

    async fn ends(&self, topic: Topic) -> Result<Vec<(Partition, Position)>, LogError> {
        self.shared.state().ends(topic)
    }

    async fn wait_finished(
        &self,
        group: Group,
        topic: Topic,
        ends: &[(Partition, Position)],
        within: Duration,
    ) -> Result<bool, LogError> {
        let mut changes = self.shared.changes.subscribe();
        let finished = async {
            loop {
                {
                    let state = self.shared.state();
                    state.ends(topic)?;
                    let next = |partition| {
                        let at = TopicPartition { topic, partition };
                        state.committed(group, at).next
                    };
                    if ends.iter().all(|(partition, end)| next(*partition) >= *end) {
                        return Ok(true);
                    }
                }
                if changes.changed().await.is_err() {
                    return Err(state::stopped());
                }
            }
        };
        tokio::time::timeout(within, finished)
            .await
            .unwrap_or(Ok(false))
    }

    async fn lags(&self) -> Result<Vec<Lag>, LogError> {
        let now = self.shared.clock.now();
        self.shared.state().lags(now)
    }

    fn disk_bytes(&self) -> u64 {
        0
    }

    async fn close(&self) -> Result<(), LogError> {
        self.shared.state().stop();
        self.shared.changes.send_replace(());
        Ok(())
    }
}
