//! CloudEvents 1.0 as producers send them, over HTTP or straight to the topic: what an event must have, and its JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    AppId, Channel, Event, EventId, EventOrigin, EventType, Refused, RefusedFor, Timestamp,
    TraceContext, is_within_depth,
};

/// The longest id, source or content type, in bytes. They travel with every delivery.
const MAX_TEXT: usize = 1024;
/// The most channels that an event may have.
const MAX_CHANNELS: usize = 5;

/// The attributes and data of a CloudEvent, however they came, not checked yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CloudEvent {
    /// `specversion`.
    pub specversion: String,
    /// `id`.
    pub id: String,
    /// `source`.
    pub source: String,
    /// `type`.
    pub event_type: String,
    /// `time`.
    pub time: Option<String>,
    /// The extension `channels`: names divided by commas.
    pub channels: String,
    /// The extension `application`: whose event it is, by id or uid.
    pub application: Option<String>,
    /// The extensions `traceparent` and `tracestate`.
    pub trace: Option<Box<TraceContext>>,
    /// `datacontenttype`.
    pub content_type: String,
    /// The data.
    pub data: Bytes,
}

/// A CloudEvent in JSON, as it is parsed.
#[derive(Debug, Deserialize)]
pub struct StructuredEvent<'a> {
    specversion: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    event_type: String,
    #[serde(default)]
    time: Option<String>,
    #[serde(default)]
    channels: Option<String>,
    #[serde(default)]
    application: Option<String>,
    #[serde(default)]
    traceparent: Option<String>,
    #[serde(default)]
    tracestate: Option<String>,
    #[serde(default)]
    datacontenttype: Option<String>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    data_base64: Option<String>,
}

/// An event as its producer gave it, checked, before it is settled whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    pub(crate) name: Name,
    pub(crate) event_type: EventType,
    pub(crate) channels: Vec<Channel>,
    pub(crate) content_type: String,
    pub(crate) payload: Bytes,
    pub(crate) trace: Option<Box<TraceContext>>,
}

/// What the event's id is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    /// Names that the producer gave.
    Given { source: String, id: String },
    /// The record that it came in.
    Record(EventId),
}

impl CloudEvent {
    /// The event in `json`, which was parsed from `body`. JSON data stays the slice that was sent (JSON format, section 3.1).
    pub fn of_json(
        json: StructuredEvent<'_>,
        body: &Bytes,
        json_depth: usize,
    ) -> Result<Self, Refused> {
        let content_type = json
            .datacontenttype
            .unwrap_or_else(|| Event::JSON.to_owned());
        let data = match (json.data, json.data_base64) {
            (Some(_), Some(_)) => {
                let why = "expected data or data_base64, not both";
                return Err(Refused::malformed("data", why));
            }
            (Some(raw), None) => data_of(body, raw, &content_type, json_depth)?,
            (None, Some(text)) => STANDARD
                .decode(text)
                .map_err(|error| Refused::malformed("data_base64", format!("not base64: {error}")))?
                .into(),
            (None, None) => Bytes::new(),
        };
        Ok(Self {
            specversion: json.specversion,
            id: json.id,
            source: json.source,
            event_type: json.event_type,
            time: json.time,
            channels: json.channels.unwrap_or_default(),
            application: json.application,
            trace: TraceContext::of_record(
                json.traceparent.as_deref().unwrap_or_default(),
                json.tracestate.as_deref().unwrap_or_default(),
                "",
            ),
            content_type,
            data,
        })
    }

    /// The event, if everything is as it must be. Says which attribute is not.
    pub fn check(self) -> Result<Published, Refused> {
        if self.specversion != "1.0" {
            let why = "expected 1.0, the version of CloudEvents that is taken";
            return Err(Refused::malformed("specversion", why));
        }
        check_name("source", &self.source)?;
        if self
            .time
            .is_some_and(|time| Timestamp::parse(&time).is_none())
        {
            return Err(Refused::malformed("time", "expected a time in RFC 3339"));
        }
        let name = Name::given(self.source, self.id)?;
        let published =
            Published::named(name, &self.event_type, &self.channels, self.content_type)?;
        Ok(published.with(self.data, self.trace))
    }
}

impl Name {
    pub(crate) fn given(source: String, id: String) -> Result<Self, Refused> {
        check_name("id", &id)?;
        Ok(Self::Given { source, id })
    }
}

impl Published {
    /// An event of this name, with nothing in it yet.
    pub(crate) fn named(
        name: Name,
        event_type: &str,
        channels: &str,
        content_type: String,
    ) -> Result<Self, Refused> {
        let event_type = event_type
            .parse()
            .map_err(|error| Refused::new(RefusedFor::EventType, "type", error))?;
        if content_type.len() > MAX_TEXT
            || !content_type.bytes().all(|b| (b' '..=b'~').contains(&b))
        {
            let why =
                format!("expected a media type of at most {MAX_TEXT} printable ASCII characters");
            return Err(Refused::malformed("datacontenttype", why));
        }
        Ok(Self {
            name,
            event_type,
            channels: channels_in(channels)?,
            content_type,
            payload: Bytes::new(),
            trace: None,
        })
    }

    /// The same with its content.
    pub(crate) fn with(self, payload: Bytes, trace: Option<Box<TraceContext>>) -> Self {
        Self {
            payload,
            trace,
            ..self
        }
    }

    /// Its kind.
    pub fn event_type(&self) -> &EventType {
        &self.event_type
    }

    /// The data.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The event of `app_id`. Its id follows from the application and what the producer called it.
    pub fn into_event(self, app_id: AppId, accepted_at: Timestamp) -> Event {
        let id = match &self.name {
            Name::Given { source, id } => Event::derived_id(app_id, source, id),
            Name::Record(id) => EventId::derive(&[app_id.as_bytes(), id.as_bytes()]),
        };
        Event {
            id,
            app_id,
            event_type: self.event_type,
            channels: self.channels,
            uid: None,
            content_type: self.content_type,
            payload: self.payload,
            accepted_at,
            trace: self.trace,
            origin: EventOrigin::Accepted,
        }
    }
}

fn check_name(at: &'static str, text: &str) -> Result<(), Refused> {
    if text.is_empty() || text.len() > MAX_TEXT {
        return Err(Refused::malformed(
            at,
            format!("expected 1 to {MAX_TEXT} bytes"),
        ));
    }
    Ok(())
}

fn channels_in(text: &str) -> Result<Vec<Channel>, Refused> {
    let names = text.split(',').map(str::trim);
    let channels = names
        .filter(|name| !name.is_empty())
        .map(|name| {
            name.parse()
                .map_err(|error| Refused::malformed("channels", error))
        })
        .collect::<Result<Vec<Channel>, _>>()?;
    if channels.len() > MAX_CHANNELS {
        let why = format!("expected at most {MAX_CHANNELS} channels");
        return Err(Refused::malformed("channels", why));
    }
    Ok(channels)
}

/// JSON data is the slice that was sent; a string under another media type is its text (JSON format, section 3.1.1).
fn data_of(
    body: &Bytes,
    raw: &RawValue,
    content_type: &str,
    json_depth: usize,
) -> Result<Bytes, Refused> {
    let text = raw.get();
    if !is_within_depth(text.as_bytes(), json_depth) {
        let why =
            format!("the JSON is nested deeper than the {json_depth} levels that are accepted");
        return Err(Refused::malformed("data", why));
    }
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let is_json = essence.eq_ignore_ascii_case(Event::JSON) || content_type.contains("+json");
    if text.starts_with('"') && !is_json {
        let text: String =
            serde_json::from_str(text).map_err(|error| Refused::malformed("data", error))?;
        return Ok(text.into());
    }
    Ok(body.slice_ref(text.as_bytes()))
}
