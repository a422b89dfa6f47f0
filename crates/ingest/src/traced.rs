//! The span of a request.

use axum::http::{HeaderMap, StatusCode};
use postrider_model::{Event, TraceContext};
use postrider_trace::{Kind, Span};

use crate::Ingest;

impl Ingest {
    /// The span of a request to `path`, as `route` has it, under what its producer began; and the context that its event is
    /// accepted under: the span's if there is one, else the producer's, which is passed on as it came.
    pub(crate) fn trace(
        &self,
        incoming: Option<Box<TraceContext>>,
        route: &'static str,
        path: &str,
    ) -> (Span, Option<Box<TraceContext>>) {
        let parent = incoming.as_deref();
        let mut span = self.tracer.begin(parent, Kind::Server, ("POST", route));
        span.note(|note| {
            note.text("http.request.method", "POST");
            note.text("http.route", route);
            note.text("url.scheme", "http");
            note.show("url.path", path);
        });
        let trace = span.context().or(incoming);
        (span, trace)
    }
}

/// The W3C trace context of a request, if it has one.
pub(crate) fn incoming(headers: &HeaderMap) -> Option<Box<TraceContext>> {
    let trace = TraceContext::parse(headers.get("traceparent")?.to_str().ok()?)?;
    // It may come in parts (section 3.3.1).
    let states = headers.get_all("tracestate").iter();
    let states: Vec<&str> = states.filter_map(|state| state.to_str().ok()).collect();
    Some(trace.with_state(&states.join(",")))
}

/// Which event it is.
pub(crate) fn tell_event(span: &mut Span, event: &Event) {
    span.note(|note| {
        note.show("postrider.event.id", event.id);
        note.show("postrider.event.type", &event.event_type);
        note.show("postrider.application.id", event.app_id);
    });
}

/// How it was answered. What the client did wrong is no failure of the server.
pub(crate) fn end(mut span: Span, status: StatusCode) {
    span.note(|note| note.number("http.response.status_code", status.as_u16()));
    if status.is_server_error() {
        span.failed(status.as_u16());
    }
    span.end();
}
