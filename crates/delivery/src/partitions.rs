//! The partitions that this worker owns.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use postrider_log::{Assignment, Committer, Progress};
use postrider_model::{Position, TopicPartition};
use tokio::time::Instant;

use crate::Tracker;

/// What is owned, what of it is finished, and until when.
#[derive(Debug, Default)]
pub(crate) struct Partitions {
    owned: HashMap<TopicPartition, Owned>,
}

#[derive(Debug)]
struct Owned {
    tracker: Tracker,
    epoch: u64,
    since: Instant,
    /// Whether the lease lasted when it was last asked for in this turn.
    held: Option<bool>,
    /// To be given up, at this time at the latest.
    revoked: Option<Instant>,
    /// When records at or above a position were read: the age of the oldest unfinished one.
    read_at: VecDeque<(Position, Instant)>,
    in_flight: u32,
}

impl Partitions {
    /// Takes over what an earlier owner committed.
    pub(crate) fn assign(&mut self, assignment: &Assignment, now: Instant) {
        let owned = Owned {
            tracker: Tracker::restore(&assignment.committed),
            epoch: assignment.epoch,
            since: now,
            held: None,
            revoked: None,
            read_at: VecDeque::new(),
            in_flight: 0,
        };
        self.owned.insert(assignment.at, owned);
    }

    /// Takes a record that was read; false if it is finished, or not ours to finish.
    pub(crate) fn start(&mut self, at: TopicPartition, position: Position, now: Instant) -> bool {
        let Some(owned) = self.owned.get_mut(&at) else {
            return false;
        };
        if owned.revoked.is_some() || !owned.tracker.start(position) {
            return false;
        }
        if owned.read_at.back().is_none_or(|(_, read)| *read < now) {
            owned.read_at.push_back((position, now));
        }
        true
    }

    /// The record is finished by the batch that is being made.
    pub(crate) fn finish(&mut self, at: TopicPartition, position: Position) {
        if let Some(owned) = self.owned.get_mut(&at) {
            owned.tracker.finish(position);
        }
    }

    /// What to commit for a partition, if it is still ours.
    pub(crate) fn progress(
        &mut self,
        at: TopicPartition,
        metadata_bytes: Option<usize>,
    ) -> Option<Progress> {
        let owned = self.owned.get_mut(&at)?;
        let committed = owned.tracker.progress(metadata_bytes);
        let known = &mut owned.read_at;
        while known.len() > 1 && known[1].0 <= committed.next
            || owned.tracker.unfinished() == 0 && !known.is_empty()
        {
            known.pop_front();
        }
        Some(Progress { at, committed })
    }

    /// True if an attempt may start: the partition is ours, stays ours, and its lease lasts.
    pub(crate) fn may_start(&mut self, at: TopicPartition, committer: &dyn Committer) -> bool {
        self.owned.get_mut(&at).is_some_and(|owned| {
            owned.revoked.is_none() && *owned.held.get_or_insert_with(|| committer.holds(at))
        })
    }

    /// A new turn: leases are asked for again.
    pub(crate) fn new_turn(&mut self) {
        self.owned.values_mut().for_each(|owned| owned.held = None);
    }

    /// An attempt of this partition started. Returns the epoch under which it did.
    pub(crate) fn attempt_started(&mut self, at: TopicPartition) -> u64 {
        let Some(owned) = self.owned.get_mut(&at) else {
            return 0;
        };
        owned.in_flight += 1;
        owned.epoch
    }

    /// An attempt of this partition ended that had started under `epoch`. False if the partition is not ours any more, or
    /// was another's or ours anew meanwhile: then its record is read again, and what came of it must not be written.
    pub(crate) fn attempt_ended(&mut self, at: TopicPartition, epoch: u64) -> bool {
        let owned = self.owned.get_mut(&at);
        let Some(owned) = owned.filter(|owned| owned.epoch == epoch) else {
            return false;
        };
        owned.in_flight = owned.in_flight.saturating_sub(1);
        true
    }

    /// Records read and not finished.
    pub(crate) fn unfinished(&self, at: TopicPartition) -> usize {
        self.owned
            .get(&at)
            .map_or(0, |owned| owned.tracker.unfinished())
    }

    /// Records read and not finished, in the partition that has most.
    pub(crate) fn most_unfinished(&self) -> usize {
        self.owned
            .values()
            .map(|owned| owned.tracker.unfinished())
            .max()
            .unwrap_or(0)
    }

    /// How long the oldest unfinished record has been in memory, about.
    pub(crate) fn oldest(&self, now: Instant) -> Duration {
        let oldest = self
            .owned
            .values()
            .filter_map(|owned| owned.read_at.front())
            .map(|(_, at)| *at)
            .min();
        oldest.map_or(Duration::ZERO, |at| now.saturating_duration_since(at))
    }

    /// Since when a partition is ours.
    pub(crate) fn owned_since(&self, at: TopicPartition) -> Option<Instant> {
        self.owned.get(&at).map(|owned| owned.since)
    }

    /// The newest epoch of all that is owned.
    pub(crate) fn epoch(&self) -> u64 {
        self.owned
            .values()
            .map(|owned| owned.epoch)
            .max()
            .unwrap_or(0)
    }

    /// True if the partition is ours and stays ours.
    pub(crate) fn keeps(&self, at: TopicPartition) -> bool {
        self.owned
            .get(&at)
            .is_some_and(|owned| owned.revoked.is_none())
    }

    /// Nothing of these starts any more; they are given up at `until` at the latest.
    pub(crate) fn revoke(&mut self, partitions: &[TopicPartition], until: Instant) {
        for at in partitions {
            if let Some(owned) = self.owned.get_mut(at) {
                owned.revoked = Some(until);
            }
        }
    }

    /// The revoked ones that nothing holds any more, or whose time is up.
    pub(crate) fn released(&self, now: Instant) -> Vec<TopicPartition> {
        let over = |owned: &Owned| {
            owned
                .revoked
                .is_some_and(|until| owned.in_flight == 0 || until <= now)
        };
        self.owned
            .iter()
            .filter(|(_, owned)| over(owned))
            .map(|(at, _)| *at)
            .collect()
    }

    /// These are not ours any more.
    pub(crate) fn lose(&mut self, partitions: &[TopicPartition]) {
        for at in partitions {
            self.owned.remove(at);
        }
    }

    /// Everything that is owned.
    pub(crate) fn all(&self) -> impl Iterator<Item = TopicPartition> {
        self.owned.keys().copied()
    }
}
