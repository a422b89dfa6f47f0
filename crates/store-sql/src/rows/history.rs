//! Rows of history.

use std::collections::BTreeMap;

use bytes::Bytes;
use postrider_model::{Attempt, Channel, EndpointId, Event, EventOrigin, TraceContext};
use postrider_store::{AttemptFilter, FannedOut, StatusFilter, StoreError, Tried};

use crate::columns::Columns;
use crate::error::unreadable;

pub(crate) fn event(row: &impl Columns) -> Result<Event, StoreError> {
    let channels = row.some_text("channels")?.split(',');
    let channels = channels.filter(|channel| !channel.is_empty());
    let channels = channels.map(|channel| {
        channel
            .parse()
            .map_err(|error| unreadable("channels", error))
    });
    Ok(Event {
        id: row.some_id("id")?,
        app_id: row.some_id("app_id")?,
        event_type: row.some_parsed("event_type")?,
        channels: channels.collect::<Result<_, _>>()?,
        uid: row.parsed("uid")?,
        content_type: row.some_text("content_type")?.to_owned(),
        payload: Bytes::copy_from_slice(row.some_blob("payload")?),
        accepted_at: row.some_time("accepted_at")?,
        trace: row.text("traceparent")?.and_then(TraceContext::parse),
        origin: EventOrigin::Accepted,
    })
}

/// A channel as it stands in the column of channels.
pub(crate) fn channel_mark(channel: &Channel) -> String {
    format!(",{channel},")
}

/// Channels as a column in which `,name,` finds one: names have no commas.
pub(crate) fn channels_column(channels: &[Channel]) -> String {
    let mut column = String::new();
    for channel in channels {
        column.push(',');
        column.push_str(channel.as_str());
    }
    if !channels.is_empty() {
        column.push(',');
    }
    column
}

/// Whom an event went to, by its parts; `None` if there are none yet.
pub(crate) fn fanned_out(parts: &[impl Columns]) -> Result<Option<FannedOut>, StoreError> {
    let (mut endpoints, mut complete) = (Vec::new(), false);
    for part in parts {
        let of_part = part.ids("endpoints")?;
        endpoints.extend(of_part.ok_or_else(|| unreadable("endpoints", "NULL"))?);
        complete |= part.flag("complete")?;
    }
    endpoints.sort_unstable();
    endpoints.dedup();
    Ok((!parts.is_empty()).then_some(FannedOut {
        endpoints,
        complete,
    }))
}

/// An index serves attempts by each of the two, and by nothing else.
pub(crate) fn names_event_or_endpoint(filter: &AttemptFilter) -> Result<(), StoreError> {
    if filter.event.is_none() && filter.endpoint.is_none() {
        let why = "attempts are listed by event or by endpoint";
        return Err(StoreError::Refused(why.into()));
    }
    Ok(())
}

pub(crate) fn tried(row: &impl Columns) -> Result<Tried, StoreError> {
    Ok(Tried {
        endpoint: row.some_id("endpoint_id")?,
        last_at: row.some_time("last_at")?,
    })
}

pub(crate) fn attempt(row: &impl Columns) -> Result<Attempt, StoreError> {
    let detail = Bytes::copy_from_slice(row.some_blob("detail")?);
    Attempt::decode(&detail).map_err(|error| unreadable("detail", error))
}

/// How an attempt ended, as a column that a filter compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttemptStatus {
    Succeeded = 0,
    Failed = 1,
    Pending = 2,
}

impl AttemptStatus {
    pub(crate) fn of(attempt: &Attempt) -> Self {
        if attempt.outcome.is_success() {
            Self::Succeeded
        } else if attempt.next_attempt_at.is_some() {
            Self::Pending
        } else {
            Self::Failed
        }
    }
}

/// The value of that column for a filter.
pub(crate) fn status_column(filter: StatusFilter) -> i64 {
    let status = match filter {
        StatusFilter::Succeeded => AttemptStatus::Succeeded,
        StatusFilter::Failed => AttemptStatus::Failed,
        StatusFilter::Pending => AttemptStatus::Pending,
    };
    status as i64
}

/// The newest attempt to each endpoint, in the order of the endpoints' ids.
pub(crate) fn newest_by_endpoint(attempts: Vec<Attempt>) -> Vec<Attempt> {
    let age = |attempt: &Attempt| (attempt.started_at, attempt.generation, attempt.number);
    let mut newest: BTreeMap<EndpointId, Attempt> = BTreeMap::new();
    for attempt in attempts {
        let known = newest.get(&attempt.endpoint_id);
        if known.is_none_or(|known| age(known) < age(&attempt)) {
            newest.insert(attempt.endpoint_id, attempt);
        }
    }
    newest.into_values().collect()
}
