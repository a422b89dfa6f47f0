//! Finishing for a group: outputs and positions in one commit.

use std::sync::Arc;

use async_trait::async_trait;
use postrider_log::{Committer, Completion, Group, LogError, Tenure, TopicPartition};
use tokio::sync::oneshot;

use crate::queue::{Finished, Request};
use crate::shared::Shared;
use crate::state::Seat;

/// The reader's other half.
pub(crate) struct EmbeddedCommitter {
    shared: Arc<Shared>,
    group: Group,
    seats: Vec<Seat>,
}

impl EmbeddedCommitter {
    pub(crate) fn new(shared: Arc<Shared>, group: Group, seats: Vec<Seat>) -> Self {
        Self {
            shared,
            group,
            seats,
        }
    }

    fn seat(&self, at: TopicPartition) -> Option<&Seat> {
        self.seats.iter().find(|seat| seat.assignment.at == at)
    }

    fn tenure(&self, tenure: Tenure) -> Option<&Seat> {
        self.seats
            .iter()
            .find(|seat| seat.assignment.tenure() == tenure)
    }

    /// By numbers, if all of it is still ours.
    fn check(&self, completion: &mut Completion) -> Result<Vec<Finished>, LogError> {
        let state = self.shared.state();
        state.check_open()?;
        let ours = |progress: postrider_log::Progress| {
            let seat = self.tenure(progress.tenure());
            let seat = seat.filter(|seat| state.holds(seat));
            let seat = seat.ok_or(LogError::Lost(progress.at))?;
            Ok(Finished {
                topic: seat.topic,
                group: seat.group,
                name: self.group,
                committed: progress.committed,
            })
        };
        completion.finished.drain(..).map(ours).collect()
    }
}

#[async_trait]
impl Committer for EmbeddedCommitter {
    async fn complete(&self, mut completion: Completion) -> Result<(), LogError> {
        let shared = &self.shared;
        let bytes = shared
            .catalog
            .check(&completion.outputs, shared.record_bytes)?;
        let finished = self.check(&mut completion)?;
        let metadata: usize = finished
            .iter()
            .map(|done| done.committed.metadata.len())
            .sum();
        let (reply, replied) = oneshot::channel();
        let request = Request {
            records: completion.outputs,
            finished,
            durability: completion.durability,
            purpose: completion.purpose,
            reply,
        };
        shared.queue.send(request, bytes + metadata).await?;
        replied
            .await
            .unwrap_or_else(|_| Err(crate::closed()))
            .map(drop)
    }

    fn holds(&self, at: TopicPartition) -> bool {
        self.seat(at)
            .is_some_and(|seat| self.shared.state().holds(seat))
    }

    async fn release(&self, partitions: &[Tenure]) -> Result<(), LogError> {
        let mut state = self.shared.state();
        partitions
            .iter()
            .filter_map(|one| self.tenure(*one))
            .for_each(|seat| state.release(seat));
        Ok(())
    }
}
