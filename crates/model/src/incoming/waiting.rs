//! What goes with a record of `events` that is dealt with later: it lies in another topic then, at another position and
//! time, and must still become the same event.

use crate::topics::EVENTS_WAITING;
use crate::{Event, EventId, NewRecord, Record, Refused, Timestamp};

/// The id of a plain record that has none of its own, on its way through other topics.
pub const RECORD_ID: &str = "postrider-record-id";
/// When the record first came.
const ACCEPTED_AT: &str = "postrider-accepted-at";

/// `record` as it came, for `events.waiting`: to be dealt with once the registry is up to date.
pub fn waiting(record: &Record) -> NewRecord {
    let mut headers = record.headers.clone();
    if !Event::is_own(record) && record.at.topic != EVENTS_WAITING {
        headers.push(ACCEPTED_AT, record.appended_at.to_string());
        headers.push(RECORD_ID, of_place(record).to_string());
    }
    NewRecord {
        topic: EVENTS_WAITING,
        key: record.key.clone(),
        headers,
        value: record.value.clone(),
    }
}

/// When the event was accepted: when the log took its first record.
pub(super) fn accepted_at(record: &Record) -> Result<Timestamp, Refused> {
    match ours(record, ACCEPTED_AT) {
        None => Ok(record.appended_at),
        Some(text) => text
            .and_then(Timestamp::parse)
            .ok_or_else(|| Refused::malformed(ACCEPTED_AT, "not a time in RFC 3339")),
    }
}

/// An id for a record whose producer gave none: the same each time the record is read, and another for each record,
/// also for equal ones that the log took in one batch at one time.
pub(super) fn record_id(record: &Record) -> Result<EventId, Refused> {
    match ours(record, RECORD_ID) {
        None => Ok(of_place(record)),
        Some(text) => text
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Refused::malformed(RECORD_ID, "not an id")),
    }
}

/// A position alone names nothing for good: a topic that was made anew counts from the beginning again. With the time at
/// which the log took it, and what it holds, it does.
fn of_place(record: &Record) -> EventId {
    EventId::derive(&[
        &record.at.partition.to_be_bytes(),
        &record.position.to_be_bytes(),
        &record.appended_at.as_millis().to_be_bytes(),
        &record.key,
        &record.value,
    ])
}

/// A header that we added, the last of its name. In `events` it would be somebody else's.
fn ours<'a>(record: &'a Record, name: &str) -> Option<Option<&'a str>> {
    if record.at.topic != EVENTS_WAITING {
        return None;
    }
    let (_, value) = record.headers.iter().filter(|(n, _)| *n == name).last()?;
    Some(std::str::from_utf8(value).ok())
}
