//! Who owns what, for each group: joined, revoked, lost, handed over. Nothing moves but by a test's order.

use std::collections::{BTreeMap, VecDeque};

use postrider_model::{Group, Topic, TopicPartition};

use crate::Tenure;

/// A member's number: no two of a log have the same.
pub(super) type MemberId = u64;

/// The owner of a partition, for one group.
#[derive(Debug, Clone, Copy)]
struct Owner {
    member: MemberId,
    epoch: u64,
    /// It is to be given up, and nothing of it is read any more.
    revoked: bool,
    /// The lease lasts.
    lease: bool,
}

/// A member of a group.
#[derive(Debug, Clone)]
struct Member {
    group: Group,
    topics: Vec<Topic>,
    /// Its reader is there.
    reading: bool,
    /// What its reader is to be told next.
    news: VecDeque<News>,
}

/// What a reader is told of its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// Yours from now on, each with its epoch.
    Given(Vec<(TopicPartition, u64)>),
    /// To be given up.
    Revoked(Vec<TopicPartition>),
    /// No longer yours.
    Lost(Vec<TopicPartition>),
}

/// All members of all groups.
#[derive(Debug, Clone, Default)]
pub(super) struct Members {
    owners: BTreeMap<(Group, TopicPartition), Owner>,
    members: BTreeMap<MemberId, Member>,
    /// Groups that take further members.
    shared: Vec<Group>,
    last: u64,
}

impl Members {
    /// From now on further members may join, and wait for what others give up.
    pub(super) fn share(&mut self, group: Group) {
        self.shared.push(group);
    }

    /// A new member takes those of `partitions` that nobody reads. `Err` names one that somebody does, where the group
    /// takes no further members.
    pub(super) fn join(
        &mut self,
        group: Group,
        topics: Vec<Topic>,
        partitions: &[TopicPartition],
    ) -> Result<MemberId, TopicPartition> {
        let taken = |at: &&TopicPartition| self.is_read(group, **at);
        let read = partitions.iter().find(taken).copied();
        if let Some(at) = read.filter(|_| !self.shared.contains(&group)) {
            return Err(at);
        }
        let free = partitions.iter().copied();
        let free = free.filter(|at| !self.is_read(group, *at)).collect();
        self.last += 1;
        let member = self.last;
        let joined = Member {
            group,
            topics,
            reading: true,
            news: VecDeque::new(),
        };
        self.members.insert(member, joined);
        self.give(group, member, free);
        Ok(member)
    }

    fn is_read(&self, group: Group, at: TopicPartition) -> bool {
        let owner = self.owners.get(&(group, at));
        owner
            .and_then(|owner| self.members.get(&owner.member))
            .is_some_and(|member| member.reading)
    }

    fn give(&mut self, group: Group, to: MemberId, partitions: Vec<TopicPartition>) {
        if partitions.is_empty() {
            return;
        }
        self.last += 1;
        let epoch = self.last;
        for at in &partitions {
            let owner = Owner {
                member: to,
                epoch,
                revoked: false,
                lease: true,
            };
            self.owners.insert((group, *at), owner);
        }
        let given = partitions.into_iter().map(|at| (at, epoch)).collect();
        self.tell(to, News::Given(given));
    }

    fn tell(&mut self, member: MemberId, news: News) {
        if let Some(member) = self.members.get_mut(&member) {
            member.news.push_back(news);
        }
    }

    /// What a reader is told next.
    pub(super) fn news(&mut self, member: MemberId) -> Option<News> {
        self.members.get_mut(&member)?.news.pop_front()
    }

    /// The owner of these is to give them up.
    pub(super) fn revoke(&mut self, group: Group, partitions: &[TopicPartition]) {
        let mut told: BTreeMap<MemberId, Vec<TopicPartition>> = BTreeMap::new();
        for at in partitions {
            if let Some(owner) = self.owners.get_mut(&(group, *at)) {
                owner.revoked = true;
                told.entry(owner.member).or_default().push(*at);
            }
        }
        for (member, partitions) in told {
            self.tell(member, News::Revoked(partitions));
        }
    }

    /// The owner of these has lost them, and hears of it. They go to another member at once, if there is one.
    pub(super) fn lose(&mut self, group: Group, partitions: &[TopicPartition]) {
        let mut told: BTreeMap<MemberId, Vec<TopicPartition>> = BTreeMap::new();
        for at in partitions {
            if let Some(owner) = self.owners.remove(&(group, *at)) {
                told.entry(owner.member).or_default().push(*at);
            }
        }
        for (member, partitions) in told {
            self.tell(member, News::Lost(partitions.clone()));
            self.pass_on(group, member, &partitions);
        }
    }

    /// `member` gives these up, as far as it owns them. They go to another member, if there is one.
    pub(super) fn release(&mut self, member: MemberId, partitions: &[Tenure]) {
        let Some(group) = self.members.get(&member).map(|member| member.group) else {
            return;
        };
        let owned = partitions
            .iter()
            .filter(|one| self.may_finish(member, **one));
        let owned: Vec<_> = owned.map(|one| one.at).collect();
        for at in &owned {
            self.owners.remove(&(group, *at));
        }
        self.pass_on(group, member, &owned);
    }

    fn pass_on(&mut self, group: Group, from: MemberId, partitions: &[TopicPartition]) {
        let mut given: BTreeMap<MemberId, Vec<TopicPartition>> = BTreeMap::new();
        for at in partitions {
            let wants = |(id, member): &(&MemberId, &Member)| {
                **id != from
                    && member.reading
                    && member.group == group
                    && member.topics.contains(&at.topic)
            };
            if let Some((to, _)) = self.members.iter().find(wants) {
                given.entry(*to).or_default().push(*at);
            }
        }
        for (to, partitions) in given {
            self.give(group, to, partitions);
        }
    }

    /// Gives what nobody owns to a member that reads the topic.
    pub(super) fn assign(&mut self, group: Group, partitions: &[TopicPartition]) {
        let free = |at: &TopicPartition| !self.owners.contains_key(&(group, *at));
        let free: Vec<_> = partitions.iter().copied().filter(free).collect();
        self.pass_on(group, 0, &free);
    }

    /// The leases of these last, or do not, whoever owns them.
    pub(super) fn set_leases(&mut self, group: Group, partitions: &[TopicPartition], last: bool) {
        for at in partitions {
            if let Some(owner) = self.owners.get_mut(&(group, *at)) {
                owner.lease = last;
            }
        }
    }

    /// The reader is gone. Its committer may still finish, until another member takes over.
    pub(super) fn leave(&mut self, member: MemberId) {
        if let Some(member) = self.members.get_mut(&member) {
            member.reading = false;
        }
    }

    fn owns(&self, member: MemberId, at: TopicPartition) -> Option<&Owner> {
        let group = self.members.get(&member)?.group;
        let owner = self.owners.get(&(group, at))?;
        (owner.member == member).then_some(owner)
    }

    /// True if `member` may finish records that it read under this assignment.
    pub(super) fn may_finish(&self, member: MemberId, tenure: Tenure) -> bool {
        let owner = self.owns(member, tenure.at);
        owner.is_some_and(|owner| owner.epoch == tenure.epoch)
    }

    /// True if `member` may read this partition.
    pub(super) fn may_read(&self, member: MemberId, at: TopicPartition, epoch: u64) -> bool {
        let owner = self.owns(member, at);
        owner.is_some_and(|owner| !owner.revoked && owner.epoch == epoch)
    }

    /// True if `member` owns this partition and its lease lasts.
    pub(super) fn holds(&self, member: MemberId, at: TopicPartition) -> bool {
        self.owns(member, at).is_some_and(|owner| owner.lease)
    }
}
