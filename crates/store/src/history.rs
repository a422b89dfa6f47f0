//! What happened: archived events, whom they went to, and every attempt.

use async_trait::async_trait;
use bytes::Bytes;
use postrider_model::{
    AppId, Attempt, AttemptId, Channel, EndpointId, Event, EventId, EventType, Fanout, Malformed,
    Timestamp, Uid,
};

use crate::{HistoryKey, Page, StoreError};

/// What the recorder writes at once. Each item may have been written before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistoryBatch {
    /// Accepted events.
    pub events: Vec<Event>,
    /// Whom events went to. A part may come before its event, and parts of one event add up.
    pub fanouts: Vec<Fanout>,
    /// Attempts.
    pub attempts: Vec<EncodedAttempt>,
}

/// An attempt and its encoding, which is kept as it came: it is not made again for each, and an older recorder loses nothing
/// of what a newer worker wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedAttempt {
    /// What it says.
    pub attempt: Attempt,
    /// The value of its record.
    pub encoded: Bytes,
}

impl EncodedAttempt {
    /// The attempt in a record's value.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn decode(value: &Bytes) -> Result<Self, Malformed> {
        Ok(Self {
            attempt: Attempt::decode(value)?,
            encoded: value.clone(),
        })
    }
}

impl From<Attempt> for EncodedAttempt {
    fn from(attempt: Attempt) -> Self {
        Self {
            encoded: attempt.to_record().value,
            attempt,
        }
    }
}

impl HistoryBatch {
    /// How many items there are.
    pub fn len(&self) -> usize {
        self.events.len() + self.fanouts.len() + self.attempts.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An event by its id or by the producer's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventRef {
    /// By id.
    Id(EventId),
    /// By uid.
    Uid(Uid),
}

/// Which events to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    /// Only of these types; empty for all.
    pub event_types: Vec<EventType>,
    /// Only on this channel.
    pub channel: Option<Channel>,
    /// Only accepted before this time.
    pub before: Option<Timestamp>,
    /// Only accepted after this time.
    pub after: Option<Timestamp>,
}

/// Success or failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusFilter {
    /// Attempts that succeeded.
    Succeeded,
    /// Attempts that failed for good: no next one.
    Failed,
    /// Attempts that failed and will be followed by another.
    Pending,
}

/// Which attempts to list. At least one of `event` and `endpoint` is set: an index serves each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AttemptFilter {
    /// Only of this event.
    pub event: Option<EventId>,
    /// Only to this endpoint.
    pub endpoint: Option<EndpointId>,
    /// Only with this end.
    pub status: Option<StatusFilter>,
    /// Beside those of `status` also those that failed for good with one of these status codes: what an endpoint's owner calls
    /// final stands in no column of its own.
    pub or_failed_with: Vec<u16>,
    /// Only with a status code of this hundred (1 to 5).
    pub status_class: Option<u8>,
    /// Only of these types; empty for all.
    pub event_types: Vec<EventType>,
    /// Only of events on this channel.
    pub channel: Option<Channel>,
    /// Only started before this time.
    pub before: Option<Timestamp>,
    /// Only started after this time.
    pub after: Option<Timestamp>,
    /// Only the newest of each event to each endpoint, whatever else is asked for: an older one that fits is not taken in
    /// the place of the newest that does not. Of several in one millisecond it is one that no other attempt was to follow.
    pub only_newest: bool,
    /// One that cannot be read is an error, for who would conclude something wrong from what is left without it.
    pub all_readable: bool,
}

/// Whom an event went to, as far as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FannedOut {
    /// The endpoints, in the order of their ids.
    pub endpoints: Vec<EndpointId>,
    /// False while parts are missing.
    pub complete: bool,
}

/// An endpoint to which an event was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// When its newest attempt started.
    pub last_at: Timestamp,
}

/// What happened. A stored row that cannot be read is left out of listings, which go past it and say so in the store's own
/// metrics; asked for by itself it is `Unreadable`.
#[async_trait]
pub trait History: Send + Sync + 'static {
    /// Writes all of `batch` or nothing. `Refused` if a row in it is one that the store will never take, such as one with
    /// a number above 2^63 - 1.
    async fn record(&self, batch: &HistoryBatch) -> Result<(), StoreError>;

    /// One event of an application, if it is archived; of several with one uid the newest. Its origin reads as accepted.
    async fn event(&self, app_id: AppId, by: &EventRef) -> Result<Option<Event>, StoreError>;

    /// Events of an application, by (accepted at, id).
    async fn events(
        &self,
        app_id: AppId,
        filter: &EventFilter,
        page: &Page<HistoryKey>,
    ) -> Result<Vec<Event>, StoreError>;

    /// Those of these events of an application that are archived, in any order.
    async fn events_by_id(&self, app_id: AppId, ids: &[EventId]) -> Result<Vec<Event>, StoreError>;

    /// Whom an event went to; `None` if that is not recorded yet.
    async fn fanned_out(
        &self,
        app_id: AppId,
        event: EventId,
    ) -> Result<Option<FannedOut>, StoreError>;

    /// Attempts of an application, by (started at, id).
    async fn attempts(
        &self,
        app_id: AppId,
        filter: &AttemptFilter,
        page: &Page<HistoryKey>,
    ) -> Result<Vec<Attempt>, StoreError>;

    /// One attempt of an application, if it is recorded.
    async fn attempt(
        &self,
        app_id: AppId,
        event: EventId,
        id: AttemptId,
    ) -> Result<Option<Attempt>, StoreError>;

    /// Every endpoint to which an event was tried, in the order of their ids: some 24 bytes each, however many there are.
    async fn tried(&self, app_id: AppId, event: EventId) -> Result<Vec<Tried>, StoreError>;

    /// The newest attempt of an event to each of these endpoints, which [`History::tried`] told of, in the order of the
    /// endpoints' ids. Attempts that were made since are not looked at.
    async fn latest_attempts(
        &self,
        app_id: AppId,
        event: EventId,
        of: &[Tried],
    ) -> Result<Vec<Attempt>, StoreError>;

    /// Deletes at most `limit` events accepted before `before`, and whom at most as many went to, also such as are not archived;
    /// oldest first. Returns the more of both.
    async fn delete_events(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;

    /// Deletes at most `limit` attempts started before `before`, oldest first. Returns how many.
    async fn delete_attempts(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;
}
