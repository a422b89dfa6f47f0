//! An event, and its record: CloudEvents 1.0, Kafka protocol binding, binary mode.
//!
//! The value is the payload, byte for byte; the attributes are headers `ce_…`; the content type is `content-type`.

use std::fmt::Display;
use std::str::FromStr;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::codec::{Malformed, id, text};
use crate::{
    AppId, Channel, EndpointId, EventId, EventType, Headers, NewRecord, Record, Timestamp,
    TraceContext, Uid, topics,
};

/// One fact that an application published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id; `webhook-id` on the wire.
    pub id: EventId,
    /// Whose it is.
    pub app_id: AppId,
    /// Its kind.
    pub event_type: EventType,
    /// The channels it is published on.
    pub channels: Vec<Channel>,
    /// The producer's own id for it, unique in the application.
    pub uid: Option<Uid>,
    /// The payload's media type.
    pub content_type: String,
    /// The payload, byte for byte as it came.
    pub payload: Bytes,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Whose child the next span of it is.
    pub trace: Option<Box<TraceContext>>,
    /// What this record of the event is for.
    pub origin: EventOrigin,
}

/// What a record in `events` is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventOrigin {
    /// It was accepted.
    Accepted,
    /// Fan-out continues behind this endpoint, in the order of ids: the event has too many for one part.
    Continuation {
        /// The last endpoint of the part before.
        after: EndpointId,
    },
    /// A part of the event was matched while the registry could not be brought up to date: it is to be matched once more.
    Rematch(Rematch),
}

/// What is to be matched once more: only endpoints in the range that existed when the event was accepted, and that are not
/// among those matched already, are added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rematch {
    /// The range begins behind this endpoint; `None`: with the first.
    pub after: Option<EndpointId>,
    /// The range ends with this endpoint; `None`: with the last.
    pub until: Option<EndpointId>,
    /// Those that got the event already.
    pub matched: Vec<EndpointId>,
}

impl Rematch {
    /// Ids of 16 bytes each: `after`, `until` (all zero for `None`), then those matched.
    fn to_bytes(&self) -> Bytes {
        let none = [0; 16];
        let ends = [&self.after, &self.until];
        let ends = ends
            .into_iter()
            .flat_map(|end| *end.as_ref().map_or(&none, EndpointId::as_bytes));
        ends.chain(self.matched.iter().flat_map(|id| *id.as_bytes()))
            .collect::<Vec<u8>>()
            .into()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut ids = bytes
            .chunks(16)
            .map(|part| id::<crate::id::EndpointKind>("ce_rematch", part));
        let mut end = || {
            let id = ids
                .next()
                .unwrap_or(Err(Malformed::Missing("ce_rematch")))?;
            Ok::<_, Malformed>((*id.as_bytes() != [0; 16]).then_some(id))
        };
        let (after, until) = (end()?, end()?);
        Ok(Self {
            after,
            until,
            matched: ids.collect::<Result<_, _>>()?,
        })
    }
}

/// `ce_source` of what came in over Postrider's own API. The `ce_id` of such a record is the event's id itself.
const OWN_SOURCE: &str = "postrider";

impl Event {
    /// The media type of the dialect's `payload`.
    pub const JSON: &'static str = "application/json";

    /// The id of an event that a producer named by itself: its repeat gets the same.
    pub fn derived_id(app_id: AppId, source: &str, id: &str) -> EventId {
        EventId::derive(&[app_id.as_bytes(), source.as_bytes(), id.as_bytes()])
    }

    /// True if Postrider itself wrote this record: ingest, or fan-out for what it has yet to do.
    pub fn is_own(record: &Record) -> bool {
        record
            .headers
            .get("ce_source")
            .is_some_and(|source| source == OWN_SOURCE)
    }

    /// A fingerprint of what the producer said, for recognising a repeat under the same key: application, type,
    /// channels, content type and payload. SHA-256.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(self.app_id.as_bytes());
        part(self.event_type.as_str().as_bytes());
        part(self.content_type.as_bytes());
        part(&self.payload);
        self.channels
            .iter()
            .for_each(|channel| part(channel.as_str().as_bytes()));
        hash.finalize().into()
    }

    /// The record that carries this event. The payload is not copied.
    pub fn to_record(&self) -> NewRecord {
        let mut headers = Headers::new();
        headers.push("ce_specversion", "1.0");
        headers.push("ce_id", self.id.to_string());
        headers.push("ce_source", OWN_SOURCE);
        headers.push("ce_type", self.event_type.to_string());
        headers.push("ce_time", self.accepted_at.to_string());
        headers.push("content-type", self.content_type.clone());
        if !self.channels.is_empty() {
            let channels: Vec<&str> = self.channels.iter().map(Channel::as_str).collect();
            headers.push("ce_channels", channels.join(","));
        }
        if let Some(uid) = &self.uid {
            headers.push("ce_eventuid", uid.to_string());
        }
        if let Some(trace) = &self.trace {
            headers.push("ce_traceparent", trace.traceparent().to_owned());
            if let Some(state) = trace.tracestate() {
                headers.push("ce_tracestate", state.to_owned());
            }
        }
        match &self.origin {
            EventOrigin::Accepted => {}
            EventOrigin::Continuation { after } => {
                headers.push("ce_continuesafter", after.to_string())
            }
            EventOrigin::Rematch(rematch) => headers.push("ce_rematch", rematch.to_bytes()),
        }
        let key = self.app_id.to_string();
        NewRecord {
            topic: topics::EVENTS,
            key: key.into(),
            headers,
            value: self.payload.clone(),
        }
    }

    /// The event that a record of our own carries ([`Self::is_own`]). What other producers write is read by
    /// [`Incoming::read`](crate::Incoming::read).
    pub fn from_record(record: &Record) -> Result<Self, Malformed> {
        let app_id = parsed("key", text("key", &record.key)?)?;
        if needed(record, "ce_source")? != OWN_SOURCE {
            let why = format!("expected {OWN_SOURCE}, the source of our own records");
            return Err(Malformed::field("ce_source", why));
        }
        let id = needed(record, "ce_id")?.parse().map_err(|error| {
            let why = format!("{error}; the source {OWN_SOURCE} is kept for our own records");
            Malformed::field("ce_id", why)
        })?;
        let accepted_at = match header(record, "ce_time")? {
            Some(time) => Timestamp::parse(time)
                .ok_or_else(|| Malformed::field("ce_time", "not a time in RFC 3339"))?,
            None => record.appended_at,
        };
        let content_type = header(record, "content-type")?.unwrap_or(Self::JSON);
        let uid = header(record, "ce_eventuid")?;
        Ok(Self {
            id,
            app_id,
            event_type: parsed("ce_type", needed(record, "ce_type")?)?,
            channels: channels(record)?,
            uid: uid.map(|uid| parsed("ce_eventuid", uid)).transpose()?,
            content_type: content_type.to_owned(),
            payload: record.value.clone(),
            accepted_at,
            trace: trace(record)?,
            origin: EventOrigin::from_record(record)?,
        })
    }
}

impl EventOrigin {
    fn from_record(record: &Record) -> Result<Self, Malformed> {
        if let Some(rematch) = record.headers.get("ce_rematch") {
            return Ok(Self::Rematch(Rematch::from_bytes(rematch)?));
        }
        match header(record, "ce_continuesafter")? {
            None => Ok(Self::Accepted),
            Some(after) => Ok(Self::Continuation {
                after: parsed("ce_continuesafter", after)?,
            }),
        }
    }
}

fn channels(record: &Record) -> Result<Vec<Channel>, Malformed> {
    let all = header(record, "ce_channels")?.unwrap_or_default();
    let named = all.split(',').filter(|channel| !channel.is_empty());
    named
        .map(|channel| parsed("ce_channels", channel))
        .collect()
}

fn trace(record: &Record) -> Result<Option<Box<TraceContext>>, Malformed> {
    let Some(parent) = header(record, "ce_traceparent")? else {
        return Ok(None);
    };
    let state = header(record, "ce_tracestate")?.unwrap_or_default();
    Ok(TraceContext::of_record(parent, state, ""))
}

/// A header as text, if it is there.
fn header<'a>(record: &'a Record, name: &'static str) -> Result<Option<&'a str>, Malformed> {
    let value = record.headers.get(name);
    value.map(|value| text(name, value)).transpose()
}

/// A header that must be there.
fn needed<'a>(record: &'a Record, name: &'static str) -> Result<&'a str, Malformed> {
    header(record, name)?.ok_or(Malformed::Missing(name))
}

/// What the text of `field` stands for.
fn parsed<T: FromStr<Err: Display>>(field: &'static str, text: &str) -> Result<T, Malformed> {
    text.parse().map_err(|error| Malformed::field(field, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(origin: EventOrigin) -> Event {
        Event {
            id: EventId::new(),
            app_id: AppId::new(),
            event_type: "order.created".parse().unwrap(),
            channels: vec!["a".parse().unwrap(), "b".parse().unwrap()],
            uid: Some("order-1".parse().unwrap()),
            content_type: "text/plain".to_owned(),
            payload: Bytes::from_static(b"\0 any bytes \xff"),
            accepted_at: Timestamp::from_millis(1_700_000_000_123),
            trace: TraceContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
                .map(|trace| trace.with_state("vendor=1")),
            origin,
        }
    }

    fn read(new: NewRecord) -> Record {
        let at = crate::TopicPartition {
            topic: new.topic,
            partition: 0,
        };
        let appended_at = Timestamp::from_millis(1_700_000_000_999);
        Record {
            at,
            position: 7,
            appended_at,
            key: new.key,
            headers: new.headers,
            value: new.value,
        }
    }

    #[test]
    fn an_event_reads_back_from_its_record_byte_for_byte() {
        let (a, b) = (EndpointId::new(), EndpointId::new());
        for origin in [
            EventOrigin::Accepted,
            EventOrigin::Continuation { after: a },
            EventOrigin::Rematch(Rematch {
                after: None,
                until: Some(b),
                matched: vec![a, b],
            }),
            EventOrigin::Rematch(Rematch {
                after: Some(a),
                until: None,
                matched: vec![],
            }),
        ] {
            let event = event(origin);
            assert_eq!(Event::from_record(&read(event.to_record())), Ok(event));
        }
    }

    #[test]
    fn a_malformed_record_says_which_field_is_wrong() {
        let good = read(event(EventOrigin::Accepted).to_record());
        let bad_key = Record {
            key: Bytes::from_static(b"nobody"),
            ..good.clone()
        };
        assert!(
            Event::from_record(&bad_key)
                .unwrap_err()
                .to_string()
                .starts_with("key: ")
        );
        let bare = Record {
            headers: Headers::new(),
            ..good
        };
        assert_eq!(
            Event::from_record(&bare),
            Err(Malformed::Missing("ce_source"))
        );
    }
}
