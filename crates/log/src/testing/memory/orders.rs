//! What tests order of the groups: who owns what, and whose leases last.

use postrider_model::{Group, Topic, TopicPartition};

use super::MemoryLog;

impl MemoryLog {
    /// From now on further members may join `group`. Each takes what nobody reads, and waits for what others give up.
    pub fn share(&self, group: Group) {
        self.order(|state| state.members.share(group));
    }

    /// The owner of these is to give them up: its reader returns `Revoking`, and nothing of them any more. Once it has
    /// released them they go to another member, if there is one.
    pub fn revoke(&self, group: Group, partitions: &[TopicPartition]) {
        self.order(|state| state.members.revoke(group, partitions));
    }

    /// The owner of these has lost them: it holds them no longer, its completions are refused, and its reader returns
    /// `Lost`. They go to another member at once, if there is one.
    pub fn lose(&self, group: Group, partitions: &[TopicPartition]) {
        self.order(|state| state.members.lose(group, partitions));
    }

    /// Gives those of these that nobody owns to a member that reads their topic, also to one that had lost them.
    pub fn assign(&self, group: Group, partitions: &[TopicPartition]) {
        self.order(|state| state.members.assign(group, partitions));
    }

    /// The leases of these end, though nobody else owns them yet: as when commits are not acknowledged in time.
    pub fn end_leases(&self, group: Group, partitions: &[TopicPartition]) {
        self.order(|state| state.members.set_leases(group, partitions, false));
    }

    /// The leases of these last again.
    pub fn renew_leases(&self, group: Group, partitions: &[TopicPartition]) {
        self.order(|state| state.members.set_leases(group, partitions, true));
    }

    /// The partitions of a topic; none if there is no such topic.
    pub fn partitions(&self, topic: Topic) -> Vec<TopicPartition> {
        self.shared.state().partitions(topic).unwrap_or_default()
    }

    fn order(&self, change: impl FnOnce(&mut super::State)) {
        change(&mut self.shared.state());
        self.shared.changes.send_replace(());
    }
}
