//! The spans of a delivery: of the time that its record was in hand here, and of each attempt in it.

use std::sync::Arc;

use http::Method;
use postrider_model::{Delivery, Outcome, TraceContext};
use postrider_trace::{Kind, Span, Tracer};
use tokio::time::Instant;
use url::Url;

use crate::classify::Verdict;
use crate::{Answer, Failure, Target, Waiting};

/// The spans of one attempt; of one that is not sampled, none.
#[derive(Debug, Default)]
pub(crate) struct Traced {
    lane: Span,
    attempt: Span,
}

impl Traced {
    /// An attempt begins.
    pub(crate) fn begin(tracer: &Tracer, waiting: &Waiting, target: &Target, now: Instant) -> Self {
        let lane = lane(tracer, waiting, now);
        let within = lane.context();
        let mut attempt = tracer.child(within.as_deref(), Kind::Client, ("POST", ""));
        let (delivery, endpoint) = (&waiting.delivery, &target.endpoint);
        attempt.note(|note| {
            note.text("http.request.method", Method::POST.as_str());
            note.text("url.full", bare(&endpoint.url));
            note.show(
                "server.address",
                endpoint.url.host_str().unwrap_or_default(),
            );
            note.number(
                "server.port",
                endpoint.url.port_or_known_default().unwrap_or(0),
            );
            if delivery.attempts_made > 0 {
                note.number("http.request.resend_count", delivery.attempts_made);
            }
            note.show("postrider.attempt.id", delivery.next_attempt_id());
            note.number(
                "postrider.attempt.number",
                u64::from(delivery.attempts_made) + 1,
            );
            note.show("postrider.endpoint.id", endpoint.id);
        });
        Self { lane, attempt }
    }

    /// What the endpoint is told: the context of the attempt. None if there is no span; then it is told what the delivery
    /// carries.
    pub(crate) fn context(&self) -> Option<Box<TraceContext>> {
        self.attempt.context()
    }

    /// The delivery, known as what repeats this attempt.
    pub(crate) fn to_repeat(&self, delivery: Arc<Delivery>) -> Arc<Delivery> {
        match self.context() {
            None => delivery,
            Some(attempt) => {
                let delivery = Arc::unwrap_or_clone(delivery);
                Arc::new(delivery.repeating(attempt.traceparent()))
            }
        }
    }

    /// The attempt has ended, and what it came to follows.
    pub(crate) fn end(
        mut self,
        result: &Result<Answer, Failure>,
        outcome: Outcome,
        verdict: &Verdict,
    ) {
        let status = result.as_ref().ok().map(|answer| answer.status);
        self.attempt.note(|note| {
            if let Some(status) = status {
                note.number("http.response.status_code", status);
            }
            note.text("postrider.attempt.outcome", outcome.label());
        });
        match (outcome, status) {
            (Outcome::Succeeded, _) => {}
            (_, Some(status)) => self.attempt.failed(status),
            (_, None) => self.attempt.failed(outcome.label()),
        }
        self.attempt.end();
        let (came_to, why) = match verdict {
            Verdict::Done => ("delivered", None),
            Verdict::Retry(_) => ("retry", None),
            Verdict::Again(_) => ("parked", Some(outcome.label())),
            Verdict::Dead(reason) => ("dead_letter", Some(reason.label())),
        };
        conclude(self.lane, came_to, why);
    }
}

/// A delivery is put aside without an attempt.
pub(crate) fn put_aside(
    tracer: &Tracer,
    waiting: &Waiting,
    now: Instant,
    came_to: &'static str,
    why: &'static str,
) {
    conclude(lane(tracer, waiting, now), came_to, Some(why));
}

fn conclude(mut lane: Span, came_to: &'static str, why: Option<&'static str>) {
    lane.note(|note| {
        note.text("postrider.delivery.result", came_to);
        if let Some(why) = why {
            note.text("postrider.delivery.reason", why);
        }
    });
    if came_to == "dead_letter" {
        lane.failed(why.unwrap_or(came_to));
    }
    lane.end();
}

/// The span of what is done with a delivery's record, since it was read.
fn lane(tracer: &Tracer, waiting: &Waiting, now: Instant) -> Span {
    let delivery = &waiting.delivery;
    let trace = delivery.trace.as_deref();
    let mut span = tracer.process(trace, waiting.at);
    span.began_before(now.saturating_duration_since(waiting.read_at));
    if let Some(attempt) = trace.and_then(TraceContext::repeats) {
        span.link(attempt, "retry");
    }
    span.note(|note| note.delivery(delivery));
    span
}

/// The address without what may be secret in it: name and password, and the query.
fn bare(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    // Neither can fail for an address with a host, and an endpoint has one.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_without_its_credentials_and_query() {
        let url = "https://user:secret@example.com:8443/hook/1?token=secret"
            .parse()
            .unwrap();
        assert_eq!(bare(&url), "https://example.com:8443/hook/1");
    }
}
