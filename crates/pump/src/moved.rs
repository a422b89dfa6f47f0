//! Which retries were moved on lately, where a crash can lie between what was written and the position that it finished:
//! a worker that was killed there has written a retry that the next one writes, too. Pure.

use postrider_log::Lately;
use postrider_model::{Delivery, DeliveryId, TopicPartition};

use crate::Kind;

/// Retries of each number of partitions that are remembered, of all tiers together.
const REMEMBERED: usize = 4_096;

/// A delivery, its generation, and the attempts made: what a worker asks for once.
type Step = (DeliveryId, u64, u32);

/// The retries that left the tiers last, to the worker or to the dead letters. Two forms of one may wait in different
/// tiers, so the tiers of one number, which have one owner, are one.
#[derive(Debug)]
pub(crate) struct Moved(Lately<Step>);

impl Moved {
    /// None where nothing comes twice: of a log that completes at once, and of parked deliveries, which come with the same
    /// attempts made again and again. The worker knows those by their wait.
    pub(crate) fn of(kind: Kind, completes_at_once: bool) -> Option<Self> {
        let needed = kind == Kind::Retry && !completes_at_once;
        needed.then(|| Self(Lately::new(REMEMBERED)))
    }

    /// True if its like has left lately.
    pub(crate) fn knows(&self, at: TopicPartition, delivery: &Delivery) -> bool {
        self.0.knows(any_tier(at), &step(delivery))
    }

    /// It leaves.
    pub(crate) fn leaves(&mut self, at: TopicPartition, delivery: &Delivery) {
        self.0.finished(any_tier(at), step(delivery));
    }

    /// These came or went.
    pub(crate) fn forget(&mut self, partitions: &[TopicPartition]) {
        self.0.forget(partitions.iter().copied().map(any_tier));
    }
}

/// One name for a partition's number in all tiers.
fn any_tier(at: TopicPartition) -> TopicPartition {
    let topic = Kind::Retry.tiers().first().map(|tier| tier.topic);
    TopicPartition {
        topic: topic.unwrap_or(at.topic),
        partition: at.partition,
    }
}

fn step(delivery: &Delivery) -> Step {
    (delivery.id, delivery.generation, delivery.attempts_made)
}
