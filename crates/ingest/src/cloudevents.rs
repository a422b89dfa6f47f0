//! CloudEvents 1.0 over HTTP: binary mode (attributes in headers, any content type), and structured mode in JSON.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;
use bytes::Bytes;
use percent_encoding::percent_decode;
use postrider_http::{HttpError, InPath, Query, check_json, is_json, parse_json};
use postrider_model::{CloudEvent, Event, Published, Refused, StructuredEvent, TraceContext};
use postrider_trace::Span;

use crate::Ingest;
use crate::asked::Asked;
use crate::publish::Keys;
use crate::traced::incoming;

const ROUTE: &str = "/api/v1/app/{app_id}/event";
/// The media type of structured mode.
const STRUCTURED: &str = "application/cloudevents+json";

pub(crate) async fn create(
    State(ingest): State<Arc<Ingest>>,
    InPath(app_id): InPath<String>,
    query: Query,
    request: Request,
) -> Response {
    let asked = ingest.asked();
    let work = async {
        let mut traced = Traced::of(&ingest, &request);
        let result = publish(&ingest, &asked, app_id, query, &mut traced, request).await;
        (traced.span, result)
    };
    ingest.answer(&asked, work).await
}

/// A request's span, and the context that its event is accepted under.
struct Traced {
    span: Span,
    trace: Option<Box<TraceContext>>,
    /// Where it is known only once the body was read, which may say what the producer began: the request's path.
    undecided: Option<Uri>,
}

impl Traced {
    /// The request's own context goes before the extensions, which are of whoever made the event first. In structured mode
    /// these lie in the body.
    fn of(ingest: &Ingest, request: &Request) -> Self {
        let headers = request.headers();
        let incoming = incoming(headers).or_else(|| extension(headers));
        let is_structured = content_type(headers).is_ok_and(|text| is(&text, STRUCTURED));
        if incoming.is_none() && is_structured {
            return Self {
                span: Span::default(),
                trace: None,
                undecided: Some(request.uri().clone()),
            };
        }
        let (span, trace) = ingest.trace(incoming, ROUTE, request.uri().path());
        Self {
            span,
            trace,
            undecided: None,
        }
    }

    /// Puts the event under its context.
    fn accept(&mut self, ingest: &Ingest, event: &mut Event) {
        event.trace = match self.undecided.take() {
            None => self.trace.take(),
            Some(uri) => {
                let (span, trace) = ingest.trace(event.trace.take(), ROUTE, uri.path());
                self.span = span;
                trace
            }
        };
    }
}

async fn publish(
    ingest: &Ingest,
    asked: &Asked<'_>,
    app_id: String,
    query: Query,
    traced: &mut Traced,
    request: Request,
) -> Result<(Event, bool), HttpError> {
    let opened = ingest.open(asked, app_id, &query, request).await?;
    let application = ingest.application(opened.admitted, None).await?;
    let headers = &opened.headers;
    let published = match content_type(headers)? {
        text if is(&text, STRUCTURED) => structured(ingest, &opened.body)?,
        text if text.starts_with("application/cloudevents") => {
            return Err(HttpError::UnsupportedMedia(format!(
                "{text} is not taken: send one event a request, in binary mode or as application/cloudevents+json"
            )));
        }
        text => binary(ingest, headers, text, opened.body)?,
    };
    ingest.check_size(published.payload())?;
    let mut event = published.into_event(application.id, ingest.clock.now());
    traced.accept(ingest, &mut event);
    ingest
        .check_type(&event.event_type, |why| HttpError::header("ce-type", why))
        .await?;
    let keys = Keys::of(&event, opened.key.as_deref());
    Ok((ingest.publish_once(event, keys).await?, opened.with_content))
}

/// Binary mode: the attributes are headers, the body is the data.
fn binary(
    ingest: &Ingest,
    headers: &HeaderMap,
    content_type: String,
    data: Bytes,
) -> Result<Published, HttpError> {
    // The media type is the event's datacontenttype, which says what its data is (HTTP binding, section 3.1.1). An event
    // without data has an empty body.
    if is_json(&content_type) && !data.is_empty() {
        check_json(&data)?;
        ingest.check_depth(&data, "data")?;
    }
    let needed = |name: &'static str| {
        attribute(headers, name)?.ok_or_else(|| {
            HttpError::header(
                name,
                "is missing: a CloudEvents request in binary mode has it",
            )
        })
    };
    let event = CloudEvent {
        specversion: needed("ce-specversion")?,
        id: needed("ce-id")?,
        source: needed("ce-source")?,
        event_type: needed("ce-type")?,
        time: attribute(headers, "ce-time")?,
        channels: attribute(headers, "ce-channels")?.unwrap_or_default(),
        // The path says whose it is.
        application: None,
        // Looked for before: it goes into the span.
        trace: None,
        content_type,
        data,
    };
    let in_header = |refused: Refused| match &*refused.at {
        "datacontenttype" => HttpError::header("content-type", refused.why),
        at => HttpError::header(format!("ce-{at}"), refused.why),
    };
    event.check().map_err(in_header)
}

/// The trace context in the extensions `traceparent` and `tracestate`.
fn extension(headers: &HeaderMap) -> Option<Box<TraceContext>> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let trace = TraceContext::parse(text("ce-traceparent")?)?;
    Some(trace.with_state(text("ce-tracestate").unwrap_or_default()))
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

fn content_type(headers: &HeaderMap) -> Result<String, HttpError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok("application/octet-stream".to_owned());
    };
    let text = value.to_str();
    text.map(str::to_owned)
        .map_err(|_| HttpError::header("content-type", "expected printable ASCII characters"))
}

fn is(content_type: &str, essence: &str) -> bool {
    let given = content_type.split(';').next().unwrap_or_default();
    given.trim().eq_ignore_ascii_case(essence)
}

/// Structured mode: everything is in one JSON object.
fn structured(ingest: &Ingest, body: &Bytes) -> Result<Published, HttpError> {
    let json: StructuredEvent<'_> = parse_json(body)?;
    let event = CloudEvent::of_json(json, body, ingest.options.json_depth);
    event
        .and_then(CloudEvent::check)
        .map_err(|refused| HttpError::body(refused.at, refused.why))
}
