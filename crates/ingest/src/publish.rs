//! Writing an event to the log, once for each key.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_failpoint::fail_point;
use postrider_http::{HttpError, KeyClaim, not_acknowledged, not_taken};
use postrider_log::{Durability, Log, Purpose};
use postrider_model::{Event, EventId, Timestamp, topics};
use postrider_trace::Tracer;
use sha2::{Digest, Sha256};

use crate::{Ingest, traced};

const KEY_TAKEN: &str = "this idempotency key was used for another request";
const EVENT_ID_TAKEN: &str = "an event with this eventId exists already in this application, with other content or under another key";

/// The keys under which an event is published once.
pub(crate) struct Keys(Vec<KeyClaim>);

impl Keys {
    /// Those of `event`, which came with this idempotency key.
    pub(crate) fn of(event: &Event, header: Option<&str>) -> Self {
        if header.is_none() && event.uid.is_none() {
            return Self(Vec::new());
        }
        let uid = event.uid.as_ref().map_or("", |uid| uid.as_str());
        // An id that the producer chose is part of what was asked; one that was made for this request is not.
        let own_id = event.id.is_derived().then(|| *event.id.as_bytes());
        let own_id = own_id.as_ref().map_or(&[][..], |id| id);
        let asked = hash(&[&event.fingerprint(), uid.as_bytes(), own_id]);
        let mut claims = Vec::with_capacity(2);
        if let Some(key) = header {
            claims.push(KeyClaim {
                key: format!("event/{}/key/{key}", event.app_id),
                fingerprint: asked,
                taken: KEY_TAKEN,
            });
        }
        if !uid.is_empty() {
            claims.push(KeyClaim {
                key: format!("event/{}/id/{uid}", event.app_id),
                // The same eventId under another key is another request.
                fingerprint: hash(&[&asked, header.unwrap_or_default().as_bytes()]),
                taken: EVENT_ID_TAKEN,
            });
        }
        Self(claims)
    }
}

/// The id of an event whose first key is claimed since then. It follows from both: a repeat after a lost confirmation, when
/// the claim's lease has ended, has the `webhook-id` of the first, and the same key used again after its claim was forgotten
/// is another event, which receivers must not take for a repeat.
fn event_id(first: &KeyClaim, since: Timestamp) -> EventId {
    let since = since.as_millis().to_be_bytes();
    EventId::derive(&[first.key.as_bytes(), &first.fingerprint, &since])
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

impl Ingest {
    /// Publishes `event`, unless it was published under the same keys before. Returns it as it was published first.
    pub(crate) async fn publish_once(
        &self,
        mut event: Event,
        keys: Keys,
    ) -> Result<Event, HttpError> {
        let within = self.options.append_within;
        let Some(first) = keys.0.first().cloned() else {
            append(&*self.log, &self.tracer, within, &mut event).await?;
            return Ok(event);
        };
        let (log, tracer) = (Arc::clone(&self.log), self.tracer.clone());
        let mut asked = event.clone();
        let publish = move |since| async move {
            // Derived ids of producers' own (CloudEvents) stay: they hold across keys.
            if !asked.id.is_derived() {
                asked.id = event_id(&first, since);
            }
            append(&*log, &tracer, within, &mut asked).await?;
            Ok(written(&asked))
        };
        let answer = self.idempotency.once(keys.0, publish).await?;
        let (id, accepted_at) = read(&answer).ok_or_else(|| {
            HttpError::Conflict("this key holds something that is not an event".to_owned())
        })?;
        (event.id, event.accepted_at) = (id, accepted_at);
        Ok(event)
    }
}

/// Writes an event, with the span of that in its record if it is sampled; the log has this long to acknowledge.
async fn append(
    log: &dyn Log,
    tracer: &Tracer,
    within: Duration,
    event: &mut Event,
) -> Result<(), HttpError> {
    let mut span = tracer.send(event.trace.as_deref(), topics::EVENTS);
    if let Some(trace) = span.context() {
        event.trace = Some(trace);
    }
    let records = vec![event.to_record()];
    fail_point!("ingest.append.before");
    let append = log.append(records, Durability::Synced, Purpose::Intake);
    let result = match tokio::time::timeout(within, append).await {
        Ok(Ok(_)) => {
            fail_point!("ingest.append.after");
            Ok(())
        }
        Ok(Err(error)) => Err(not_taken(error, "events")),
        Err(_) => Err(not_acknowledged()),
    };
    traced::tell_event(&mut span, event);
    span.note(|note| {
        note.show("messaging.message.id", event.id);
        note.number("messaging.message.body.size", event.payload.len());
    });
    if result.is_err() {
        span.failed("not_acknowledged");
    }
    span.end();
    result
}

/// What is kept as the answer: id and time of acceptance. All else is in the request, which a repeat sends again.
fn written(event: &Event) -> Bytes {
    let mut answer = Vec::with_capacity(24);
    answer.extend_from_slice(event.id.as_bytes());
    answer.extend_from_slice(&event.accepted_at.as_millis().to_be_bytes());
    answer.into()
}

fn read(answer: &[u8]) -> Option<(EventId, Timestamp)> {
    let (id, at) = answer.split_at_checked(16)?;
    let at = i64::from_be_bytes(at.try_into().ok()?);
    Some((EventId::from_slice(id)?, Timestamp::from_millis(at)))
}
