//! What a [`super::MemoryLog`] holds, and each change to it.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use postrider_model::topics::{Keep, TopicSpec};
use postrider_model::{Group, NewRecord, Position, Record, Timestamp, Topic, TopicPartition};

use crate::{Assignment, Committed, Lag, LogError, Progress, Purpose, Subscription};

/// The state of a topic.
#[derive(Clone)]
struct TopicState {
    keep: Keep,
    /// The position of the next record. Never goes back, whatever is trimmed.
    next: Position,
    /// Everything below was trimmed.
    first: Position,
    last_appended_at: Timestamp,
    records: BTreeMap<Position, Record>,
    /// In a compacted topic, where the newest of each key lies. Removed keys stay, for the followers' sake.
    newest: BTreeMap<Bytes, Position>,
}

/// Who reads a topic for a group.
#[derive(Clone, Copy)]
struct Member {
    epoch: u64,
    reading: bool,
}

/// Everything, behind one lock.
#[derive(Clone)]
pub(super) struct State {
    topics: BTreeMap<Topic, TopicState>,
    committed: BTreeMap<(Group, Topic), Committed>,
    members: BTreeMap<(Group, Topic), Member>,
    epoch: u64,
    failures: Vec<(Purpose, LogError)>,
    stopped: bool,
}

pub(super) fn stopped() -> LogError {
    LogError::Stopped("it was closed".to_owned())
}

fn at(topic: Topic) -> TopicPartition {
    TopicPartition {
        topic,
        partition: 0,
    }
}

impl State {
    pub(super) fn new(specs: &[TopicSpec]) -> Self {
        let topics = specs
            .iter()
            .map(|spec| {
                let state = TopicState {
                    keep: spec.keep,
                    next: 0,
                    first: 0,
                    last_appended_at: Timestamp::default(),
                    records: BTreeMap::new(),
                    newest: BTreeMap::new(),
                };
                (spec.topic, state)
            })
            .collect();
        Self {
            topics,
            committed: BTreeMap::new(),
            members: BTreeMap::new(),
            epoch: 0,
            failures: Vec::new(),
            stopped: false,
        }
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
        next.members.clear();
        next.failures.clear();
        next.stopped = false;
        self.stopped = true;
        next
    }

    pub(super) fn fail(&mut self, purpose: Purpose, error: LogError) {
        self.failures.retain(|(of, _)| *of != purpose);
        self.failures.push((purpose, error));
    }

    pub(super) fn recover(&mut self) {
        self.failures.clear();
    }

    fn topic(&self, topic: Topic) -> Result<&TopicState, LogError> {
        self.topics
            .get(&topic)
            .ok_or(LogError::NoSuchTopic(topic.0))
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
        records
            .iter()
            .try_for_each(|record| self.topic(record.topic).map(drop))
    }

    /// None only for a topic that is not there, which [`Self::check_append`] has ruled out.
    fn append_one(
        &mut self,
        record: NewRecord,
        now: Timestamp,
    ) -> Option<(TopicPartition, Position)> {
        let topic = self.topics.get_mut(&record.topic)?;
        let at = at(record.topic);
        let position = topic.next;
        topic.next += 1;
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
        self.append(outputs, purpose, now)?;
        for progress in finished {
            let topic = progress.at.topic;
            let committed = self.committed.entry((group, topic)).or_default();
            if progress.committed.next >= committed.next {
                *committed = progress.committed;
            }
            self.trim_finished(topic);
        }
        Ok(())
    }

    fn trim_finished(&mut self, name: Topic) {
        let committed = &self.committed;
        let Some(topic) = self.topics.get_mut(&name) else {
            return;
        };
        if let Keep::UntilFinished(groups) = topic.keep {
            let of = |group: &Group| committed.get(&(*group, name)).map_or(0, |c| c.next);
            topic.trim_below(groups.iter().map(of).min().unwrap_or(0));
        }
    }

    /// Makes the caller the only member of its group for these topics.
    pub(super) fn join(
        &mut self,
        subscription: &Subscription,
    ) -> Result<Vec<Assignment>, LogError> {
        let group = subscription.group;
        for weighted in &subscription.topics {
            self.topic(weighted.topic)?;
            let member = self.members.get(&(group, weighted.topic));
            if member.is_some_and(|member| member.reading) {
                let topic = weighted.topic;
                return Err(LogError::Stopped(format!(
                    "group {group} has a reader of {topic} in this process already"
                )));
            }
        }
        self.epoch += 1;
        let epoch = self.epoch;
        let assigned = subscription.topics.iter().map(|weighted| {
            let reading = true;
            let member = Member { epoch, reading };
            self.members.insert((group, weighted.topic), member);
            let of = (group, weighted.topic);
            let committed = self.committed.get(&of).cloned().unwrap_or_default();
            let at = at(weighted.topic);
            Assignment {
                at,
                committed,
                epoch,
            }
        });
        Ok(assigned.collect())
    }

    /// The reader is gone. Its committer may still finish, until another member joins.
    pub(super) fn leave(&mut self, group: Group, topic: Topic, epoch: u64) {
        if let Some(member) = self.members.get_mut(&(group, topic))
            && member.epoch == epoch
        {
            member.reading = false;
        }
    }

    pub(super) fn release(&mut self, group: Group, topic: Topic, epoch: u64) {
        if self.holds(group, topic, epoch) {
            self.members.remove(&(group, topic));
        }
    }

    pub(super) fn holds(&self, group: Group, topic: Topic, epoch: u64) -> bool {
        let member = self.members.get(&(group, topic));
        !self.stopped && member.is_some_and(|member| member.epoch == epoch)
    }

    pub(super) fn committed(&self, group: Group, topic: Topic) -> Committed {
        let of = (group, topic);
        self.committed.get(&of).cloned().unwrap_or_default()
    }

    pub(super) fn has_committed(&self, group: Group, topic: Topic) -> bool {
        self.committed.contains_key(&(group, topic))
    }

    /// The first position that was not trimmed.
    pub(super) fn first(&self, topic: Topic) -> Position {
        self.topics.get(&topic).map_or(0, |topic| topic.first)
    }

    pub(super) fn end(&self, topic: Topic) -> Result<Position, LogError> {
        self.check_open()?;
        Ok(self.topic(topic)?.next)
    }

    pub(super) fn end_of_compacted(&self, topic: Topic) -> Result<Position, LogError> {
        self.check_open()?;
        match self.topic(topic)? {
            found if matches!(found.keep, Keep::Newest) => Ok(found.next),
            _ => Err(LogError::NoSuchTopic(topic.0)),
        }
    }

    pub(super) fn records(&self, topic: Topic) -> Vec<Record> {
        self.from(topic, 0).cloned().collect()
    }

    /// What lies in a topic from a position on.
    pub(super) fn from(&self, topic: Topic, from: Position) -> impl Iterator<Item = &Record> {
        self.topics
            .get(&topic)
            .into_iter()
            .flat_map(move |topic| {
                topic
                    .records
                    .range((Bound::Included(from), Bound::Unbounded))
            })
            .map(|(_, record)| record)
    }

    pub(super) fn lags(&self, now: Timestamp) -> Result<Vec<Lag>, LogError> {
        self.check_open()?;
        let mut lags = Vec::new();
        for (name, topic) in &self.topics {
            let declared = match topic.keep {
                Keep::UntilFinished(groups) => groups,
                Keep::Newest | Keep::For(_) => &[],
            };
            let committed = self.committed.keys().filter(|(_, of)| of == name);
            let others = committed.map(|(group, _)| *group);
            let mut groups: Vec<Group> = declared.iter().copied().chain(others).collect();
            groups.sort_unstable();
            groups.dedup();
            lags.extend(groups.iter().map(|group| self.lag(*group, *name, now)));
        }
        Ok(lags)
    }

    fn lag(&self, group: Group, topic: Topic, now: Timestamp) -> Lag {
        let watermark = self.committed(group, topic).next;
        let mut unfinished = self.from(topic, watermark);
        let oldest = unfinished.next();
        let oldest_age = oldest.map_or_else(Default::default, |r| now.since(r.appended_at));
        let records = u64::from(oldest.is_some()) + unfinished.count() as u64;
        let at = at(topic);
        Lag {
            at,
            group,
            records,
            oldest_age,
        }
    }
}

impl TopicState {
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
