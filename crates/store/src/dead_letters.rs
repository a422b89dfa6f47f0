//! Dead letters and their replays.

use async_trait::async_trait;
use postrider_model::{
    AppId, DeadLetter, DeadLetterId, EndpointId, EventType, ReplayId, Timestamp,
};

use crate::{HistoryKey, Page, StoreError};

/// A dead letter as it is kept. A replay marks it; retention and its owner remove it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDeadLetter {
    /// What was given up, and why.
    pub letter: DeadLetter,
    /// The replay that last published it, and when.
    pub replayed: Option<(ReplayId, Timestamp)>,
    /// What it belonged to and is no longer there: nobody can be sent it any more.
    pub deleted: Option<Deleted>,
}

/// What was deleted that a dead letter belonged to. Ids are never given twice, so it does not come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deleted {
    /// Its application, and with it the endpoint.
    Application,
    /// Its endpoint alone.
    Endpoint,
}

impl Deleted {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Application, Self::Endpoint];

    /// As text, as it is shown.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Application => "application_deleted",
            Self::Endpoint => "endpoint_deleted",
        }
    }

    /// The one of that label.
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|deleted| deleted.label() == label)
    }
}

/// Which dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeadLetterFilter {
    /// Only of this application.
    pub app_id: Option<AppId>,
    /// Only of this endpoint.
    pub endpoint_id: Option<EndpointId>,
    /// Only of this event type.
    pub event_type: Option<EventType>,
    /// Only of deliveries given up after this time.
    pub after: Option<Timestamp>,
    /// Only of deliveries given up before this time.
    pub before: Option<Timestamp>,
    /// Only those that no replay has published, whose endpoint is there and whose payload was not left out.
    pub only_replayable: bool,
}

/// Dead letters. They are unique by (delivery, generation), which is what their id derives from.
#[async_trait]
pub trait DeadLetters: Send + Sync + 'static {
    /// Keeps all of `letters` or none. One that is there already stays as it is. `Refused` if one of them is one that the
    /// store will never take.
    async fn keep_dead_letters(&self, letters: &[DeadLetter]) -> Result<(), StoreError>;

    /// One, if it is there.
    async fn dead_letter(&self, id: DeadLetterId) -> Result<Option<StoredDeadLetter>, StoreError>;

    /// Those of `ids` that are there and that no replay has published, in any order.
    async fn given_up(&self, ids: &[DeadLetterId]) -> Result<Vec<DeadLetterId>, StoreError>;

    /// By (died at, id).
    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        page: &Page<HistoryKey>,
    ) -> Result<Vec<StoredDeadLetter>, StoreError>;

    /// How many there are. Counts every match: for a replay's total and for dry runs, not for hot paths.
    async fn count_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64, StoreError>;

    /// Removes one. `NotFound` if it is not there.
    async fn delete_dead_letter(&self, id: DeadLetterId) -> Result<(), StoreError>;

    /// Removes at most `limit` that died before `before`, oldest first. Returns how many.
    async fn delete_dead_letters(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError>;
}

/// What a replay takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// These, in the order of their ids.
    Ids(Vec<DeadLetterId>),
    /// What the filter matches up to the replay's bound. `before` is always set: it was fixed when the replay began.
    Filter(DeadLetterFilter),
}

/// Where a replay stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplayStatus {
    /// Waiting for an owner, or being carried out.
    Running,
    /// Held by an operator, or by its owner because its progress cannot be recorded.
    Paused,
    /// Ended by an operator. Final.
    Cancelled,
    /// Every dead letter of it was published, counted as failed, or left to another replay. Final.
    Done,
}

impl ReplayStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Running, Self::Paused, Self::Cancelled, Self::Done];

    /// The status as text, as it is stored and shown.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelled => "cancelled",
            Self::Done => "done",
        }
    }

    /// True if nothing follows it.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Cancelled | Self::Done)
    }

    /// The status of that label.
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.label() == label)
    }
}

/// An operator's request to deliver dead letters again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Its id.
    pub id: ReplayId,
    /// The one application that it is limited to, if it was made there.
    pub app_id: Option<AppId>,
    /// What it takes.
    pub selection: Selection,
    /// Deliveries published a second, at most.
    pub rate: u32,
    /// Where it stands.
    pub status: ReplayStatus,
    /// Why its owner paused it; `None` if an operator did, or it is not paused.
    pub paused_because: Option<String>,
    /// How many dead letters it took when it began.
    pub total: u64,
    /// How many were published.
    pub done: u64,
    /// How many could not be: their endpoint is disabled or gone, or they are. What another replay had in hand or published
    /// first is in neither number.
    pub failed: u64,
    /// The last dead letter that was dealt with.
    pub cursor: Option<HistoryKey>,
    /// The token that asked for it, for the audit.
    pub requested_by: String,
    /// The generation of what it publishes, from [`Replays::new_generation`].
    pub generation: u64,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When its status or numbers last changed.
    pub updated_at: Timestamp,
}

impl Replay {
    /// True if it takes only what no replay has published, and what can be delivered at all.
    pub const fn only_replayable(&self) -> bool {
        match &self.selection {
            Selection::Ids(_) => false,
            Selection::Filter(filter) => filter.only_replayable,
        }
    }
}

/// What the owner of a replay reports after publishing a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayStep {
    /// The last dead letter that was dealt with.
    pub cursor: HistoryKey,
    /// Those that were published now.
    pub published: Vec<DeadLetterId>,
    /// How many could not be.
    pub failed: u64,
    /// True if nothing is left.
    pub finished: bool,
}

/// Replays. One owner at a time carries one out, by a lease.
#[async_trait]
pub trait Replays: Send + Sync + 'static {
    /// A generation for a replay or a resend: larger than every one that was given before, and no smaller than the
    /// milliseconds of `now`. So two that are asked for in one millisecond make different deliveries.
    async fn new_generation(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// A new one.
    async fn insert_replay(&self, replay: &Replay) -> Result<(), StoreError>;

    /// One, if it is there.
    async fn replay(&self, id: ReplayId) -> Result<Option<Replay>, StoreError>;

    /// In the order of their ids, which is that of their making; of one application only, if given.
    async fn replays(
        &self,
        app_id: Option<AppId>,
        page: &Page<ReplayId>,
    ) -> Result<Vec<Replay>, StoreError>;

    /// Takes the lease, until `until`, of a running replay that nobody holds at `now`; `None` if there is none.
    /// `owner` names the process and is new with each start.
    async fn claim_replay(
        &self,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Replay>, StoreError>;

    /// Gives the lease up, if `owner` has it: the replay can be claimed at once.
    async fn release_replay(&self, id: ReplayId, owner: &str) -> Result<(), StoreError>;

    /// Takes these dead letters for a replay, before it publishes them, and returns those that it got. Not those that
    /// another replay has which is running or paused, or has ended with a lease that runs at `now`: it may be publishing
    /// them. And not those that another published since this one was made, or ever, if this one takes only what none has:
    /// they may have been read before that. What it had already, it gets again.
    async fn take_dead_letters(
        &self,
        id: ReplayId,
        letters: &[DeadLetterId],
        now: Timestamp,
    ) -> Result<Vec<DeadLetterId>, StoreError>;

    /// Writes progress, marks what was published and renews the lease, in one transaction. Returns the replay as it is
    /// then, so that the owner sees a pause or an end; unless it is running then, the lease ends. A step whose cursor is
    /// the stored one was carried out before and is not counted again. `Conflict` if the owner has not the lease by now.
    async fn advance_replay(
        &self,
        id: ReplayId,
        owner: &str,
        step: &ReplayStep,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Replay, StoreError>;

    /// Changes the status to `to` if it is one of `from`, and returns the replay as it is then. With the status goes
    /// `because`, the reason of a pause; one that was `to` already keeps its own. `Conflict` if it was none of them,
    /// `NotFound` if it is not there.
    async fn set_replay_status(
        &self,
        id: ReplayId,
        from: &[ReplayStatus],
        to: ReplayStatus,
        because: Option<&str>,
        now: Timestamp,
    ) -> Result<Replay, StoreError>;

    /// Removes at most `limit` replays that ended before `before`, the oldest first. Returns how many.
    async fn delete_replays(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;
}
