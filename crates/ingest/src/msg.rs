//! The dialect's way to publish: an envelope in JSON with the payload inside.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use postrider_http::{ApplicationIn, HttpError, InPath, Query, parse_json};
use postrider_model::{
    Channel, Event, EventId, EventOrigin, EventType, NameError, TraceContext, Uid,
};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::Ingest;
use crate::asked::Asked;
use crate::publish::Keys;
use crate::traced::incoming;

/// The most channels that an event may have.
const MAX_CHANNELS: usize = 5;

/// The envelope.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageIn<'a> {
    event_type: EventType,
    #[serde(borrow)]
    payload: &'a RawValue,
    #[serde(default)]
    channels: Option<Vec<Channel>>,
    #[serde(default, deserialize_with = "event_id")]
    event_id: Option<Uid>,
    #[serde(default)]
    application: Option<ApplicationIn>,
    #[serde(default, borrow)]
    deliver_at: Option<&'a RawValue>,
    #[serde(default, borrow)]
    tags: Option<&'a RawValue>,
    #[serde(default, borrow)]
    payload_retention_period: Option<&'a RawValue>,
    #[serde(default, borrow)]
    payload_retention_hours: Option<&'a RawValue>,
    #[serde(default, borrow)]
    transformations_params: Option<&'a RawValue>,
}

/// A uid, by the name that it has here.
fn event_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Uid>, D::Error> {
    let given = Option::<Cow<'de, str>>::deserialize(deserializer)?;
    let uid = given.map(|text| {
        text.parse()
            .map_err(|error: NameError| error.called("eventId"))
    });
    uid.transpose().map_err(serde::de::Error::custom)
}

pub(crate) async fn create(
    State(ingest): State<Arc<Ingest>>,
    InPath(app_id): InPath<String>,
    query: Query,
    request: Request,
) -> Response {
    let (incoming, path) = (incoming(request.headers()), request.uri().path());
    let (span, trace) = ingest.trace(incoming, "/api/v1/app/{app_id}/msg", path);
    let asked = ingest.asked();
    let work = publish(&ingest, &asked, app_id, query, trace, request);
    ingest.answer(&asked, async { (span, work.await) }).await
}

async fn publish(
    ingest: &Ingest,
    asked: &Asked<'_>,
    app_id: String,
    query: Query,
    trace: Option<Box<TraceContext>>,
    request: Request,
) -> Result<(Event, bool), HttpError> {
    let opened = ingest.open(asked, app_id, &query, request).await?;
    let mut message: MessageIn<'_> = parse_json(&opened.body)?;
    message.check()?;
    let payload = payload(ingest, &opened.body, message.payload)?;
    let application = ingest
        .application(opened.admitted, message.application.take())
        .await?;
    ingest
        .check_type(&message.event_type, |why| HttpError::body("eventType", why))
        .await?;
    let now = ingest.clock.now();
    let event = Event {
        id: EventId::new_at(now),
        app_id: application.id,
        event_type: message.event_type,
        channels: message.channels.unwrap_or_default(),
        uid: message.event_id,
        content_type: Event::JSON.to_owned(),
        payload,
        accepted_at: now,
        trace,
        origin: EventOrigin::Accepted,
    };
    let keys = Keys::of(&event, opened.key.as_deref());
    Ok((ingest.publish_once(event, keys).await?, opened.with_content))
}

/// The payload as a slice of the body, not a copy.
fn payload(ingest: &Ingest, body: &Bytes, raw: &RawValue) -> Result<Bytes, HttpError> {
    let text = raw.get();
    if !text.starts_with('{') {
        return Err(HttpError::body(
            "payload",
            "expected a JSON object; other content is taken at /api/v1/app/{app_id}/event",
        ));
    }
    ingest.check_size(text.as_bytes())?;
    ingest.check_depth(text.as_bytes(), "payload")?;
    Ok(body.slice_ref(text.as_bytes()))
}

impl MessageIn<'_> {
    fn check(&self) -> Result<(), HttpError> {
        if let Some(channels) = &self.channels {
            if channels.is_empty() || channels.len() > MAX_CHANNELS {
                return Err(HttpError::body(
                    "channels",
                    format!("expected 1 to {MAX_CHANNELS} channels, or none at all"),
                ));
            }
            if (1..channels.len()).any(|i| channels[..i].contains(&channels[i])) {
                return Err(HttpError::body("channels", "a channel stands there twice"));
            }
        }
        // What would have no effect is refused: an event that was to be late, or to be forgotten early, must not be
        // delivered at once and kept.
        let unsupported = [
            ("deliverAt", self.deliver_at),
            ("tags", self.tags),
            ("payloadRetentionPeriod", self.payload_retention_period),
            ("payloadRetentionHours", self.payload_retention_hours),
            ("transformationsParams", self.transformations_params),
        ];
        let given = unsupported
            .into_iter()
            .find(|(_, value)| value.is_some_and(|raw| !matches!(raw.get(), "null" | "[]" | "{}")));
        match given {
            Some((name, _)) => {
                let instead = match name {
                    // Some clients send what is no JSON object inside it.
                    "transformationsParams" => {
                        "; a payload that is no JSON object is taken at /api/v1/app/{app_id}/event"
                    }
                    _ => "",
                };
                let why = format!("{name} is not supported yet: leave it out{instead}");
                Err(HttpError::body(name, why))
            }
            None => Ok(()),
        }
    }
}
