//! An event as the dialect answers it: a *message*.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postrider_model::{Channel, Event, EventId, Timestamp, Uid};
use serde::Serialize;
use serde_json::value::RawValue;

/// An event as it is answered.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageOut<'a> {
    id: EventId,
    event_id: Option<&'a Uid>,
    event_type: &'a str,
    channels: Option<&'a [Channel]>,
    /// The payload as it was sent, if it is a JSON object and asked for; else `{}`.
    payload: &'a RawValue,
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

impl<'a> MessageOut<'a> {
    /// `event` as it is answered. A payload that is no JSON object stands in base64 beside its media type, because the
    /// dialect knows only objects.
    pub fn of(event: &'a Event, with_content: bool) -> Self {
        let object = json_object(&event.payload);
        let foreign = object.is_none() || !is_json(&event.content_type);
        Self {
            id: event.id,
            event_id: event.uid.as_ref(),
            event_type: event.event_type.as_str(),
            channels: (!event.channels.is_empty()).then_some(&event.channels),
            payload: object
                .filter(|_| with_content && !foreign)
                .unwrap_or_else(|| empty_object()),
            timestamp: event.accepted_at,
            content_type: foreign.then_some(&event.content_type),
            payload_base64: (foreign && with_content).then(|| STANDARD.encode(&event.payload)),
        }
    }
}

fn empty_object() -> &'static RawValue {
    // Two bytes of constant text, read once at most each answer.
    #[expect(clippy::expect_used, reason = "{} is JSON")]
    serde_json::from_str("{}").expect("{} is JSON")
}

/// The payload as raw JSON, if it is an object.
fn json_object(payload: &[u8]) -> Option<&RawValue> {
    let raw: &RawValue = serde_json::from_slice(payload).ok()?;
    raw.get().starts_with('{').then_some(raw)
}

/// True for `application/json` and for what is written in it, such as `application/problem+json`.
pub fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(Event::JSON)
        || essence
            .get(essence.len().saturating_sub(5)..)
            .is_some_and(|end| end.eq_ignore_ascii_case("+json"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use postrider_model::{AppId, EventOrigin};

    use super::*;

    fn answered(content_type: &str, payload: &'static [u8], with_content: bool) -> String {
        let event = Event {
            id: EventId::derive(&[b"x"]),
            app_id: AppId::new(),
            event_type: "a.b".parse().unwrap(),
            channels: vec![],
            uid: None,
            content_type: content_type.to_owned(),
            payload: Bytes::from_static(payload),
            accepted_at: Timestamp::from_millis(0),
            trace: None,
            origin: EventOrigin::Accepted,
        };
        serde_json::to_string(&MessageOut::of(&event, with_content)).unwrap()
    }

    #[test]
    fn a_payload_is_answered_as_it_was_sent() {
        let text = answered("application/json", br#"{ "a": 1.0, "a":1e0 }"#, true);
        assert!(
            text.contains(r#""payload":{ "a": 1.0, "a":1e0 },"#),
            "{text}"
        );
        let text = answered("application/json", b"{ }", false);
        assert!(text.contains(r#""payload":{},"#), "{text}");
    }

    #[test]
    fn another_payload_stands_beside_in_base64() {
        for (content_type, payload) in [
            ("text/plain", &b"{}"[..]),
            ("application/json", b"[1]"),
            ("application/json", b"\xff"),
        ] {
            let text = answered(content_type, payload, true);
            let expected = format!(
                r#""contentType":"{content_type}","payloadBase64":"{}""#,
                STANDARD.encode(payload)
            );
            assert!(
                text.contains(r#""payload":{},"#) && text.contains(&expected),
                "{text}"
            );
        }
    }
}
