//! The committer's half of a member: outputs first, positions after.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postrider_failpoint::fail_point;
use postrider_log::{Committer, Completion, LogError, Progress, Tenure, TopicPartition};

use super::Member;
use crate::clock::Instant;
use crate::error::closed;

/// What Kafka's brokers take with a position, in bytes (`offset.metadata.max.bytes`).
pub(crate) const METADATA_BYTES: usize = 4096;

/// Finishes.
pub(crate) struct KafkaCommitter {
    member: Arc<Member>,
}

impl KafkaCommitter {
    pub(super) fn new(member: Arc<Member>) -> Self {
        Self { member }
    }

    fn check(&self, finished: &[Progress]) -> Result<(), LogError> {
        let member = &self.member;
        if member.shared.is_closed() {
            return Err(closed());
        }
        if let Some(progress) = finished.first()
            && member.is_closed()
        {
            return Err(LogError::Lost(progress.at));
        }
        if let Some(at) = member.commits().foreign(finished) {
            return Err(LogError::Lost(at));
        }
        let long = finished
            .iter()
            .find(|progress| progress.committed.metadata.len() > METADATA_BYTES);
        match long {
            None => Ok(()),
            Some(progress) => Err(LogError::TooLarge {
                topic: progress.at.topic.0,
                size: progress.committed.metadata.len(),
                limit: METADATA_BYTES,
            }),
        }
    }
}

/// How long outputs wait for a lease to last again before they are refused for now.
const WAIT_FOR_LEASE: Duration = Duration::from_secs(1);
/// How often it is looked after meanwhile.
const LOOK: Duration = Duration::from_millis(20);

impl KafkaCommitter {
    /// Waits until the leases of what is finished last: a process that was stopped past its session wakes up with work in
    /// hand that others have done since, and what it wrote for that would fork it.
    async fn leased(&self, finished: &[Progress]) -> Result<(), LogError> {
        let begun = Instant::now();
        let held = |progress: &Progress| self.member.leases.hold(progress.at);
        while !finished.iter().all(held) {
            if begun.elapsed() > WAIT_FOR_LEASE {
                let why = "no commit was acknowledged for as long as a lease lasts";
                return Err(LogError::Busy(why.to_owned()));
            }
            tokio::time::sleep(LOOK).await;
            self.check(finished)?;
        }
        Ok(())
    }
}

#[async_trait]
impl Committer for KafkaCommitter {
    async fn complete(&self, completion: Completion) -> Result<(), LogError> {
        self.check(&completion.finished)?;
        if !completion.outputs.is_empty() {
            self.leased(&completion.finished).await?;
            self.member
                .shared
                .producer
                .append_outputs(completion.outputs)
                .await?;
            fail_point!("kafka.outputs.after");
        }
        if completion.finished.is_empty() {
            return Ok(());
        }
        let replied = self.member.commits().finish(completion.finished)?;
        self.member.wake_committing();
        replied.await.unwrap_or_else(|_| Err(closed()))
    }

    fn holds(&self, at: TopicPartition) -> bool {
        self.member.leases.hold(at)
    }

    async fn release(&self, partitions: &[Tenure]) -> Result<(), LogError> {
        if self.member.shared.is_closed() {
            return Err(closed());
        }
        self.member.let_go(partitions);
        // What was lost meanwhile, and may be ours anew, is not given back when the group wants it the next time.
        self.member.seats().release(partitions);
        Ok(())
    }
}
