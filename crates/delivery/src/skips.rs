//! What of the records that are read again was finished by an earlier owner: it is not decoded.

use std::collections::{HashMap, VecDeque};

use postrider_log::Assignment;
use postrider_model::{Position, TopicPartition};

use crate::finished_map::{self, Run};
use crate::handover::Nonce;

/// By partition, the runs of positions that were finished when it was assigned, in order, as far as they are not passed.
#[derive(Debug, Default)]
pub(crate) struct Skips(HashMap<TopicPartition, VecDeque<Run>>);

impl Skips {
    /// These are ours, by what was committed of them.
    pub(crate) fn assigned(&mut self, assignments: &[Assignment]) {
        for assignment in assignments {
            let committed = &assignment.committed;
            let (_, map) = Nonce::split(&committed.metadata);
            let runs = finished_map::decode(committed.next, map);
            self.0.insert(assignment.at, runs.into());
        }
    }

    /// These are not ours any more.
    pub(crate) fn lost(&mut self, partitions: &[TopicPartition]) {
        self.0.retain(|at, _| !partitions.contains(at));
    }

    /// True if the record was finished. Records are asked about in order.
    pub(crate) fn has(&mut self, at: TopicPartition, position: Position) -> bool {
        let Some(runs) = self.0.get_mut(&at) else {
            return false;
        };
        while runs.front().is_some_and(|run| run.end <= position) {
            runs.pop_front();
        }
        let known = runs.front().is_some_and(|run| run.start <= position);
        if runs.is_empty() {
            self.0.remove(&at);
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tracker;
    use postrider_log::Committed;
    use postrider_model::topics;

    #[test]
    fn what_the_tracker_knows_is_skipped_and_nothing_else() {
        let at = |partition| TopicPartition {
            topic: topics::DELIVERIES_NORMAL,
            partition,
        };
        let mut before = Tracker::restore(&Committed::default());
        (0..20).for_each(|position| assert!(before.start(position)));
        [1, 2, 5, 9, 10]
            .into_iter()
            .for_each(|position| before.finish(position));
        let committed = before.progress(None);
        let mut after = Tracker::restore(&committed);
        let mut skips = Skips::default();
        skips.assigned(&[Assignment {
            at: at(3),
            epoch: 1,
            committed,
        }]);
        assert!(!skips.has(at(4), 1));
        for position in 0..30 {
            assert_eq!(skips.has(at(3), position), !after.start(position));
        }
        assert!(skips.0.is_empty());
    }
}
