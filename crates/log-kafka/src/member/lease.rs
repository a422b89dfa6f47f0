//! Until when a partition may be worked on.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use postrider_log::TopicPartition;

use crate::clock::Instant;

/// The leases of one member. A lease begins with a commit that was acknowledged, and counts from the moment at which
/// that commit was sent: what lies between may have taken long.
pub(crate) struct Leases {
    length: Duration,
    until: RwLock<HashMap<TopicPartition, Instant>>,
}

impl Leases {
    pub(crate) fn new(length: Duration) -> Self {
        Self {
            length,
            until: RwLock::default(),
        }
    }

    /// A commit of these that was sent then has been acknowledged.
    pub(crate) fn renew(&self, partitions: &[TopicPartition], sent: Instant) {
        let until = sent.plus(self.length);
        let mut leases = self.until.write().unwrap_or_else(PoisonError::into_inner);
        leases.extend(partitions.iter().map(|at| (*at, until)));
    }

    /// These are no longer ours.
    pub(crate) fn end(&self, partitions: &[TopicPartition]) {
        let mut leases = self.until.write().unwrap_or_else(PoisonError::into_inner);
        for at in partitions {
            leases.remove(at);
        }
    }

    /// Nothing is ours any more.
    pub(crate) fn clear(&self) {
        self.until
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    pub(crate) fn hold(&self, at: TopicPartition) -> bool {
        let leases = self.until.read().unwrap_or_else(PoisonError::into_inner);
        leases.get(&at).is_some_and(|until| Instant::now() < *until)
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
}
