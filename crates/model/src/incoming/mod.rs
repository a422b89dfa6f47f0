//! Records of `events`: our own, and what other producers write straight to the topic.
//!
//! Three forms are taken from others: CloudEvents 1.0 in binary mode (attributes in headers `ce_…`), in structured mode
//! (`content-type: application/cloudevents+json`), and a plain record with the headers `application` and `event-type`.

mod headers;
#[cfg(test)]
mod tests;
mod waiting;

use bytes::Bytes;

use self::headers::{Given, Known};
use crate::cloudevent::Name;
use crate::{
    AppId, CloudEvent, Event, EventType, Published, Record, Refused, RefusedFor, StructuredEvent,
    Timestamp, TraceContext,
};

pub use waiting::{RECORD_ID, again, record_id, waiting};

/// What an event's JSON may take beside its payload, in bytes. The same as over HTTP.
const ENVELOPE_BYTES: usize = 64 << 10;

/// How much is taken; the same as over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntakeLimits {
    /// The largest payload, in bytes.
    pub payload_bytes: usize,
    /// How deep the JSON of a structured event's data may be nested.
    pub json_depth: usize,
}

impl Default for IntakeLimits {
    fn default() -> Self {
        Self {
            payload_bytes: 1 << 20,
            json_depth: 100,
        }
    }
}

/// What a record of `events` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// One of our own: checked when it was written.
    Own(Event),
    /// Another producer's.
    Foreign(Foreign),
}

/// An event of another producer, checked but for whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// Whose it is: an application's id or uid, as it was given.
    pub application: String,
    accepted_at: Timestamp,
    published: Published,
}

impl Foreign {
    /// Its kind.
    pub fn event_type(&self) -> &EventType {
        self.published.event_type()
    }

    /// The event, once it is known whose it is. Reading the record again makes the same.
    pub fn into_event(self, app_id: AppId) -> Event {
        self.published.into_event(app_id, self.accepted_at)
    }
}

impl Incoming {
    /// Reads a record of `events` or of `events.waiting`, or says why it is no event.
    pub fn read(record: &Record, limits: IntakeLimits) -> Result<Self, Refused> {
        if Event::is_own(record) {
            return Event::from_record(record)
                .map(Self::Own)
                .map_err(|malformed| Refused::malformed("a record of our own", malformed));
        }
        if record.has_no_value() {
            let why = "there is none: an event without data has an empty one";
            return Err(Refused::new(RefusedFor::NoValue, "value", why));
        }
        foreign(record, limits).map(Self::Foreign)
    }
}

fn foreign(record: &Record, limits: IntakeLimits) -> Result<Foreign, Refused> {
    let given = Given::of(&record.headers)?;
    let content_type = given.get(Known::ContentType).unwrap_or_default();
    // Matched as a prefix, in any case (Kafka binding, section 3).
    let format = content_type
        .get(..CLOUDEVENTS.len())
        .filter(|start| start.eq_ignore_ascii_case(CLOUDEVENTS));
    let (application, published) = if format.is_some() {
        structured(record, content_type, limits)?
    } else if given.any(&[Known::CeSpecversion, Known::CeId, Known::CeSource]) {
        binary(record, &given)?
    } else if given.any(&[Known::Application, Known::EventType]) {
        plain(record, &given)?
    } else {
        return Err(Refused::malformed("headers", NO_FORM));
    };
    check_size(published.payload(), limits.payload_bytes)?;
    Ok(Foreign {
        application: match application {
            Some(application) => application,
            None => key(record)?,
        },
        accepted_at: waiting::accepted_at(record),
        published,
    })
}

const CLOUDEVENTS: &str = "application/cloudevents";
const NO_FORM: &str = "neither those of a CloudEvent (ce_specversion, ce_id, ce_source, ce_type) nor those of a plain record (application, event-type)";

/// Whose it is, if no attribute says so.
fn key(record: &Record) -> Result<String, Refused> {
    match std::str::from_utf8(&record.key) {
        Ok("") => Err(Refused::malformed(
            "application",
            "is missing: name it in ce_application or as the record's key",
        )),
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Refused::new(RefusedFor::NotUtf8, "key", "not UTF-8")),
    }
}

/// The attributes are headers, the value is the data (Kafka binding, section 3.2).
fn binary(record: &Record, given: &Given<'_>) -> Result<(Option<String>, Published), Refused> {
    let needed = |header| given.needed(header, "a CloudEvent in binary mode");
    let mut event = CloudEvent {
        specversion: needed(Known::CeSpecversion)?.to_owned(),
        id: needed(Known::CeId)?.to_owned(),
        source: needed(Known::CeSource)?.to_owned(),
        event_type: needed(Known::CeType)?.to_owned(),
        time: given.owned(Known::CeTime),
        channels: given.owned(Known::CeChannels).unwrap_or_default(),
        application: given.owned(Known::CeApplication),
        trace: trace(given),
        content_type: content_type(given),
        data: record.value.clone(),
    };
    let application = event.application.take();
    let published = event.check().map_err(|refused| {
        refused.renamed(|at| match at {
            "datacontenttype" => Known::ContentType.name().to_owned(),
            at => format!("ce_{at}"),
        })
    })?;
    Ok((application, published))
}

/// Everything is in one JSON object (Kafka binding, section 3.3).
fn structured(
    record: &Record,
    content_type: &str,
    limits: IntakeLimits,
) -> Result<(Option<String>, Published), Refused> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/cloudevents+json") {
        let why = format!(
            "{essence} is not taken: send one event a record, in binary mode or as application/cloudevents+json"
        );
        return Err(Refused::new(RefusedFor::Unsupported, "content-type", why));
    }
    check_size(
        &record.value,
        limits.payload_bytes.saturating_add(ENVELOPE_BYTES),
    )?;
    let json: StructuredEvent<'_> = serde_json::from_slice(&record.value).map_err(|error| {
        let why = format!("not a CloudEvent in JSON: {error}");
        Refused::malformed("value", why)
    })?;
    let mut event = CloudEvent::of_json(json, &record.value, limits.json_depth)?;
    let application = event.application.take();
    Ok((application, event.check()?))
}

/// The value is the payload; the headers say whose it is and what.
fn plain(record: &Record, given: &Given<'_>) -> Result<(Option<String>, Published), Refused> {
    let needed = |header| given.needed(header, "a plain record");
    let application = needed(Known::Application)?;
    let name = match given.get(Known::EventId) {
        // No CloudEvent has an empty source: the two never meet.
        Some(id) => Name::given(String::new(), id.to_owned()),
        None => Ok(Name::Record(record_id(record))),
    };
    let published = name.and_then(|name| {
        let channels = given.get(Known::Channels).unwrap_or_default();
        let event_type = needed(Known::EventType)?;
        Published::named(name, event_type, channels, content_type(given))
    });
    let published = published.map_err(|refused| {
        refused.renamed(|at| match at {
            "type" | "id" => format!("event-{at}"),
            "datacontenttype" => Known::ContentType.name().to_owned(),
            at => at.to_owned(),
        })
    })?;
    let published = published.with(record.value.clone(), trace(given));
    Ok((Some(application.to_owned()), published))
}

fn content_type(given: &Given<'_>) -> String {
    given
        .owned(Known::ContentType)
        .unwrap_or_else(|| Event::JSON.to_owned())
}

/// The extensions are of the event, and a producer's own word; the headers may be those of a library that wrote the record.
fn trace(given: &Given<'_>) -> Option<Box<TraceContext>> {
    let pairs = [
        (Known::CeTraceparent, Known::CeTracestate),
        (Known::Traceparent, Known::Tracestate),
    ];
    pairs.into_iter().find_map(|(parent, state)| {
        let state = given.get(state).unwrap_or_default();
        TraceContext::of_record(given.get(parent)?, state, "")
    })
}

fn check_size(bytes: &Bytes, limit: usize) -> Result<(), Refused> {
    if bytes.len() > limit {
        let why = format!("{} bytes; at most {limit} are accepted", bytes.len());
        return Err(Refused::new(RefusedFor::TooLarge, "payload", why));
    }
    Ok(())
}
