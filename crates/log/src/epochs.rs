//! Under which of its assignments a partition is read.

use std::collections::HashMap;

use postrider_model::TopicPartition;

use crate::{Polled, Tenure};

/// The newest assignment of each partition, as far as its reader has told of them: what is finished and given up is so
/// under the assignment under which it was read.
#[derive(Debug, Default)]
pub struct Epochs(HashMap<TopicPartition, u64>);

impl Epochs {
    /// Takes in what the reader says of partitions that come and go.
    pub fn hear(&mut self, polled: &Polled) {
        match polled {
            Polled::Assigned(assigned) => {
                let assigned = assigned.iter().map(|one| (one.at, one.epoch));
                self.0.extend(assigned);
            }
            Polled::Lost(partitions) => {
                for at in partitions {
                    self.0.remove(at);
                }
            }
            // What is to be given up is given up under the assignment under which it was ours.
            Polled::Revoking(_) | Polled::Records(_) => {}
        }
    }

    /// The epoch of a partition's assignment; 0, which none has, if it is not ours.
    #[must_use]
    pub fn of(&self, at: TopicPartition) -> u64 {
        self.0.get(&at).copied().unwrap_or_default()
    }

    /// These, each under its assignment.
    #[must_use]
    pub fn tenures(&self, partitions: &[TopicPartition]) -> Vec<Tenure> {
        let tenure = |at: &TopicPartition| Tenure {
            at: *at,
            epoch: self.of(*at),
        };
        partitions.iter().map(tenure).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Assignment, Committed};
    use postrider_model::topics;

    #[test]
    fn a_partition_is_ours_under_the_newest_assignment_until_it_is_lost() {
        let at = TopicPartition {
            topic: topics::EVENTS,
            partition: 3,
        };
        let assigned = |epoch| {
            let committed = Committed::default();
            Polled::Assigned(vec![Assignment {
                at,
                committed,
                epoch,
            }])
        };
        let mut epochs = Epochs::default();
        assert_eq!(epochs.of(at), 0);
        epochs.hear(&assigned(4));
        epochs.hear(&assigned(7));
        epochs.hear(&Polled::Revoking(vec![at]));
        assert_eq!(epochs.tenures(&[at]), [Tenure { at, epoch: 7 }]);
        epochs.hear(&Polled::Lost(vec![at]));
        assert_eq!(epochs.of(at), 0);
    }
}
