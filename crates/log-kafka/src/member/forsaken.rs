//! Partitions that are ours by the group, and of which no work is done: a commit was refused as that of a stranger, so they
//! were let go, and the group never said that it took them. A coordinator that cannot write down that it forgot a member
//! (too few of its copies are there) knows it again a moment later. Its heartbeats, and librdkafka, go on as if nothing had
//! been, and nobody would read those partitions for as long as the process runs.

use std::collections::BTreeSet;
use std::time::Duration;

use postrider_log::TopicPartition;

use crate::clock::Instant;

/// How long the group may take to tell of a loss: a heartbeat is sent at once when a commit is refused, and a coordinator may
/// be on its way to another broker.
pub(super) const WAIT: Duration = Duration::from_secs(10);

/// What the group has given us.
#[derive(Default)]
pub(super) struct Given {
    partitions: BTreeSet<TopicPartition>,
    /// Since when some of it is nobody's.
    forsaken: Option<Instant>,
}

impl Given {
    pub(super) fn add(&mut self, partitions: &[TopicPartition]) {
        self.partitions.extend(partitions);
    }

    /// Handed back to the group.
    pub(super) fn remove(&mut self, partitions: &[TopicPartition]) {
        self.partitions.retain(|at| !partitions.contains(at));
    }

    /// Whether more than the `seated` have been nobody's for too long. While partitions come or go that is not known.
    pub(super) fn is_forsaken(&mut self, seated: usize, moving: bool) -> bool {
        if moving || self.partitions.len() <= seated {
            self.forsaken = None;
            return false;
        }
        let since = *self.forsaken.get_or_insert_with(Instant::now);
        since.elapsed() >= WAIT
    }
}

#[cfg(test)]
#[path = "forsaken_tests.rs"]
mod tests;
