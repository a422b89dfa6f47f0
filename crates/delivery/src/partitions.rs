//! The partitions that this worker owns.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use postrider_log::{Assignment, Committed, Committer, Progress, Tenure};
use postrider_model::{Delivery, Partition, Position, TopicPartition};
use tokio::time::Instant;

use crate::Tracker;
use crate::dispatcher::Bounds;
use crate::handover::Nonce;
use crate::repeats::{Repeats, Step};

/// What is owned, what of it is finished, and until when.
#[derive(Debug)]
pub(crate) struct Partitions {
    owned: HashMap<TopicPartition, Owned>,
    /// A crash can lie between outputs and the positions that they finish.
    repeat: bool,
}

#[derive(Debug)]
struct Owned {
    tracker: Tracker,
    /// None where nothing is written twice.
    repeats: Option<Repeats>,
    epoch: u64,
    since: Instant,
    /// Whether the lease lasted when it was last asked for in this turn.
    held: Option<bool>,
    /// To be given up, at this time at the latest.
    revoked: Option<Instant>,
    /// When records at or above a position were read: the age of the oldest unfinished one.
    read_at: VecDeque<(Position, Instant)>,
    in_flight: u32,
    /// The map of what is finished is near the longest that a commit takes, or beyond it.
    crowded: bool,
    /// That of the handover by which its earlier owner left it; none if he was killed, or there was none.
    inherited: Option<Nonce>,
    /// What its earlier owner knew is here.
    ready: bool,
    /// It is being handed over: nothing of it is published or finished any more.
    handover: Option<Nonce>,
}

impl Partitions {
    /// Of a log that [completes at once](postrider_log::Log::completes_at_once), or not.
    pub(crate) fn of_a_log(completes_at_once: bool) -> Self {
        Self {
            owned: HashMap::new(),
            repeat: !completes_at_once,
        }
    }

    /// Takes over what an earlier owner committed.
    pub(crate) fn assign(&mut self, assignment: &Assignment, now: Instant) {
        let (inherited, map) = Nonce::split(&assignment.committed.metadata);
        let committed = Committed {
            next: assignment.committed.next,
            metadata: map.to_owned(),
        };
        let owned = Owned {
            tracker: Tracker::restore(&committed),
            repeats: self.repeat.then(Repeats::default),
            epoch: assignment.epoch,
            since: now,
            held: None,
            revoked: None,
            read_at: VecDeque::new(),
            in_flight: 0,
            crowded: false,
            inherited,
            ready: false,
            handover: None,
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

    /// True if what was read asks for what was asked for lately: it is to be finished, and nothing follows from it.
    pub(crate) fn is_repeat(&mut self, at: TopicPartition, delivery: &Delivery) -> bool {
        let owned = self.owned.get_mut(&at);
        let repeats = owned.and_then(|owned| owned.repeats.as_mut());
        repeats.is_some_and(|repeats| !repeats.take(delivery))
    }

    /// True if the attempt that it asks for was made since it was read.
    pub(crate) fn was_attempted(&self, at: TopicPartition, delivery: &Delivery) -> bool {
        let repeats = self.owned.get(&at).and_then(|owned| owned.repeats.as_ref());
        repeats.is_some_and(|repeats| repeats.was_attempted(delivery))
    }

    /// The step's attempt was made, and counts.
    pub(crate) fn attempted(&mut self, at: TopicPartition, step: Step) {
        let owned = self.owned.get_mut(&at);
        if let Some(repeats) = owned.and_then(|owned| owned.repeats.as_mut()) {
            repeats.attempted(step);
        }
    }

    /// The record is finished by the batch that is being made.
    pub(crate) fn finish(&mut self, at: TopicPartition, position: Position) {
        if let Some(owned) = self.owned.get_mut(&at) {
            owned.tracker.finish(position);
        }
    }

    /// That batch was not written.
    pub(crate) fn reopen(&mut self, at: TopicPartition, position: Position) {
        if let Some(owned) = self.owned.get_mut(&at) {
            owned.tracker.reopen(position);
        }
    }

    /// What to commit for a partition, if it is still ours.
    pub(crate) fn progress(
        &mut self,
        at: TopicPartition,
        metadata_bytes: Option<usize>,
    ) -> Option<Progress> {
        let owned = self.owned.get_mut(&at)?;
        let mut committed = match owned.handover {
            None => owned.tracker.progress(metadata_bytes),
            Some(_) => owned.tracker.progress(Nonce::room_beside(metadata_bytes)),
        };
        let longest = metadata_bytes.unwrap_or(usize::MAX);
        owned.crowded = committed.metadata.len() > longest / 4 * 3;
        let known = &mut owned.read_at;
        while known.len() > 1 && known[1].0 <= committed.next
            || owned.tracker.unfinished() == 0 && !known.is_empty()
        {
            known.pop_front();
        }
        if let Some(nonce) = owned.handover {
            committed.metadata = nonce.before(&committed.metadata);
        }
        let epoch = owned.epoch;
        Some(Progress {
            at,
            epoch,
            committed,
        })
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

    /// An attempt of this partition ended that had started under `epoch`. False if the partition is not ours any more, is
    /// being handed over, or was another's or ours anew meanwhile: then its record is read again, and what came of it must
    /// not be written.
    pub(crate) fn attempt_ended(&mut self, at: TopicPartition, epoch: u64) -> bool {
        let owned = self.owned.get_mut(&at);
        let Some(owned) = owned.filter(|owned| owned.epoch == epoch && owned.handover.is_none())
        else {
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

    /// The partitions whose maps of what is finished are near the longest that a commit takes: what a map does not hold, the
    /// next owner sends again. Below the bounds lies the half that is nearer to the watermark.
    pub(crate) fn crowded(&self) -> HashMap<TopicPartition, Bounds> {
        let crowded = |owned: &Owned| owned.crowded && owned.revoked.is_none();
        let crowded = self.owned.iter().filter(|(_, owned)| crowded(owned));
        let bounds = |owned: &Owned| Bounds {
            by_age: owned.tracker.end() - owned.tracker.span() / 2,
            by_span: 0,
        };
        crowded.map(|(at, owned)| (*at, bounds(owned))).collect()
    }

    /// The partitions of which something unfinished has been in memory for longer than `age`, or lies more than `span`
    /// positions behind the end. Below the bounds lies what does so itself and is near the watermark, no farther from it than
    /// half of that. What is farther does not hold it back: if nothing waits that is nearer, an attempt does.
    pub(crate) fn lagging(
        &self,
        now: Instant,
        age: Duration,
        span: u64,
    ) -> HashMap<TopicPartition, Bounds> {
        let bounds = |owned: &Owned| {
            let (read_at, end) = (&owned.read_at, owned.tracker.end());
            let behind = owned.tracker.span();
            let by_age = read_at.front().map_or(0, |(_, first)| {
                let is_old = |at: Instant| at + age <= now && at <= *first + age / 2;
                match read_at.partition_point(|(_, at)| is_old(*at)) {
                    0 => 0,
                    old => read_at.get(old).map_or(end, |(recent, _)| *recent),
                }
            });
            let by_span = match behind > span {
                true => (end - span).min(end - behind + span / 2),
                false => 0,
            };
            (by_age > 0 || by_span > 0).then_some(Bounds { by_age, by_span })
        };
        let kept = self
            .owned
            .iter()
            .filter(|(_, owned)| owned.revoked.is_none());
        kept.filter_map(|(at, owned)| Some((*at, bounds(owned)?)))
            .collect()
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

    /// These, each under its assignment; nothing of what is not ours.
    pub(crate) fn tenures(&self, partitions: &[TopicPartition]) -> Vec<Tenure> {
        let tenure = |at: &TopicPartition| {
            let epoch = self.owned.get(at)?.epoch;
            Some(Tenure { at: *at, epoch })
        };
        partitions.iter().filter_map(tenure).collect()
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

    /// The revoked ones, by their number, of which nothing is under way any more or whose time is up, and of which
    /// everything is written. Those of one number, which an endpoint's deliveries lie in, come together.
    pub(crate) fn drained(
        &self,
        now: Instant,
        is_written: impl Fn(TopicPartition) -> bool,
    ) -> BTreeMap<Partition, Vec<TopicPartition>> {
        let (mut drained, mut busy) = (BTreeMap::<_, Vec<_>>::new(), HashSet::new());
        for (at, owned) in &self.owned {
            let Some(until) = owned.revoked.filter(|_| owned.handover.is_none()) else {
                continue;
            };
            if (owned.in_flight == 0 || until <= now) && is_written(*at) {
                drained.entry(at.partition).or_default().push(*at);
            } else {
                busy.insert(at.partition);
            }
        }
        drained.retain(|number, _| !busy.contains(number));
        drained
    }

    /// Everything that is not being handed over, by its number.
    pub(crate) fn by_number(&self) -> BTreeMap<Partition, Vec<TopicPartition>> {
        let mut all = BTreeMap::<_, Vec<_>>::new();
        let kept = self
            .owned
            .iter()
            .filter(|(_, owned)| owned.handover.is_none());
        for (at, _) in kept {
            all.entry(at.partition).or_default().push(*at);
        }
        all
    }

    /// What these, of one number, are handed over under. What their earlier owner knew must be here, or it would be lost:
    /// where it is not, nothing was done and his handover stands, and there is none.
    pub(crate) fn hand_over(&mut self, partitions: &[TopicPartition]) -> Option<Nonce> {
        let is_ready = |at| self.owned.get(at).is_some_and(|owned| owned.ready);
        if !partitions.iter().all(is_ready) {
            return None;
        }
        let nonce = Nonce::new();
        for at in partitions {
            if let Some(owned) = self.owned.get_mut(at) {
                owned.handover = Some(nonce);
            }
        }
        Some(nonce)
    }

    /// The revoked ones that are being handed over.
    pub(crate) fn leaving(&self) -> impl Iterator<Item = TopicPartition> {
        let leaving = |owned: &Owned| owned.revoked.is_some() && owned.handover.is_some();
        let all = self.owned.iter();
        all.filter(move |(_, owned)| leaving(owned))
            .map(|(at, _)| *at)
    }

    /// What earlier owners knew is here. Returns the numbers of those which are still owned as they were assigned.
    pub(crate) fn is_restored(&mut self, assigned: &[Assignment]) -> HashSet<Partition> {
        let mut numbers = HashSet::new();
        for assignment in assigned {
            let owned = self.owned.get_mut(&assignment.at);
            if let Some(owned) = owned.filter(|owned| owned.epoch == assignment.epoch) {
                owned.ready = true;
                numbers.insert(assignment.at.partition);
            }
        }
        numbers
    }

    /// The handover by which an earlier owner left all that is owned of this number; none if he was killed.
    pub(crate) fn inherited(&self, number: Partition) -> Option<Nonce> {
        let mut of_it = self.owned.iter().filter(|(at, _)| at.partition == number);
        let first = of_it.next()?.1.inherited?;
        of_it
            .all(|(_, owned)| owned.inherited == Some(first))
            .then_some(first)
    }

    /// The numbers of what is owned.
    pub(crate) fn numbers(&self) -> HashSet<Partition> {
        self.owned.keys().map(|at| at.partition).collect()
    }

    /// The numbers of what is owned, is not being handed over, and whose lease lasts: of their endpoints states may be
    /// published.
    pub(crate) fn publishable(&self, committer: &dyn Committer) -> HashSet<Partition> {
        let may =
            |at: TopicPartition, owned: &Owned| owned.handover.is_none() && committer.holds(at);
        let all = self.owned.iter().filter(|(at, owned)| may(**at, owned));
        all.map(|(at, _)| at.partition).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_model::topics;

    #[test]
    fn a_partition_lags_by_age_or_by_span_and_what_is_recent_does_not() {
        const S: Duration = Duration::from_secs(1);
        let at = TopicPartition {
            topic: topics::DELIVERIES_NORMAL,
            partition: 0,
        };
        let (mut partitions, now) = (Partitions::of_a_log(true), Instant::now());
        let assignment = Assignment {
            at,
            epoch: 1,
            committed: Committed::default(),
        };
        partitions.assign(&assignment, now);
        let lagging = |partitions: &Partitions, now| partitions.lagging(now, 60 * S, 1_000);
        for second in 0..60u64 {
            let now = now + S * second as u32;
            (0..10).for_each(|n| assert!(partitions.start(at, second * 10 + n, now)));
            assert!(lagging(&partitions, now).is_empty());
        }
        let old = lagging(&partitions, now + 62 * S)[&at];
        assert_eq!((old.by_age, old.by_span), (30, 0));
        let held_by_attempt = lagging(&partitions, now + 110 * S)[&at];
        assert_eq!(held_by_attempt.by_age, 310, "near the watermark");
        (0..310).for_each(|position| partitions.finish(at, position));
        partitions.progress(at, None);
        assert!(lagging(&partitions, now + 90 * S).is_empty());
        assert!(partitions.start(at, 1_400, now + 61 * S));
        let far = lagging(&partitions, now + 61 * S)[&at];
        assert_eq!((far.by_age, far.by_span), (0, 401));
        assert!(partitions.start(at, 9_000, now + 61 * S));
        let far = lagging(&partitions, now + 61 * S)[&at];
        assert_eq!((far.by_age, far.by_span), (0, 810), "near the watermark");
    }
}
