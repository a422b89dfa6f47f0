//! What of one partition is finished.

use std::collections::BTreeMap;

use postrider_log::Committed;
use postrider_model::Position;

use crate::finished_map::{self, Run};

/// Keeps, for one partition, which of the records that were read are finished.
///
/// Positions may have gaps; what lies between two that were read does not exist, so a run of finished positions may
/// span it. What is finished is kept as runs: lanes finish from their heads on, so there are about as many of these as
/// deliveries in flight, however many wait, and no step takes longer for those that wait.
#[derive(Debug)]
pub struct Tracker {
    /// The first position that is not finished; `end` if everything that was read is.
    next: Position,
    /// Finished above `next`, none touching another or `next`: each start with its end.
    finished: BTreeMap<Position, Position>,
    /// Read and not finished.
    unfinished: usize,
    /// One past the last position that was read, or the watermark that was restored.
    end: Position,
    /// What an earlier owner finished at or above `end`, in order.
    restored: Vec<Run>,
}

impl Tracker {
    /// Goes on from what the group had committed. Metadata that cannot be read counts as empty: records are sent
    /// again, none is lost.
    pub fn restore(committed: &Committed) -> Self {
        Self {
            next: committed.next,
            finished: BTreeMap::new(),
            unfinished: 0,
            end: committed.next,
            restored: finished_map::decode(committed.next, &committed.metadata),
        }
    }

    /// Takes a position that was read; false if there is nothing to do for it: an earlier owner finished it, or it was
    /// taken before.
    pub fn start(&mut self, position: Position) -> bool {
        if position < self.end {
            return false;
        }
        let passed = self.restored.partition_point(|run| run.end <= position);
        let known = self
            .restored
            .get(passed)
            .is_some_and(|run| run.start <= position);
        self.restored.drain(..passed);
        let behind = position.saturating_add(1);
        // What was passed over does not exist.
        let nothing_to_do = self.end..if known { behind } else { position };
        self.end = behind;
        if !nothing_to_do.is_empty() {
            self.add(nothing_to_do);
        }
        self.unfinished += usize::from(!known);
        !known
    }

    /// The record at `position` is finished, and what follows from it is about to be written with the next progress.
    pub fn finish(&mut self, position: Position) {
        if position < self.end && !self.is_finished(position) {
            self.unfinished -= 1;
            self.add(position..position + 1);
        }
    }

    /// What followed from the record at `position` was not written: it is unfinished as before.
    pub fn reopen(&mut self, position: Position) {
        if position >= self.end || !self.is_finished(position) {
            return;
        }
        let behind = position + 1;
        let end = if position < self.next {
            std::mem::replace(&mut self.next, position)
        } else {
            let Some((&start, end)) = self.finished.range_mut(..=position).next_back() else {
                return;
            };
            let whole = std::mem::replace(end, position);
            if start == position {
                self.finished.remove(&start);
            }
            whole
        };
        if behind < end {
            self.finished.insert(behind, end);
        }
        self.unfinished += 1;
    }

    /// Adds a run of finished positions, of which none was finished before.
    fn add(&mut self, run: Run) {
        let end = self.finished.remove(&run.end).unwrap_or(run.end);
        if run.start == self.next {
            self.next = end;
            return;
        }
        match self.finished.range_mut(..run.start).next_back() {
            Some((_, before)) if *before == run.start => *before = end,
            _ => {
                self.finished.insert(run.start, end);
            }
        }
    }

    /// True if the record at `position` was read and finished, or finished by an earlier owner.
    pub fn is_finished(&self, position: Position) -> bool {
        if position >= self.end {
            return self.restored.iter().any(|run| run.contains(&position));
        }
        let run = self.finished.range(..=position).next_back();
        position < self.next || run.is_some_and(|(_, end)| position < *end)
    }

    /// How many were read and are not finished.
    pub fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// How many positions lie between the first unfinished one and the end of what was read.
    pub fn span(&self) -> u64 {
        self.end - self.next.min(self.end)
    }

    /// One past the last position that was read.
    pub fn end(&self) -> Position {
        self.end
    }

    /// What to commit: the first unfinished position, and what is finished above it, cut from the top to fit
    /// `metadata_bytes`.
    pub fn progress(&self, metadata_bytes: Option<usize>) -> Committed {
        // With nothing unfinished, runs of the owner before may touch the watermark and are still of use.
        Committed {
            next: self.next,
            metadata: finished_map::encode(self.next, self.finished_above(), metadata_bytes),
        }
    }

    /// The runs of finished positions above the first unfinished one, in order.
    fn finished_above(&self) -> impl Iterator<Item = Run> {
        let own = self.finished.iter().map(|(start, end)| *start..*end);
        // The first of the restored runs may have begun before `end`, which is then its part above.
        let restored = self
            .restored
            .iter()
            .map(|run| run.start.max(self.end)..run.end);
        own.chain(restored).filter(|run| run.start < run.end)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    fn fresh() -> Tracker {
        Tracker::restore(&Committed::default())
    }

    #[test]
    fn the_watermark_stands_at_the_first_unfinished_position() {
        let mut tracker = fresh();
        for position in [3, 7, 8, 20] {
            assert!(tracker.start(position));
        }
        tracker.finish(7);
        assert_eq!(tracker.progress(None).next, 3);
        tracker.finish(3);
        assert_eq!(tracker.progress(None).next, 8);
        tracker.finish(8);
        tracker.finish(20);
        assert_eq!(
            tracker.progress(None),
            Committed {
                next: 21,
                metadata: String::new()
            }
        );
    }

    #[test]
    fn what_was_finished_is_skipped_after_a_restart_and_what_was_not_is_not() {
        let mut before = fresh();
        (0..10).for_each(|position| assert!(before.start(position)));
        [1, 2, 5, 9]
            .into_iter()
            .for_each(|position| before.finish(position));
        let mut after = Tracker::restore(&before.progress(None));
        let again: Vec<_> = (0..12).filter(|position| after.start(*position)).collect();
        assert_eq!(again, [0, 3, 4, 6, 7, 8, 10, 11]);
    }

    #[test]
    fn a_second_restart_before_all_was_read_again_forgets_nothing() {
        let mut before = fresh();
        (0..10).for_each(|position| assert!(before.start(position)));
        [4, 8, 9]
            .into_iter()
            .for_each(|position| before.finish(position));
        let mut second = Tracker::restore(&before.progress(None));
        (0..3).for_each(|position| assert!(second.start(position)));
        let third = Tracker::restore(&second.progress(None));
        assert!(
            [4, 8, 9]
                .into_iter()
                .all(|position| third.is_finished(position))
        );
    }

    #[test]
    fn what_was_not_written_is_unfinished_again_and_nothing_else() {
        for position in 0..10 {
            let mut tracker = fresh();
            (0..10).for_each(|position| assert!(tracker.start(position)));
            [0, 1, 2, 5, 6, 7, 9]
                .into_iter()
                .for_each(|position| tracker.finish(position));
            let finished = |tracker: &Tracker| -> Vec<bool> {
                (0..10).map(|at| tracker.is_finished(at)).collect()
            };
            let mut expected = finished(&tracker);
            let unfinished = tracker.unfinished() + usize::from(expected[position as usize]);
            expected[position as usize] = false;
            tracker.reopen(position);
            assert_eq!(finished(&tracker), expected, "{position}");
            assert_eq!(tracker.unfinished(), unfinished);
            assert_eq!(tracker.progress(None).next, position.min(3));
        }
    }

    #[test]
    fn metadata_that_is_no_map_counts_as_empty() {
        for metadata in ["", "!", "AAAA", "zzzz"] {
            let committed = Committed {
                next: 5,
                metadata: metadata.to_owned(),
            };
            let mut tracker = Tracker::restore(&committed);
            assert!(tracker.start(5), "{metadata}");
        }
    }

    #[test]
    fn a_hundred_thousand_unfinished_records_fit_the_smallest_commit() {
        let mut tracker = fresh();
        (0..200_000).for_each(|position| assert!(tracker.start(position)));
        (0..200_000)
            .filter(|n| n % 2 == 1)
            .for_each(|position| tracker.finish(position));
        assert_eq!(tracker.unfinished(), 100_000);
        let committed = tracker.progress(Some(4096));
        assert!(committed.metadata.len() <= 4096);
        let after = Tracker::restore(&committed);
        assert!(after.is_finished(1) && after.is_finished(20_001) && !after.is_finished(199_999));
    }

    /// A step of a partition's life.
    #[derive(Debug, Clone)]
    enum Step {
        /// Reads on, this far above the last position.
        Read(u64),
        /// Finishes one of the unfinished.
        Finish(prop::sample::Index),
        /// Finishes one of the unfinished, in a commit that is refused.
        Refused(prop::sample::Index),
        /// Commits with this limit.
        Commit(Option<usize>),
        /// Is killed, and the next owner reads again what was not committed.
        Restart,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (1..4u64).prop_map(Step::Read),
            1 => (1..300u64).prop_map(Step::Read),
            6 => any::<prop::sample::Index>().prop_map(Step::Finish),
            2 => any::<prop::sample::Index>().prop_map(Step::Refused),
            3 => prop::option::of(0..64usize).prop_map(Step::Commit),
            1 => Just(Step::Restart),
        ]
    }

    /// The truth beside the tracker: every position that exists, and whether it is finished for good.
    #[derive(Default)]
    struct World {
        exists: BTreeMap<Position, bool>,
        committed: Committed,
    }

    impl World {
        fn unfinished(&self, tracker: &Tracker) -> Vec<Position> {
            let all = self.exists.keys().copied();
            all.filter(|position| !tracker.is_finished(*position))
                .collect()
        }

        fn commit(&mut self, tracker: &Tracker, limit: Option<usize>) {
            let committed = tracker.progress(limit);
            assert!(
                committed.next >= self.committed.next,
                "the watermark went back"
            );
            if let Some(limit) = limit {
                assert!(committed.metadata.len() <= limit);
            }
            let decoded = Tracker::restore(&committed);
            for (position, finished) in &self.exists {
                let says = *position < committed.next || decoded.is_finished(*position);
                assert!(*finished || !says, "{position} is said to be finished");
                if limit.is_none() {
                    assert_eq!(*finished, says, "{position} was forgotten");
                }
            }
            self.committed = committed;
        }

        /// The next owner: what the commit does not name as finished is read again, and only that.
        fn restart(&mut self) -> Tracker {
            let mut tracker = Tracker::restore(&self.committed);
            for (position, finished) in self.exists.range_mut(self.committed.next..) {
                *finished = !tracker.start(*position);
            }
            tracker
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn no_commit_names_what_is_not_finished_and_the_watermark_never_goes_back(
            steps in prop::collection::vec(step(), 1..120),
        ) {
            let (mut world, mut tracker, mut last) = (World::default(), fresh(), 0);
            for step in steps {
                match step {
                    Step::Read(gap) => {
                        last += gap;
                        prop_assert!(tracker.start(last));
                        world.exists.insert(last, false);
                    }
                    Step::Finish(which) => {
                        let open = world.unfinished(&tracker);
                        if !open.is_empty() {
                            let position = open[which.index(open.len())];
                            tracker.finish(position);
                            world.exists.insert(position, true);
                        }
                    }
                    Step::Refused(which) => {
                        let open = world.unfinished(&tracker);
                        if !open.is_empty() {
                            let position = open[which.index(open.len())];
                            tracker.finish(position);
                            tracker.reopen(position);
                        }
                    }
                    Step::Commit(limit) => world.commit(&tracker, limit),
                    Step::Restart => tracker = world.restart(),
                }
                prop_assert_eq!(tracker.unfinished(), world.unfinished(&tracker).len());
            }
        }
    }
}
