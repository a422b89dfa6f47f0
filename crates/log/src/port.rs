//! The traits that an adapter implements. Each call is made once a batch, not once a record.

use std::time::Duration;

use async_trait::async_trait;
use postrider_model::topics::TopicSpec;
use postrider_model::{Group, NewRecord, Partition, Position, Record, Topic, TopicPartition};

use crate::LogError;

/// When an append is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Once it would survive loss of power (embedded: an fsync; Kafka: all in-sync replicas).
    Synced,
    /// Once it would survive a kill of the process and everything before it would survive with it. Only for effects
    /// whose cause lies in the log itself.
    Ordered,
}

/// What an append is for, which decides how much of the reserve of disk space may be used for it: each of these keeps
/// something for those that come after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// New work: accepted events, replay. Refused with [`LogError::Full`] below the reserve.
    Intake,
    /// Spreading what was taken in: fan-out, and at first the pump. Refused below half of the reserve, so that events which
    /// wait for it do not hold for ever the space that they wait for.
    Spreading,
    /// What failed or is put aside, written beside the delivery that it stands for until everything before that is finished.
    /// Refused below a quarter of the reserve: who asks still has it in memory, and can have it sent from there.
    Waiting,
    /// What waited and is moved on, which frees as much once it is written. Refused below an eighth of the reserve.
    Moving,
    /// Finishing what is inside: attempts, states, positions. Never refused while anything can be written.
    Pipeline,
}

/// What an adapter can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest record: key, headers and value, in bytes.
    pub record_bytes: usize,
    /// The longest metadata of a commit, in bytes; `None` if unbounded.
    pub metadata_bytes: Option<usize>,
}

/// A topic and how often it is read from, compared with the others of one subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weighted {
    /// The topic.
    pub topic: Topic,
    /// Its share; at least 1.
    pub weight: u32,
}

/// What a reader wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Whose progress is kept.
    pub group: Group,
    /// What to read. Partition n of each is always owned together.
    pub topics: Vec<Weighted>,
    /// How long a record may wait for others, to be read with them: what reads for a store has no use for each at once. A log
    /// that is asked over the network is asked less often for it; one in the process need not heed it.
    pub patience: Duration,
}

impl Subscription {
    /// One topic, each record at once.
    pub fn to(group: Group, topic: Topic) -> Self {
        Self::to_all(group, vec![Weighted { topic, weight: 1 }])
    }

    /// Several topics, each record at once.
    pub fn to_all(group: Group, topics: Vec<Weighted>) -> Self {
        Self {
            group,
            topics,
            patience: Duration::ZERO,
        }
    }
}

/// How much to return at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimit {
    /// Records, at most; at least 1.
    pub records: usize,
    /// Bytes of keys, headers and values, at most; a single larger record is still returned.
    pub bytes: usize,
}

/// What a group had committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Committed {
    /// The watermark: everything below it is finished.
    pub next: Position,
    /// What the group kept with it; ASCII. The worker keeps the map of finished positions above the watermark.
    pub metadata: String,
}

/// A partition that this reader owns from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Which.
    pub at: TopicPartition,
    /// What the group had committed; the default if it never did.
    pub committed: Committed,
    /// Grows with each change of owner; never 0.
    pub epoch: u64,
}

impl Assignment {
    /// Which, under this assignment.
    #[must_use]
    pub fn tenure(&self) -> Tenure {
        Tenure {
            at: self.at,
            epoch: self.epoch,
        }
    }
}

/// A partition under one assignment of it. It may be lost and ours anew before anybody here has heard of the loss; what was
/// in hand from before is not ours to finish or to give up then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenure {
    /// Which.
    pub at: TopicPartition,
    /// Under which [assignment](Assignment::epoch).
    pub epoch: u64,
}

/// What [`Reader::next`] returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Polled {
    /// These are ours from now on. Their records follow, from the watermark on.
    Assigned(Vec<Assignment>),
    /// These are to be given up: finish or drop what is in hand, complete, then [`Committer::release`] them. Reading of
    /// the others goes on meanwhile.
    Revoking(Vec<TopicPartition>),
    /// These are no longer ours: throw the work away.
    Lost(Vec<TopicPartition>),
    /// Records, in order within each partition, each returned once to the group while it owns the partition.
    Records(Vec<Record>),
}

/// How far one partition is finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Which.
    pub at: TopicPartition,
    /// Under which [assignment](Assignment::epoch) it was read. What was read under an earlier one belongs to somebody else,
    /// and is refused as [lost](LogError::Lost) even if the partition is ours again.
    pub epoch: u64,
    /// What to commit.
    pub committed: Committed,
}

impl Progress {
    /// Which, under the assignment under which it was read.
    #[must_use]
    pub fn tenure(&self) -> Tenure {
        Tenure {
            at: self.at,
            epoch: self.epoch,
        }
    }
}

/// Positions and what follows from finishing them, written together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// How far each partition is finished. The watermark must not go back: a lower one than committed before is an
    /// ordinary mistake of timing and is ignored.
    pub finished: Vec<Progress>,
    /// What to append with it.
    pub outputs: Vec<NewRecord>,
    /// When it is acknowledged.
    pub durability: Durability,
    /// What the outputs are for.
    pub purpose: Purpose,
}

/// How far a group is behind in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// Which partition.
    pub at: TopicPartition,
    /// Whose progress.
    pub group: Group,
    /// Records not yet finished (an upper bound: positions may have gaps).
    pub records: u64,
    /// How long the oldest of them has been in the log; zero if there is none.
    pub oldest_age: Duration,
}

/// The log.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// What this log can hold.
    fn limits(&self) -> Limits;

    /// The topics that it was opened with.
    fn topics(&self) -> &[TopicSpec];

    /// Appends `records`, all or none, in this order. Returns the position of each once `durability` is reached.
    async fn append(
        &self,
        records: Vec<NewRecord>,
        durability: Durability,
        purpose: Purpose,
    ) -> Result<Vec<(TopicPartition, Position)>, LogError>;

    /// Returns once everything acknowledged so far would survive loss of power. What was read from the log is synced
    /// before it is told to a store, a client or an operator.
    async fn sync(&self) -> Result<(), LogError>;

    /// Joins a group.
    async fn subscribe(
        &self,
        subscription: Subscription,
    ) -> Result<(Box<dyn Reader>, std::sync::Arc<dyn Committer>), LogError>;

    /// Reads a compacted topic from its beginning, without a group, and goes on with what is written later.
    async fn follow(&self, topic: Topic) -> Result<Box<dyn Follower>, LogError>;

    /// Likewise, but only those keys are needed which lie in `beside` where they are keys of those topics; others may come, too.
    /// A log that places a key alike in all topics with the same number of partitions reads no others.
    async fn follow_beside(
        &self,
        topic: Topic,
        beside: &[TopicPartition],
    ) -> Result<Box<dyn Follower>, LogError> {
        let _ = beside;
        self.follow(topic).await
    }

    /// True if [`Committer::complete`] writes outputs and positions in one commit, so that no crash lies between them.
    /// Where it is false, readers drop what they finished lately ([`crate::Lately`]).
    fn completes_at_once(&self) -> bool {
        true
    }

    /// What lies in a partition of a topic that is not compacted, from `from` on, without a group and without waiting: at
    /// most `limit`, and nothing only if nothing lies there at present. For operators; the pipeline reads by group.
    ///
    /// An adapter that cannot do it says [`LogError::NoSuchTopic`].
    async fn read(
        &self,
        at: TopicPartition,
        from: Position,
        limit: BatchLimit,
    ) -> Result<Vec<Record>, LogError> {
        let _ = (from, limit);
        Err(LogError::NoSuchTopic(at.topic.0))
    }

    /// The position that the next record of each partition of `topic` will get, or more.
    async fn ends(&self, topic: Topic) -> Result<Vec<(Partition, Position)>, LogError>;

    /// Returns true once `group` has finished `topic` up to `ends`; false if it has not within `within`.
    async fn wait_finished(
        &self,
        group: Group,
        topic: Topic,
        ends: &[(Partition, Position)],
        within: Duration,
    ) -> Result<bool, LogError>;

    /// How far groups are behind: those that are read in this process; in one that reads nothing, and where that costs no
    /// more, all.
    async fn lags(&self) -> Result<Vec<Lag>, LogError>;

    /// Bytes on disk, for metrics; 0 where the log is elsewhere.
    fn disk_bytes(&self) -> u64;

    /// Why new work is refused for want of space at present ([`LogError::Full`]), in words; `None` while it is taken, and
    /// where the log is elsewhere.
    fn shortage(&self) -> Option<String> {
        None
    }

    /// Finishes what was taken, then stops. Later calls return [`LogError::Stopped`].
    async fn close(&self) -> Result<(), LogError>;
}

/// One member of a group, reading.
#[async_trait]
pub trait Reader: Send {
    /// The next thing that happened; waits until there is one. Cancelling loses nothing.
    async fn next(&mut self, limit: BatchLimit) -> Result<Polled, LogError>;

    /// Stops returning records of these partitions until they are resumed.
    fn pause(&mut self, partitions: &[TopicPartition]);

    /// Goes on with these partitions where they were paused.
    fn resume(&mut self, partitions: &[TopicPartition]);
}

/// One member of a group, finishing. Used beside its [`Reader`], from any thread.
#[async_trait]
pub trait Committer: Send + Sync + 'static {
    /// Writes positions and outputs together: the outputs are durable before, or in the same commit as, the positions.
    async fn complete(&self, completion: Completion) -> Result<(), LogError>;

    /// True while this member's lease of the partition lasts. No attempt starts without it.
    fn holds(&self, at: TopicPartition) -> bool;

    /// Gives revoked partitions up, after their last completion. What is not ours any more, or is under another assignment, is
    /// given up already: that is no error. Only a log that has stopped refuses.
    async fn release(&self, partitions: &[Tenure]) -> Result<(), LogError>;
}

/// What [`Follower::next`] returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// Records: the newest of each key, then what is written later. An empty value removes the key.
    Records(Vec<Record>),
    /// Everything that was there when following began has been returned. Comes once.
    CaughtUp,
}

/// Reads a compacted topic.
#[async_trait]
pub trait Follower: Send {
    /// The next thing; waits until there is one. Cancelling loses nothing.
    async fn next(&mut self) -> Result<Followed, LogError>;
}
