//! What is volatile and shared: the end of each topic, and how far each group is. Behind one lock, held for moments.

use std::sync::Arc;

use postrider_log::{Assignment, Committed, Group, Keep, LogError, Position, Record, Subscription};
use postrider_model::TopicPartition;
use tokio::sync::Notify;

use crate::catalog::Catalog;
use crate::schema::{StoredProgress, TopicEnds};
use crate::tail::{Place, Tail};

/// One group's progress in one topic.
pub(crate) struct GroupState {
    pub(crate) name: String,
    /// None if it never committed.
    pub(crate) committed: Option<Committed>,
    /// Of the member that reads for it, or did last; 0 if none has.
    epoch: u64,
    reading: bool,
    /// The group's name, from the last member.
    member: Option<Group>,
}

impl GroupState {
    fn new(name: String, committed: Option<Committed>) -> Self {
        Self {
            name,
            committed,
            epoch: 0,
            reading: false,
            member: None,
        }
    }

    /// Its name as the program knows it, if it is declared, has a member or had one in this process.
    pub(crate) fn known(&self, declared: &[Group]) -> Option<Group> {
        let of = |group: &&Group| group.0 == self.name;
        declared
            .iter()
            .find(of)
            .copied()
            .or(self.member.filter(|_| self.committed.is_some()))
    }

    pub(crate) fn watermark(&self) -> Position {
        self.committed
            .as_ref()
            .map_or(0, |committed| committed.next)
    }
}

/// One topic.
pub(crate) struct TopicState {
    pub(crate) tail: Tail,
    pub(crate) groups: Vec<GroupState>,
}

impl TopicState {
    pub(crate) fn group(&self, name: &str) -> Option<&GroupState> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// The group's index. Groups are few and never removed.
    fn join(&mut self, name: Group) -> usize {
        let found = self.groups.iter().position(|group| group.name == name.0);
        found.unwrap_or_else(|| {
            self.groups.push(GroupState::new(name.0.to_owned(), None));
            self.groups.len() - 1
        })
    }
}

/// A member's place in one topic.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    pub(crate) topic: usize,
    pub(crate) group: usize,
    /// Where reading begins.
    pub(crate) from: Position,
    pub(crate) assignment: Assignment,
}

/// Everything volatile.
pub(crate) struct State {
    pub(crate) topics: Vec<TopicState>,
    /// Bytes that the tails may hold together.
    tail_bytes: usize,
    next_epoch: u64,
    stopped: Option<String>,
}

impl State {
    pub(crate) fn new(
        catalog: &Catalog,
        ends: &[TopicEnds],
        progress: Vec<StoredProgress>,
        tail_bytes: usize,
    ) -> Self {
        let mut topics: Vec<TopicState> = ends
            .iter()
            .map(|ends| TopicState {
                tail: Tail::new(ends),
                groups: Vec::new(),
            })
            .collect();
        for (topic, spec) in topics.iter_mut().zip(catalog.specs()) {
            if let Keep::UntilFinished(groups) = spec.keep {
                let fresh = |group: &Group| GroupState::new(group.0.to_owned(), None);
                topic.groups.extend(groups.iter().map(fresh));
            }
        }
        for stored in progress {
            // A topic that is not declared any more keeps what it has in the file.
            let Some(topic) = catalog.index_of(&stored.topic) else {
                continue;
            };
            let committed = Some(Committed {
                next: stored.next,
                metadata: stored.metadata,
            });
            let groups = &mut topics[topic].groups;
            match groups.iter_mut().find(|group| group.name == stored.group) {
                Some(group) => group.committed = committed,
                None => groups.push(GroupState::new(stored.group, committed)),
            }
        }
        Self {
            topics,
            tail_bytes,
            next_epoch: 1,
            stopped: None,
        }
    }

    pub(crate) fn check_open(&self) -> Result<(), LogError> {
        match &self.stopped {
            Some(reason) => Err(LogError::Stopped(reason.clone())),
            None => Ok(()),
        }
    }

    /// The first reason stays.
    pub(crate) fn stop(&mut self, reason: &str) {
        self.stopped.get_or_insert_with(|| reason.to_owned());
    }

    /// Makes a new member the one reader of its group for these topics.
    pub(crate) fn join(
        &mut self,
        subscription: &Subscription,
        catalog: &Catalog,
        notify: &Arc<Notify>,
    ) -> Result<Vec<Seat>, LogError> {
        let name = subscription.group;
        let mut topics = Vec::with_capacity(subscription.topics.len());
        for weighted in &subscription.topics {
            let index = catalog.resolve(weighted.topic)?;
            if self.topics[index]
                .group(name.0)
                .is_some_and(|group| group.reading)
            {
                return Err(LogError::Stopped(format!(
                    "group {name} has a reader of {} already: drop that one first",
                    weighted.topic
                )));
            }
            topics.push(index);
        }
        let epoch = self.next_epoch;
        self.next_epoch += 1;
        let seats = topics.into_iter().map(|index| {
            let topic = &mut self.topics[index];
            let group = topic.join(name);
            let member = &mut topic.groups[group];
            (member.epoch, member.reading) = (epoch, true);
            member.member = Some(name);
            // A group that never committed begins where the topic does: for it, nothing was lost.
            let from = match &member.committed {
                Some(committed) => committed.next,
                None => topic.tail.first(),
            };
            let committed = member.committed.clone().unwrap_or_default();
            topic.tail.listen(epoch, from, Arc::clone(notify));
            let at = catalog.at(index);
            Seat {
                topic: index,
                group,
                from,
                assignment: Assignment {
                    at,
                    committed,
                    epoch,
                },
            }
        });
        Ok(seats.collect())
    }

    /// The reader is gone. Its committer may still finish, until another member joins.
    pub(crate) fn leave(&mut self, seat: &Seat) {
        let topic = &mut self.topics[seat.topic];
        topic.tail.leave(seat.assignment.epoch);
        let group = &mut topic.groups[seat.group];
        if group.epoch == seat.assignment.epoch {
            group.reading = false;
        }
    }

    /// Gives a seat up altogether.
    pub(crate) fn release(&mut self, seat: &Seat) {
        self.leave(seat);
        let group = &mut self.topics[seat.topic].groups[seat.group];
        if group.epoch == seat.assignment.epoch {
            group.epoch = 0;
        }
    }

    pub(crate) fn holds(&self, seat: &Seat) -> bool {
        let group = &self.topics[seat.topic].groups[seat.group];
        self.stopped.is_none() && group.epoch == seat.assignment.epoch
    }

    /// Adds a listener without a group.
    pub(crate) fn follow(&mut self, topic: usize, notify: Arc<Notify>) -> (u64, Position) {
        let id = self.next_epoch;
        self.next_epoch += 1;
        let tail = &mut self.topics[topic].tail;
        let visible = tail.visible();
        tail.listen(id, visible, notify);
        (id, visible)
    }

    /// Fails once for a position that was trimmed; reading goes on at the first that is there.
    pub(crate) fn check_trimmed(
        &self,
        topic: usize,
        at: TopicPartition,
        next: &mut Position,
    ) -> Result<(), LogError> {
        let first = self.topics[topic].tail.first();
        if *next >= first {
            return Ok(());
        }
        let asked = std::mem::replace(next, first);
        Err(LogError::Trimmed { at, asked, first })
    }

    pub(crate) fn place(&self, topic: usize, at: Position) -> Place {
        self.topics[topic].tail.place(at)
    }

    /// Adds records that were committed, in order.
    pub(crate) fn push(&mut self, topic: usize, record: Record) {
        self.topics[topic].tail.push(record);
    }

    /// Everything up to this commit is synced.
    pub(crate) fn synced(&mut self, commit: u64, wake: &mut Vec<Arc<Notify>>) {
        for topic in &mut self.topics {
            if topic.tail.synced(commit) {
                topic.tail.listeners(wake);
            }
        }
    }

    /// Everybody who reads.
    pub(crate) fn everybody(&self, wake: &mut Vec<Arc<Notify>>) {
        self.topics
            .iter()
            .for_each(|topic| topic.tail.listeners(wake));
    }

    /// Moves a group's watermark on; a lower one than before is ignored.
    pub(crate) fn finish(&mut self, topic: usize, group: usize, committed: Committed) {
        let group = &mut self.topics[topic].groups[group];
        if committed.next >= group.watermark() {
            group.committed = Some(committed);
        }
    }

    /// Everything below is finished by each of these groups.
    pub(crate) fn floor(&self, topic: usize, groups: &[Group]) -> Position {
        let topic = &self.topics[topic];
        let watermark = |group: &Group| topic.group(group.0).map_or(0, GroupState::watermark);
        let floor = groups.iter().map(watermark).min().unwrap_or(0);
        floor.min(topic.tail.end())
    }

    /// Drops from the largest tail what is beyond the bound. Returns what the tails hold.
    pub(crate) fn bound_tails(&mut self) -> usize {
        loop {
            let held: usize = self.topics.iter().map(|topic| topic.tail.bytes()).sum();
            if held <= self.tail_bytes {
                return held;
            }
            if let Some(largest) = self
                .topics
                .iter_mut()
                .max_by_key(|topic| topic.tail.bytes())
            {
                largest.tail.evict(held - self.tail_bytes);
            }
        }
    }
}
