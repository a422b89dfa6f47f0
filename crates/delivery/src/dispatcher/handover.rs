//! Partitions go: their endpoints' states first, their last commit after, and nothing of them stays.

use std::collections::HashMap;

use postrider_log::{Assignment, LogError};
use postrider_model::{EndpointId, EndpointState, Partition, TopicPartition};

use super::{Dispatcher, Inherited};
use crate::finished::{Finished, Of};
use crate::{Now, Owner, Sender};

impl<S: Sender> Dispatcher<S> {
    /// What earlier owners knew is here. Where several machines share the work, a state counts only if it was handed
    /// over with the commit that was taken over; others are known to exist, so that they are overwritten.
    pub(super) fn restored(
        &mut self,
        assigned: &[Assignment],
        states: HashMap<EndpointId, EndpointState>,
    ) {
        let numbers = self.partitions.is_restored(assigned);
        for (id, state) in states {
            let partition = state.partition;
            if !numbers.contains(&partition) || self.lanes.contains_key(&id) {
                continue;
            }
            let nonce = self.partitions.inherited(partition);
            let is_valid = !self.options.cautious_start
                || nonce.is_some_and(|nonce| nonce.number() == state.nonce);
            let state = is_valid.then_some(state);
            self.restored.insert(id, Inherited { partition, state });
        }
    }

    /// Hands over what was revoked and is drained, and gives up what was handed over.
    pub(super) async fn release(&mut self, now: Now) -> Result<(), LogError> {
        let is_written = |at| !self.finisher.has(at);
        let mut released = Vec::new();
        for (number, partitions) in self.partitions.drained(now.instant, is_written) {
            if !self.hand_over(number, &partitions, now) {
                released.extend(partitions);
            }
        }
        let leaving = self.partitions.leaving();
        released.extend(leaving.filter(|at| !self.finisher.has(*at)));
        if released.is_empty() {
            return Ok(());
        }
        let tenures = self.partitions.tenures(&released);
        self.ports.committer.release(&tenures).await?;
        self.lose(&released);
        Ok(())
    }

    /// Hands over everything: the worker stops.
    pub(super) fn hand_over_all(&mut self, now: Now) {
        for (number, partitions) in self.partitions.by_number() {
            self.hand_over(number, &partitions, now);
        }
    }

    /// Publishes what is known of the endpoints whose deliveries lie in `partitions`, which all have that number, and
    /// commits these for the last time. False if there is nothing to hand over.
    fn hand_over(&mut self, number: Partition, partitions: &[TopicPartition], now: Now) -> bool {
        let Some(nonce) = self.partitions.hand_over(partitions) else {
            return false;
        };
        let owner = Owner {
            epoch: self.partitions.epoch(),
            partition: number,
            nonce: nonce.number(),
        };
        let mut outputs = Vec::new();
        for (id, entry) in &mut self.lanes {
            if entry.partition != number {
                continue;
            }
            let state = entry.lane.state(*id, owner, now);
            let told = std::mem::replace(&mut entry.published, state.is_some());
            match state {
                Some(state) => outputs.push(state.to_record()),
                None if told => outputs.push(EndpointState::forget(*id)),
                None => {}
            }
        }
        // Of which nothing was heard since they were taken over.
        let untouched = self.restored.values();
        let untouched = untouched.filter(|known| known.partition == number);
        outputs.extend(untouched.filter_map(|known| {
            let state = known.state.clone()?;
            let (epoch, nonce) = (owner.epoch, owner.nonce);
            Some(
                EndpointState {
                    epoch,
                    nonce,
                    ..state
                }
                .to_record(),
            )
        }));
        for output in outputs {
            self.push_state(number, output, now);
        }
        let last = Finished {
            of: Of::Handover(partitions.to_vec()),
            weight: 0,
            aside: false,
            outputs: Vec::new(),
        };
        self.finisher.push(last, now.instant);
        true
    }

    /// These are not ours any more: what waits of them is dropped, and what is known of their endpoints is forgotten.
    pub(super) fn lose(&mut self, partitions: &[TopicPartition]) {
        self.partitions.lose(partitions);
        self.finisher.forget(partitions);
        self.drop_not_ours();
        let numbers = self.partitions.numbers();
        self.restored
            .retain(|_, known| numbers.contains(&known.partition));
        self.proven.retain(|partition| numbers.contains(&partition));
        self.lanes.retain(|_, entry| {
            let keep = numbers.contains(&entry.partition);
            if !keep && entry.open {
                self.metrics.open_breakers.add(-1);
            }
            keep
        });
    }

    /// Drops what waits of partitions that are not ours to send any more. It is not finished: the next owner reads it.
    pub(super) fn drop_not_ours(&mut self) {
        for entry in self.lanes.values_mut() {
            let (count, bytes) = (entry.lane.queued(), entry.lane.queued_bytes());
            entry.lane.retain(|at| self.partitions.keeps(at));
            self.waiting -= count - entry.lane.queued();
            self.held -= bytes - entry.lane.queued_bytes();
        }
        self.held -= self.judging.retain(|at| self.partitions.keeps(at));
    }
}
