//! What a [`super::MemoryLog`] holds, and each change to it.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use postrider_model::topics::{Keep, TopicSpec};
use postrider_model::{
    Group, NewRecord, Partition, Position, Record, Timestamp, Topic, TopicPartition,
};

use super::members::{MemberId, Members};
use crate::{BatchLimit, Committed, Lag, LogError, Progress, Purpose, Subscription, Tenure};

/// The state of a partition.
#[derive(Clone)]
struct PartitionState {
    keep: Keep,
    /// The position of the next record. Never goes back, whatever is trimmed.
    next: Position,
    /// Everything below was trimmed.
    first: Position,
    last_appended_at: Timestamp,
    records: BTreeMap<Position, Record>,
    /// In a compacted one, where the newest of each key lies. Removed keys stay, for the followers' sake.
    newest: BTreeMap<Bytes, Position>,
}

/// Everything, behind one lock.
#[derive(Clone)]
pub(super) struct State {
    partitions: BTreeMap<TopicPartition, PartitionState>,
    committed: BTreeMap<(Group, TopicPartition), Committed>,
    pub(super) members: Members,
    failures: Vec<(Purpose, LogError)>,
    /// The most bytes that are written at once.
    most: usize,
    steps: Steps,
    synced: bool,
    stopped: bool,
}

/// How outputs and positions of a completion come about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Steps {
    /// At once.
    One,
    /// One after the other.
    Two,
    /// One after the other, and the log stops in between.
    Crash,
}

pub(super) fn stopped() -> LogError {
    LogError::Stopped("it was closed".to_owned())
}

/// The first partition of a topic, and the last that any can have.
fn bounds(topic: Topic) -> std::ops::RangeInclusive<TopicPartition> {
    let at = |partition| TopicPartition { topic, partition };
    at(Partition::MIN)..=at(Partition::MAX)
}

impl State {
    /// Empty topics. `parts` says how many partitions each has; compacted ones have one.
    pub(super) fn new(specs: &[TopicSpec], parts: impl Fn(Topic) -> Partition) -> Self {
        let partitions_of = |spec: &TopicSpec| {
            let (topic, keep) = (spec.topic, spec.keep);
            let count = match keep {
                Keep::Newest => 1,
                Keep::UntilFinished(_) | Keep::For(_) => parts(topic).max(1),
            };
            (0..count).map(move |partition| {
                let at = TopicPartition { topic, partition };
                (at, PartitionState::new(keep))
            })
        };
        Self {
            partitions: specs.iter().flat_map(partitions_of).collect(),
            committed: BTreeMap::new(),
            members: Members::default(),
            failures: Vec::new(),
            most: usize::MAX,
            steps: Steps::One,
            synced: true,
            stopped: false,
        }
    }

    pub(super) fn set_two_steps(&mut self) {
        self.steps = Steps::Two;
    }

    pub(super) fn set_crash(&mut self) {
        self.steps = Steps::Crash;
    }

    pub(super) fn is_in_two_steps(&self) -> bool {
        self.steps != Steps::One
    }

    pub(super) fn is_synced(&self) -> bool {
        self.synced
    }

    pub(super) fn sync(&mut self) {
        self.synced = true;
    }

    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    pub(super) fn check_open(&self) -> Result<(), LogError> {
        if self.stopped {
            return Err(stopped());
        }
        Ok(())
    }

    pub(super) fn take_for_restart(&mut self) -> Self {
        let mut next = self.clone();
        next.members = Members::default();
        next.recover();
        if next.steps == Steps::Crash {
            next.steps = Steps::Two;
        }
        next.stopped = false;
        self.stopped = true;
        next
    }

    pub(super) fn fail(&mut self, purpose: Purpose, error: LogError) {
        self.failures.retain(|(of, _)| *of != purpose);
        self.failures.push((purpose, error));
    }

    pub(super) fn refuse_beyond(&mut self, bytes: usize) {
        self.most = bytes;
    }

    pub(super) fn recover(&mut self) {
        self.failures.clear();
        self.most = usize::MAX;
    }

    /// The partitions of a topic.
    pub(super) fn partitions(&self, topic: Topic) -> Result<Vec<TopicPartition>, LogError> {
        let all: Vec<_> = self.of_topic(topic).map(|(at, _)| *at).collect();
        if all.is_empty() {
            return Err(LogError::NoSuchTopic(topic.0));
        }
        Ok(all)
    }

    fn of_topic(&self, topic: Topic) -> impl Iterator<Item = (&TopicPartition, &PartitionState)> {
        self.partitions.range(bounds(topic))
    }

    /// Where records with this key lie; partition 0 of a topic that is not there.
    pub(super) fn partition_of(&self, topic: Topic, key: &[u8]) -> TopicPartition {
        // FNV-1a: any hash will do that is the same in each run.
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        let hash = key.iter().fold(0xcbf2_9ce4_8422_2325, step);
        let count = self.of_topic(topic).count().max(1) as u64;
        let partition = Partition::try_from(hash % count).unwrap_or(0);
        TopicPartition { topic, partition }
    }

    pub(super) fn append(
        &mut self,
        records: Vec<NewRecord>,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<Vec<(TopicPartition, Position)>, LogError> {
        self.check_append(&records, purpose)?;
        Ok(records
            .into_iter()
            .filter_map(|record| self.append_one(record, now))
            .collect())
    }

    fn check_append(&self, records: &[NewRecord], purpose: Purpose) -> Result<(), LogError> {
        let failure = self.failures.iter().find(|(of, _)| *of == purpose);
        if let (Some((_, error)), false) = (failure, records.is_empty()) {
            return Err(error.clone());
        }
        if records.iter().map(NewRecord::size).sum::<usize>() > self.most {
            let why = format!("{} bytes are left", self.most);
            return Err(LogError::Full(why));
        }
        records
            .iter()
            .try_for_each(|record| self.partitions(record.topic).map(drop))
    }

    /// None only for a topic that is not there, which [`Self::check_append`] has ruled out.
    fn append_one(
        &mut self,
        record: NewRecord,
        now: Timestamp,
    ) -> Option<(TopicPartition, Position)> {
        let at = self.partition_of(record.topic, &record.key);
        let topic = self.partitions.get_mut(&at)?;
        let position = topic.next;
        topic.next += 1;
        self.synced = false;
        topic.last_appended_at = topic.last_appended_at.max(now);
        if matches!(topic.keep, Keep::Newest)
            && let Some(old) = topic.newest.insert(record.key.clone(), position)
        {
            topic.records.remove(&old);
        }
        let record = Record {
            at,
            position,
            appended_at: topic.last_appended_at,
            key: record.key,
            headers: record.headers,
            value: record.value,
        };
        topic.records.insert(position, record);
        if let Keep::For(age) = topic.keep {
            topic.trim_older_than(now.minus(age));
        }
        Some((at, position))
    }

    /// Outputs and positions, or neither.
    pub(super) fn complete(
        &mut self,
        group: Group,
        finished: Vec<Progress>,
        outputs: Vec<NewRecord>,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<(), LogError> {
        let written = !outputs.is_empty();
        self.append(outputs, purpose, now)?;
        if written && self.steps == Steps::Crash {
            self.stop();
            return Err(stopped());
        }
        for progress in finished {
            let committed = self.committed.entry((group, progress.at)).or_default();
            if progress.committed.next >= committed.next {
                *committed = progress.committed;
            }
            self.trim_finished(progress.at);
        }
        Ok(())
    }

    fn trim_finished(&mut self, at: TopicPartition) {
        let committed = &self.committed;
        let Some(partition) = self.partitions.get_mut(&at) else {
            return;
        };
        if let Keep::UntilFinished(groups) = partition.keep {
            let of = |group: &Group| committed.get(&(*group, at)).map_or(0, |c| c.next);
            partition.trim_below(groups.iter().map(of).min().unwrap_or(0));
        }
    }

    /// The caller becomes a member of its group, and owns what nobody reads of these topics.
    pub(super) fn join(&mut self, subscription: &Subscription) -> Result<MemberId, LogError> {
        let group = subscription.group;
        let topics: Vec<Topic> = subscription.topics.iter().map(|of| of.topic).collect();
        let mut partitions = Vec::new();
        for topic in &topics {
            partitions.extend(self.partitions(*topic)?);
        }
        let joined = self.members.join(group, topics, &partitions);
        joined.map_err(|at| {
            let topic = at.topic;
            LogError::Stopped(format!(
                "group {group} has a reader of {topic} in this process already"
            ))
        })
    }

    pub(super) fn may_finish(&self, member: MemberId, tenure: Tenure) -> bool {
        !self.stopped && self.members.may_finish(member, tenure)
    }

    pub(super) fn holds(&self, member: MemberId, at: TopicPartition) -> bool {
        !self.stopped && self.members.holds(member, at)
    }

    pub(super) fn committed(&self, group: Group, at: TopicPartition) -> Committed {
        let of = (group, at);
        self.committed.get(&of).cloned().unwrap_or_default()
    }

    pub(super) fn has_committed(&self, group: Group, at: TopicPartition) -> bool {
        self.committed.contains_key(&(group, at))
    }

    /// The first position that was not trimmed.
    pub(super) fn first(&self, at: TopicPartition) -> Position {
        self.partitions.get(&at).map_or(0, |found| found.first)
    }

    pub(super) fn ends(&self, topic: Topic) -> Result<Vec<(Partition, Position)>, LogError> {
        self.check_open()?;
        self.partitions(topic)?;
        let ends = self.of_topic(topic);
        Ok(ends.map(|(at, found)| (at.partition, found.next)).collect())
    }

    pub(super) fn end_of_compacted(&self, topic: Topic) -> Result<Position, LogError> {
        self.check_open()?;
        match self.of_topic(topic).next() {
            Some((_, found)) if matches!(found.keep, Keep::Newest) => Ok(found.next),
            _ => Err(LogError::NoSuchTopic(topic.0)),
        }
    }

    pub(super) fn records(&self, topic: Topic) -> Vec<Record> {
        let all = self.of_topic(topic).flat_map(|(_, of)| of.records.values());
        all.cloned().collect()
    }

    /// What lies in a partition from a position on.
    pub(super) fn from(&self, at: TopicPartition, from: Position) -> impl Iterator<Item = &Record> {
        let partition = self.partitions.get(&at).into_iter();
        let bounds = (Bound::Included(from), Bound::Unbounded);
        let records = partition.flat_map(move |found| found.records.range(bounds));
        records.map(|(_, record)| record)
    }

    pub(super) fn read(
        &self,
        at: TopicPartition,
        from: Position,
        limit: BatchLimit,
    ) -> Result<Vec<Record>, LogError> {
        self.check_open()?;
        match self.partitions.get(&at) {
            None => return Err(LogError::NoSuchTopic(at.topic.0)),
            Some(found) if matches!(found.keep, Keep::Newest) => {
                return Err(LogError::NoSuchTopic(at.topic.0));
            }
            Some(_) => {}
        }
        let mut bytes = 0;
        let within = |record: &&Record| {
            let first = bytes == 0;
            bytes += record.size().max(1);
            first || bytes <= limit.bytes
        };
        let records = self.from(at, from).take(limit.records);
        Ok(records.take_while(within).cloned().collect())
    }

    pub(super) fn lags(&self, now: Timestamp) -> Result<Vec<Lag>, LogError> {
        self.check_open()?;
        let mut lags = Vec::new();
        for (at, partition) in &self.partitions {
            let declared = match partition.keep {
                Keep::UntilFinished(groups) => groups,
                Keep::Newest | Keep::For(_) => &[],
            };
            let committed = self.committed.keys().filter(|(_, of)| of == at);
            let others = committed.map(|(group, _)| *group);
            let mut groups: Vec<Group> = declared.iter().copied().chain(others).collect();
            groups.sort_unstable();
            groups.dedup();
            lags.extend(groups.iter().map(|group| self.lag(*group, *at, now)));
        }
        Ok(lags)
    }

    fn lag(&self, group: Group, at: TopicPartition, now: Timestamp) -> Lag {
        let watermark = self.committed(group, at).next;
        let mut unfinished = self.from(at, watermark);
        let oldest = unfinished.next();
        let oldest_age = oldest.map_or_else(Default::default, |r| now.since(r.appended_at));
        let records = u64::from(oldest.is_some()) + unfinished.count() as u64;
        Lag {
            at,
            group,
            records,
            oldest_age,
        }
    }
}

impl PartitionState {
    fn new(keep: Keep) -> Self {
        Self {
            keep,
            next: 0,
            first: 0,
            last_appended_at: Timestamp::default(),
            records: BTreeMap::new(),
            newest: BTreeMap::new(),
        }
    }

    fn trim_below(&mut self, position: Position) {
        if position > self.first {
            self.records = self.records.split_off(&position);
            self.first = position.min(self.next);
        }
    }

    fn trim_older_than(&mut self, at: Timestamp) {
        let young = self.records.iter().find(|(_, r)| r.appended_at >= at);
        let first = young.map_or(self.next, |(position, _)| *position);
        self.trim_below(first);
    }
}
