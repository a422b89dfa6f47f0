//! What is done and waits to be written, in its order.

use std::collections::VecDeque;

use postrider_model::{NewRecord, TopicPartition};
use tokio::time::Instant;

use crate::finished::{Finished, Of, forget};

/// With so many attempts and the like waiting, the log is behind: nothing starts until it has caught up.
const MANY: usize = 8_000;
/// The same with what is put aside: one full lane, or a few, whose breakers open must not stop the neighbours.
const MANY_WITH_ASIDE: usize = 64_000;

#[derive(Debug, Default)]
pub(super) struct Backlog {
    waiting: VecDeque<Finished>,
    /// How many of `waiting` were put aside.
    aside: usize,
    /// Since when the oldest waits.
    since: Option<Instant>,
}

impl Backlog {
    pub(super) fn push(&mut self, finished: Finished, now: Instant) {
        self.since.get_or_insert(now);
        self.aside += usize::from(finished.aside);
        self.waiting.push_back(finished);
    }

    /// Puts what was taken before everything else again.
    pub(super) fn put_back(&mut self, batch: Vec<Finished>, now: Instant) {
        if !batch.is_empty() {
            self.since = Some(now);
        }
        self.aside += batch.iter().filter(|finished| finished.aside).count();
        batch
            .into_iter()
            .rev()
            .for_each(|finished| self.waiting.push_front(finished));
    }

    /// Takes the oldest: `most` of them, and so many bytes of outputs, at most.
    pub(super) fn take(&mut self, most: usize, most_bytes: usize, now: Instant) -> Vec<Finished> {
        let mut bytes = 0;
        let fits = |finished: &&Finished| {
            bytes += finished.outputs.iter().map(NewRecord::size).sum::<usize>();
            bytes <= most_bytes
        };
        let count = self.waiting.iter().take(most).take_while(fits).count();
        let count = count.max(1).min(self.waiting.len());
        let batch: Vec<Finished> = self.waiting.drain(..count).collect();
        self.aside -= batch.iter().filter(|finished| finished.aside).count();
        self.since = (!self.waiting.is_empty()).then_some(now);
        batch
    }

    /// Takes the copies out of all that waits; the rest stays.
    pub(super) fn take_copies(&mut self, mut take: impl FnMut(Finished)) {
        for finished in &mut self.waiting {
            let aside = usize::from(finished.aside);
            if let Some(copy) = finished.split_copy() {
                self.aside -= aside;
                take(copy);
            }
        }
        self.waiting.retain(|finished| !finished.is_nothing());
    }

    /// Keeps of what lies in these partitions only that its memory is to be given back.
    pub(super) fn forget(&mut self, partitions: &[TopicPartition]) {
        forget(self.waiting.iter_mut(), partitions);
    }

    /// True if so much waits that nothing more may start.
    pub(super) fn is_full(&self) -> bool {
        self.len() - self.aside >= MANY || self.len() >= MANY_WITH_ASIDE
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Since when the oldest waits, if any does.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// True if something of this partition waits.
    pub(super) fn has(&self, at: TopicPartition) -> bool {
        self.waiting.iter().any(|finished| finished.of.is_of(&[at]))
    }

    /// The partition of each record that is finished by what waits.
    pub(super) fn partitions(&self) -> impl Iterator<Item = TopicPartition> {
        self.waiting
            .iter()
            .filter_map(|finished| match finished.of {
                Of::Record(at, _) => Some(at),
                Of::State(_) | Of::Handover(_) | Of::Lost => None,
            })
    }
}
