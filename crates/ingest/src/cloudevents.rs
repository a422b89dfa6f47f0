//! CloudEvents 1.0 over HTTP: binary mode (attributes in headers, any content type), and structured mode in JSON.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use percent_encoding::percent_decode;
use postrider_http::{HttpError, InPath, Query, key_header, parse_json};
use postrider_model::{AppId, Channel, Event, EventOrigin, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Ingest;
use crate::accept::traceparent;
use crate::publish::Keys;

/// The longest id, source or content type, in bytes. They travel with every delivery.
const MAX_TEXT: usize = 1024;
/// The most channels that an event may have.
const MAX_CHANNELS: usize = 5;

/// An event's attributes and data, however they came.
struct Received {
    id: String,
    source: String,
    event_type: String,
    channels: String,
    content_type: String,
    data: Bytes,
}

pub(crate) async fn create(
    State(ingest): State<Arc<Ingest>>,
    InPath(app_id): InPath<String>,
    query: Query,
    request: Request,
) -> Response {
    ingest
        .answer(publish(&ingest, app_id, query, request))
        .await
}

async fn publish(
    ingest: &Ingest,
    app_id: String,
    query: Query,
    request: Request,
) -> Result<(Event, bool), HttpError> {
    let (parts, body) = request.into_parts();
    let admitted = ingest.admit(&parts.headers, app_id).await?;
    let with_content = query.flag("with_content", true)?;
    let key = key_header(&parts.headers)?;
    let application = ingest.application(admitted, None).await?;
    let body = ingest.body(&parts.headers, body).await?;
    let received = match content_type(&parts.headers)? {
        text if is(&text, "application/cloudevents+json") => structured(ingest, &body)?,
        text if text.starts_with("application/cloudevents") => {
            return Err(HttpError::UnsupportedMedia(format!(
                "{text} is not taken: send one event a request, in binary mode or as application/cloudevents+json"
            )));
        }
        text => binary(&parts.headers, text, body)?,
    };
    ingest.check_size(&received.data)?;
    let now = ingest.clock.now();
    let event = received.into_event(application.id, now, traceparent(&parts.headers))?;
    ingest
        .check_type(&event.event_type, |why| HttpError::header("ce-type", why))
        .await?;
    let keys = Keys::of(&event, key);
    Ok((ingest.publish_once(event, keys).await?, with_content))
}

impl Received {
    fn into_event(
        self,
        app_id: AppId,
        now: Timestamp,
        traceparent: Option<String>,
    ) -> Result<Event, HttpError> {
        for (name, text) in [("ce-id", &self.id), ("ce-source", &self.source)] {
            if text.is_empty() || text.len() > MAX_TEXT {
                return Err(HttpError::header(
                    name,
                    format!("expected 1 to {MAX_TEXT} bytes"),
                ));
            }
        }
        let parsed = self.event_type.parse();
        let event_type = parsed.map_err(|error| HttpError::header("ce-type", error))?;
        let names = self.channels.split(',').map(str::trim);
        let channels = names
            .filter(|name| !name.is_empty())
            .map(|name| {
                name.parse()
                    .map_err(|error| HttpError::header("ce-channels", error))
            })
            .collect::<Result<Vec<Channel>, _>>()?;
        if channels.len() > MAX_CHANNELS {
            return Err(HttpError::header(
                "ce-channels",
                format!("expected at most {MAX_CHANNELS} channels"),
            ));
        }
        Ok(Event {
            id: Event::derived_id(app_id, &self.source, &self.id),
            app_id,
            event_type,
            channels,
            uid: None,
            content_type: self.content_type,
            payload: self.data,
            accepted_at: now,
            traceparent,
            origin: EventOrigin::Accepted,
        })
    }
}

/// Binary mode: the attributes are headers, the body is the data.
fn binary(headers: &HeaderMap, content_type: String, data: Bytes) -> Result<Received, HttpError> {
    let needed = |name: &'static str| {
        attribute(headers, name)?.ok_or_else(|| {
            HttpError::header(
                name,
                "is missing: a CloudEvents request in binary mode has it",
            )
        })
    };
    check_version(&needed("ce-specversion")?)?;
    if let Some(time) = attribute(headers, "ce-time")?
        && Timestamp::parse(&time).is_none()
    {
        return Err(HttpError::header("ce-time", "expected a time in RFC 3339"));
    }
    Ok(Received {
        id: needed("ce-id")?,
        source: needed("ce-source")?,
        event_type: needed("ce-type")?,
        channels: attribute(headers, "ce-channels")?.unwrap_or_default(),
        content_type,
        data,
    })
}

/// One attribute; percent-encoded where it is not plain ASCII (HTTP binding, section 3.1.3.2).
fn attribute(headers: &HeaderMap, name: &'static str) -> Result<Option<String>, HttpError> {
    headers
        .get(name)
        .map(|value| {
            let decoded = percent_decode(value.as_bytes()).decode_utf8();
            decoded
                .map(|text| text.into_owned())
                .map_err(|_| HttpError::header(name, "expected UTF-8, percent-encoded"))
        })
        .transpose()
}

fn check_version(given: &str) -> Result<(), HttpError> {
    if given == "1.0" {
        return Ok(());
    }
    Err(HttpError::header(
        "ce-specversion",
        "expected 1.0, the version of CloudEvents that is taken",
    ))
}

fn content_type(headers: &HeaderMap) -> Result<String, HttpError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok("application/octet-stream".to_owned());
    };
    match value.to_str() {
        Ok(text) if text.len() <= MAX_TEXT => Ok(text.to_owned()),
        _ => Err(HttpError::header(
            "content-type",
            format!("expected a media type of at most {MAX_TEXT} printable ASCII characters"),
        )),
    }
}

fn is(content_type: &str, essence: &str) -> bool {
    let given = content_type.split(';').next().unwrap_or_default();
    given.trim().eq_ignore_ascii_case(essence)
}

/// Structured mode: everything is in one JSON object.
#[derive(Deserialize)]
struct Structured<'a> {
    specversion: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    event_type: String,
    #[serde(default)]
    channels: Option<String>,
    #[serde(default)]
    datacontenttype: Option<String>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    data_base64: Option<String>,
}

fn structured(ingest: &Ingest, body: &Bytes) -> Result<Received, HttpError> {
    let given: Structured<'_> = parse_json(body)?;
    check_version(&given.specversion)?;
    let content_type = given
        .datacontenttype
        .unwrap_or_else(|| Event::JSON.to_owned());
    if content_type.len() > MAX_TEXT || !content_type.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Err(HttpError::body(
            "datacontenttype",
            format!("expected a media type of at most {MAX_TEXT} printable ASCII characters"),
        ));
    }
    let data = match (given.data, given.data_base64) {
        (Some(_), Some(_)) => {
            return Err(HttpError::body(
                "data",
                "expected data or data_base64, not both",
            ));
        }
        (Some(raw), None) => data_of(ingest, body, raw, &content_type)?,
        (None, Some(text)) => STANDARD
            .decode(text)
            .map_err(|error| HttpError::body("data_base64", format!("not base64: {error}")))?
            .into(),
        (None, None) => Bytes::new(),
    };
    Ok(Received {
        id: given.id,
        source: given.source,
        event_type: given.event_type,
        channels: given.channels.unwrap_or_default(),
        content_type,
        data,
    })
}

/// JSON data is the slice that was sent; a string under another media type is its text (JSON format, section 3.1.1).
fn data_of(
    ingest: &Ingest,
    body: &Bytes,
    raw: &RawValue,
    content_type: &str,
) -> Result<Bytes, HttpError> {
    let text = raw.get();
    ingest.check_depth(text.as_bytes(), "data")?;
    if text.starts_with('"') && !is(content_type, Event::JSON) && !content_type.contains("+json") {
        return Ok(parse_json::<String>(text.as_bytes())?.into());
    }
    Ok(body.slice_ref(text.as_bytes()))
}
