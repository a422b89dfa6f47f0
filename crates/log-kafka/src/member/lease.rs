//! Until when a partition may be worked on.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use postrider_log::{Partition, TopicPartition};

use crate::clock::Instant;

/// The leases of one member. A lease begins with a commit that was acknowledged, and counts from the moment at which
/// that commit was sent: what lies between may have taken long.
pub(crate) struct Leases {
    length: Duration,
    of: RwLock<HashMap<TopicPartition, Lease>>,
}

/// What was acknowledged of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    /// When the newest commit of it was sent.
    pub(crate) committed: Instant,
    /// When the newest commit was sent that finished something, or with which it became ours.
    pub(crate) finished: Instant,
}

impl Leases {
    pub(crate) fn new(length: Duration) -> Self {
        Self {
            length,
            of: RwLock::default(),
        }
    }

    /// A commit of these that was sent then has been acknowledged.
    pub(crate) fn renew(&self, partitions: &[TopicPartition], sent: Instant) {
        let mut leases = self.of.write().unwrap_or_else(PoisonError::into_inner);
        for at in partitions {
            let new = Lease {
                committed: sent,
                finished: sent,
            };
            leases.entry(*at).or_insert(new).committed = sent;
        }
    }

    /// That commit finished something of these.
    pub(crate) fn finish(&self, partitions: &[TopicPartition], sent: Instant) {
        let mut leases = self.of.write().unwrap_or_else(PoisonError::into_inner);
        for at in partitions {
            if let Some(lease) = leases.get_mut(at) {
                lease.finished = sent;
            }
        }
    }

    /// These are no longer ours.
    pub(crate) fn end(&self, partitions: &[TopicPartition]) {
        let mut leases = self.of.write().unwrap_or_else(PoisonError::into_inner);
        for at in partitions {
            leases.remove(at);
        }
    }

    /// Nothing is ours any more.
    pub(crate) fn clear(&self) {
        self.of
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    pub(crate) fn hold(&self, at: TopicPartition) -> bool {
        let leases = self.of.read().unwrap_or_else(PoisonError::into_inner);
        leases
            .get(&at)
            .is_some_and(|lease| lease.committed.elapsed() < self.length)
    }

    /// What was acknowledged last of these, whether or not a lease still lasts by it: of the partitions of one number, which
    /// go together, the newest; of several numbers the oldest.
    pub(crate) fn last(&self, partitions: &[TopicPartition]) -> Option<Lease> {
        let leases = self.of.read().unwrap_or_else(PoisonError::into_inner);
        let mut numbers: HashMap<Partition, Lease> = HashMap::new();
        for at in partitions {
            if let Some(lease) = leases.get(at) {
                let newest = numbers.entry(at.partition).or_insert(*lease);
                newest.committed = newest.committed.max(lease.committed);
                newest.finished = newest.finished.max(lease.finished);
            }
        }
        numbers.into_values().reduce(|one, other| Lease {
            committed: one.committed.min(other.committed),
            finished: one.finished.min(other.finished),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_log::Topic;

    const AT: TopicPartition = TopicPartition {
        topic: Topic("deliveries"),
        partition: 3,
    };

    #[test]
    fn a_lease_counts_from_the_sending_of_its_commit_and_ends_by_itself() {
        let leases = Leases::new(Duration::from_secs(3600));
        assert!(!leases.hold(AT));
        leases.renew(&[AT], Instant::now());
        assert!(leases.hold(AT));
        leases.end(&[AT]);
        assert!(!leases.hold(AT));
        let short = Leases::new(Duration::ZERO);
        short.renew(&[AT], Instant::now());
        assert!(!short.hold(AT));
    }

    #[test]
    fn what_was_finished_last_is_told_of_the_number_that_is_furthest_behind() {
        const OTHER: TopicPartition = TopicPartition {
            topic: Topic("other"),
            ..AT
        };
        const NEXT: TopicPartition = TopicPartition { partition: 4, ..AT };
        let leases = Leases::new(Duration::from_secs(3600));
        let at = |seconds| Instant::now().plus(Duration::from_secs(seconds));
        let [first, second, third] = [1, 2, 3].map(at);
        leases.renew(&[AT, OTHER, NEXT], first);
        leases.finish(&[OTHER], second);
        leases.renew(&[AT, OTHER, NEXT], third);
        let last = |partitions: &[TopicPartition]| leases.last(partitions).map(|it| it.finished);
        assert_eq!(last(&[AT, OTHER]), Some(second));
        assert_eq!(last(&[AT, OTHER, NEXT]), Some(first));
        leases.end(&[NEXT]);
        assert_eq!(last(&[NEXT]), None);
    }
}
