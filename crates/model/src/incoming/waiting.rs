//! What goes with a record of `events` that is dealt with later: it lies in another topic then, at another position and
//! time, and must still become the same event.

use bytes::Bytes;

use crate::topics::EVENTS_WAITING;
use crate::{
    CUT, Event, EventId, Headers, NULL_VALUE, NewRecord, Record, Timestamp, VALUE_LEFT_OUT,
};

/// The id of a plain record that has none of its own, on its way through other topics.
pub const RECORD_ID: &str = "postrider-record-id";
/// What every header begins with that we add to a record of `events` on its way.
const OURS: &str = "postrider-";
/// When the record first came.
const ACCEPTED_AT: &str = "postrider-accepted-at";

/// `record` as it came, for `events.waiting`: to be dealt with once the registry is up to date.
pub fn waiting(record: &Record) -> NewRecord {
    let mut headers = record.headers.clone();
    if !Event::is_own(record) && record.at.topic != EVENTS_WAITING {
        headers.push(ACCEPTED_AT, record.appended_at.to_string());
        headers.push(RECORD_ID, record_id(record).to_string());
    }
    NewRecord {
        topic: EVENTS_WAITING,
        key: record.key.clone(),
        headers,
        value: record.value.clone(),
    }
}

/// A record that was rejected, for `events.waiting`: to be judged again as it was received, from now on. `None` if it was
/// no record of `events`, or was not kept whole.
pub fn again(rejected: &Record) -> Option<NewRecord> {
    let id = last(rejected, RECORD_ID)?;
    if [VALUE_LEFT_OUT, CUT]
        .iter()
        .any(|name| last(rejected, name).is_some())
    {
        return None;
    }
    let mut headers = Headers::new();
    for (name, value) in rejected.headers.iter() {
        if !name.starts_with(OURS) || name == NULL_VALUE {
            headers.push(name.to_owned(), value.clone());
        }
    }
    headers.push(RECORD_ID, id.clone());
    Some(NewRecord {
        topic: EVENTS_WAITING,
        key: rejected.key.clone(),
        headers,
        value: rejected.value.clone(),
    })
}

/// When the event was accepted: when the log took its first record.
pub(super) fn accepted_at(record: &Record) -> Timestamp {
    let before = ours(record, ACCEPTED_AT).flatten();
    let before = before.and_then(Timestamp::parse);
    before.unwrap_or(record.appended_at)
}

/// An id for a record whose producer gave none: the same each time the record is read, and another for each record,
/// also for equal ones that the log took in one batch at one time.
pub fn record_id(record: &Record) -> EventId {
    let before = ours(record, RECORD_ID).flatten();
    let before = before.and_then(|text| text.parse().ok());
    before.unwrap_or_else(|| of_place(record))
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
    last(record, name).map(|value| std::str::from_utf8(value).ok())
}

fn last<'a>(record: &'a Record, name: &str) -> Option<&'a Bytes> {
    let mut headers = record.headers.iter();
    let named = headers.rfind(|(given, _)| *given == name);
    named.map(|(_, value)| value)
}
