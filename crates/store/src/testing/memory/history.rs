//! History in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use postrider_model::{
    AppId, Attempt, AttemptId, Channel, EndpointId, Event, EventId, EventOrigin, Timestamp,
};

use super::timeline::Timeline;
use super::{MemoryStore, Row};
use crate::{
    AttemptFilter, EncodedAttempt, EventFilter, EventRef, FannedOut, History, HistoryBatch,
    HistoryKey, Page, StatusFilter, StoreError, Tried,
};

#[derive(Default)]
pub(super) struct Archive {
    events: Timeline<Event>,
    fanouts: HashMap<EventId, Parts>,
    attempts: Timeline<Attempt>,
}

struct Parts {
    app_id: AppId,
    accepted_at: Timestamp,
    endpoints: BTreeSet<EndpointId>,
    complete: bool,
}

impl Archive {
    fn record(&mut self, batch: &HistoryBatch) {
        for event in &batch.events {
            let archived = Event {
                origin: EventOrigin::Accepted,
                ..event.clone()
            };
            self.events
                .insert(event.accepted_at, *event.id.as_bytes(), archived);
        }
        for part in &batch.fanouts {
            let parts = self.fanouts.entry(part.event_id).or_insert_with(|| Parts {
                app_id: part.app_id,
                accepted_at: part.accepted_at,
                endpoints: BTreeSet::new(),
                complete: false,
            });
            parts.endpoints.extend(&part.endpoints);
            parts.complete |= part.complete;
        }
        for EncodedAttempt { attempt, .. } in &batch.attempts {
            self.attempts
                .insert(attempt.started_at, *attempt.id.as_bytes(), attempt.clone());
        }
    }

    fn on_channel(&self, event: EventId, channel: &Channel) -> bool {
        let event = self.events.get(event.as_bytes());
        event.is_some_and(|event| event.channels.contains(channel))
    }

    fn attempt_matches(&self, filter: &AttemptFilter, attempt: &Attempt) -> bool {
        filter.event.is_none_or(|event| event == attempt.event_id)
            && filter
                .endpoint
                .is_none_or(|endpoint| endpoint == attempt.endpoint_id)
            && filter.status.is_none_or(|status| {
                has(status, attempt)
                    || (has(StatusFilter::Failed, attempt)
                        && attempt
                            .status_code
                            .is_some_and(|code| filter.or_failed_with.contains(&code)))
            })
            && filter.status_class.is_none_or(|class| {
                attempt
                    .status_code
                    .is_some_and(|code| code / 100 == u16::from(class))
            })
            && (filter.event_types.is_empty() || filter.event_types.contains(&attempt.event_type))
            && filter
                .channel
                .as_ref()
                .is_none_or(|channel| self.on_channel(attempt.event_id, channel))
            && within(attempt.started_at, filter.after, filter.before)
            && (!filter.only_newest || self.is_newest(attempt))
    }

    fn is_newest(&self, attempt: &Attempt) -> bool {
        let age = |one: &Attempt| (one.started_at, one.next_attempt_at.is_none(), one.id);
        self.attempts.values().all(|other| {
            (other.event_id, other.endpoint_id) != (attempt.event_id, attempt.endpoint_id)
                || age(other) <= age(attempt)
        })
    }
}

/// Strictly between two times.
pub(super) fn within(at: Timestamp, after: Option<Timestamp>, before: Option<Timestamp>) -> bool {
    after.is_none_or(|after| at > after) && before.is_none_or(|before| at < before)
}

fn has(status: StatusFilter, attempt: &Attempt) -> bool {
    let (succeeded, goes_on) = (
        attempt.outcome.is_success(),
        attempt.next_attempt_at.is_some(),
    );
    match status {
        StatusFilter::Succeeded => succeeded,
        StatusFilter::Failed => !succeeded && !goes_on,
        StatusFilter::Pending => !succeeded && goes_on,
    }
}

#[async_trait]
impl History for MemoryStore {
    async fn record(&self, batch: &HistoryBatch) -> Result<(), StoreError> {
        let state = &mut self.state()?;
        self.check(batch.events.iter().map(Row::Event))?;
        self.check(batch.fanouts.iter().map(Row::Fanout))?;
        self.check(batch.attempts.iter().map(|one| Row::Attempt(&one.attempt)))?;
        state.history.record(batch);
        Ok(())
    }

    async fn event(&self, app_id: AppId, by: &EventRef) -> Result<Option<Event>, StoreError> {
        let events = &self.state()?.history.events;
        let found = match by {
            EventRef::Id(id) => events.get(id.as_bytes()),
            EventRef::Uid(uid) => events
                .values()
                .rev()
                .find(|event| event.app_id == app_id && event.uid.as_ref() == Some(uid)),
        };
        Ok(found.filter(|event| event.app_id == app_id).cloned())
    }

    async fn events(
        &self,
        app_id: AppId,
        filter: &EventFilter,
        page: &Page<HistoryKey>,
    ) -> Result<Vec<Event>, StoreError> {
        let wanted = |key: HistoryKey, event: &Event| {
            event.app_id == app_id
                && (filter.event_types.is_empty() || filter.event_types.contains(&event.event_type))
                && filter
                    .channel
                    .as_ref()
                    .is_none_or(|channel| event.channels.contains(channel))
                && within(key.at, filter.after, filter.before)
        };
        Ok(self.listing().await?.history.events.page(wanted, page))
    }

    async fn events_by_id(&self, app_id: AppId, ids: &[EventId]) -> Result<Vec<Event>, StoreError> {
        let events = &self.state()?.history.events;
        let found = ids.iter().filter_map(|id| events.get(id.as_bytes()));
        Ok(found
            .filter(|event| event.app_id == app_id)
            .cloned()
            .collect())
    }

    async fn fanned_out(
        &self,
        app_id: AppId,
        event: EventId,
    ) -> Result<Option<FannedOut>, StoreError> {
        let fanouts = &self.state()?.history.fanouts;
        let parts = fanouts.get(&event).filter(|parts| parts.app_id == app_id);
        Ok(parts.map(|parts| FannedOut {
            endpoints: parts.endpoints.iter().copied().collect(),
            complete: parts.complete,
        }))
    }

    async fn attempts(
        &self,
        app_id: AppId,
        filter: &AttemptFilter,
        page: &Page<HistoryKey>,
    ) -> Result<Vec<Attempt>, StoreError> {
        let archive = &self.listing().await?.history;
        let wanted = |key: HistoryKey, attempt: &Attempt| {
            attempt.app_id == app_id
                && archive.attempt_matches(filter, attempt)
                && (filter.all_readable || !self.is_spoiled(&key.id))
        };
        let found = archive.attempts.page(wanted, page);
        for attempt in &found {
            self.check_readable(attempt.id.as_bytes())?;
        }
        Ok(found)
    }

    async fn attempt(
        &self,
        app_id: AppId,
        event: EventId,
        id: AttemptId,
    ) -> Result<Option<Attempt>, StoreError> {
        let attempts = &self.state()?.history.attempts;
        let found = attempts.get(id.as_bytes());
        Ok(found
            .filter(|attempt| attempt.app_id == app_id && attempt.event_id == event)
            .cloned())
    }

    async fn tried(&self, app_id: AppId, event: EventId) -> Result<Vec<Tried>, StoreError> {
        let attempts = &self.listing().await?.history.attempts;
        let of_event = |attempt: &&Attempt| attempt.app_id == app_id && attempt.event_id == event;
        // The newest comes last.
        let last_at: BTreeMap<EndpointId, Timestamp> = attempts
            .values()
            .filter(of_event)
            .map(|attempt| (attempt.endpoint_id, attempt.started_at))
            .collect();
        let tried = last_at.into_iter();
        Ok(tried
            .map(|(endpoint, last_at)| Tried { endpoint, last_at })
            .collect())
    }

    async fn latest_attempts(
        &self,
        app_id: AppId,
        event: EventId,
        of: &[Tried],
    ) -> Result<Vec<Attempt>, StoreError> {
        let attempts = &self.state()?.history.attempts;
        let age = |attempt: &Attempt| (attempt.started_at, attempt.generation, attempt.number);
        let mut newest: BTreeMap<EndpointId, &Attempt> = BTreeMap::new();
        for attempt in attempts.values() {
            let tried = Tried {
                endpoint: attempt.endpoint_id,
                last_at: attempt.started_at,
            };
            if attempt.app_id == app_id && attempt.event_id == event && of.contains(&tried) {
                let known = newest.entry(attempt.endpoint_id).or_insert(attempt);
                if age(attempt) > age(known) {
                    *known = attempt;
                }
            }
        }
        Ok(newest.into_values().cloned().collect())
    }

    async fn delete_events(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let archive = &mut self.state()?.history;
        let events = archive.events.remove_before(before, limit);
        let fanouts = archive.fanouts.iter();
        let old = fanouts.filter(|(_, parts)| parts.accepted_at < before);
        let mut old: Vec<_> = old.map(|(id, parts)| (parts.accepted_at, *id)).collect();
        old.sort_unstable();
        old.truncate(limit);
        for (_, id) in &old {
            archive.fanouts.remove(id);
        }
        Ok(events.len().max(old.len()))
    }

    async fn delete_attempts(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let attempts = &mut self.state()?.history.attempts;
        Ok(attempts.remove_before(before, limit).len())
    }
}
