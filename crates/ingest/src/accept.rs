//! What both routes have in common: who may publish where, and what is kept of a request until it is an event.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use postrider_access::Access;
use postrider_http::{
    ApplicationIn, BodyLimit, Caller, Gate, HttpError, Idempotency, MessageOut, Query, key_header,
    read_body, unavailable,
};
use postrider_log::Log;
use postrider_model::{Clock, Event, EventType, Uid, is_within_depth};
use postrider_registry::Registry;
use postrider_store::{Application, Applications, Claims, StoreError};
use postrider_trace::{Span, Tracer};

use crate::asked::Asked;
use crate::metrics::Reason;
use crate::{IngestMetrics, Options, OptionsError, traced};

/// What a request's envelope (names, channels, an application) may take beside the payload, in bytes.
const ENVELOPE_BYTES: usize = 64 << 10;

/// What ingest works with.
#[derive(Clone)]
pub struct Ports {
    /// Takes the events.
    pub log: Arc<dyn Log>,
    /// Who may publish where.
    pub registry: Arc<Registry>,
    /// Makes applications on the way.
    pub applications: Arc<dyn Applications>,
    /// Holds idempotency keys.
    pub claims: Arc<dyn Claims>,
    /// Tells when an event was accepted.
    pub clock: Arc<dyn Clock>,
    /// Makes the spans of what is sampled.
    pub tracer: Tracer,
}

/// The state behind the routes.
pub struct Ingest {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) gate: Gate,
    pub(crate) idempotency: Idempotency,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Options,
    pub(crate) tracer: Tracer,
    applications: Arc<dyn Applications>,
    metrics: IngestMetrics,
}

/// Who publishes, and in which application, as far as the head of the request says.
pub(crate) struct Admitted {
    caller: Caller,
    application: Option<Arc<Application>>,
    given: String,
}

/// A request that was let in, read whole.
pub(crate) struct Opened {
    pub(crate) admitted: Admitted,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The value of `Idempotency-Key`.
    pub(crate) key: Option<String>,
    /// Whether the answer shows the payload.
    pub(crate) with_content: bool,
}

impl Ingest {
    /// Ingest over these ports. Fails if the payload limit does not fit the log (rule 2 of the protocol).
    pub fn new(
        ports: Ports,
        options: Options,
        metrics: IngestMetrics,
    ) -> Result<Arc<Self>, OptionsError> {
        options.check(ports.log.limits())?;
        Ok(Arc::new(Self {
            gate: Gate::new(ports.registry, Arc::clone(&ports.clock)),
            idempotency: Idempotency::new(ports.claims, Arc::clone(&ports.clock)),
            log: ports.log,
            clock: ports.clock,
            tracer: ports.tracer,
            applications: ports.applications,
            options,
            metrics,
        }))
    }

    /// A request that begins now. It is counted when it is dropped, too.
    pub(crate) fn asked(&self) -> Asked<'_> {
        Asked::new(&self.metrics)
    }

    /// Runs one request, counts it, answers, and ends its span.
    pub(crate) async fn answer(
        &self,
        asked: &Asked<'_>,
        work: impl Future<Output = (Span, Result<(Event, bool), HttpError>)>,
    ) -> Response {
        let (mut span, result) = work.await;
        asked.is_answered();
        match result {
            Ok((event, with_content)) => {
                self.metrics.accepted.inc();
                let bytes = u64::try_from(event.payload.len()).unwrap_or(u64::MAX);
                self.metrics.payload.inc_by(bytes);
                self.metrics.accept.observe_duration(asked.began.elapsed());
                traced::tell_event(&mut span, &event);
                let response = accepted(&event, with_content);
                traced::end(span, response.status());
                response
            }
            Err(error) => {
                let reason = Reason::of(&error);
                self.metrics.rejected.of(reason).inc();
                let response = error.into_response();
                // Whoever may not publish may not make spans either, by asking for them.
                if reason != Reason::Unauthorized {
                    traced::end(span, response.status());
                }
                response
            }
        }
    }

    /// Settles who asks and what the head says, and then reads the body, which may be as large as a payload and its
    /// envelope.
    pub(crate) async fn open(
        &self,
        asked: &Asked<'_>,
        given: String,
        query: &Query,
        request: Request,
    ) -> Result<Opened, HttpError> {
        let (parts, body) = request.into_parts();
        let headers = parts.headers;
        let caller = self.gate.identify(&headers).await?;
        let application = self.gate.find(&caller, &given).await?;
        let with_content = query.flag("with_content", true)?;
        let key = key_header(&headers)?.map(str::to_owned);
        let limit = BodyLimit {
            bytes: self.options.payload_bytes.saturating_add(ENVELOPE_BYTES),
            within: self.options.body_within,
            budget: self.options.bodies.clone(),
        };
        let body = read_body(&headers, body, &limit).await?;
        asked.is_here();
        let admitted = Admitted {
            caller,
            application,
            given,
        };
        Ok(Opened {
            admitted,
            headers,
            body,
            key,
            with_content,
        })
    }

    /// The application of an admitted request; made now if there is none and the request brings one.
    pub(crate) async fn application(
        &self,
        admitted: Admitted,
        brought: Option<ApplicationIn>,
    ) -> Result<Arc<Application>, HttpError> {
        if let Some(application) = admitted.application {
            return Ok(application);
        }
        let brought = brought.ok_or(HttpError::NotFound)?;
        admitted.caller.may(Access::Operate)?;
        if brought.uid().map(Uid::as_str) != Some(admitted.given.as_str()) {
            return Err(HttpError::body(
                "application",
                "there is no such application, and one can be made on the way only if its uid is the one in the path",
            ));
        }
        let made = brought.create(self.clock.now())?;
        match self.applications.insert_application(&made).await {
            // Somebody else made it in between.
            Ok(_) | Err(StoreError::Conflict(_)) => {}
            Err(error) => return Err(unavailable(error)),
        }
        let registry = self.gate.registry();
        registry.refresh().await.map_err(unavailable)?;
        let found = self.gate.find(&admitted.caller, &admitted.given).await?;
        found.ok_or(HttpError::NotFound)
    }

    /// Refuses a type that nobody registered, if the configuration is strict.
    pub(crate) async fn check_type(
        &self,
        event_type: &EventType,
        at: fn(String) -> HttpError,
    ) -> Result<(), HttpError> {
        let registry = self.gate.registry();
        let known = || registry.snapshot().event_type(event_type).is_some();
        if !self.options.strict_event_types || known() {
            return Ok(());
        }
        registry.refresh().await.map_err(unavailable)?;
        if known() {
            return Ok(());
        }
        Err(at(format!(
            "the event type {event_type} is not registered, and this installation accepts registered types only: create it at /api/v1/event-type first"
        )))
    }

    /// Refuses a payload above the limit.
    pub(crate) fn check_size(&self, payload: &[u8]) -> Result<(), HttpError> {
        let (size, limit) = (payload.len(), self.options.payload_bytes);
        if size > limit {
            return Err(HttpError::TooLarge(format!(
                "the payload has {size} bytes; at most {limit} are accepted"
            )));
        }
        Ok(())
    }

    /// Refuses JSON that is nested too deep.
    pub(crate) fn check_depth(&self, json: &[u8], at: &'static str) -> Result<(), HttpError> {
        let limit = self.options.json_depth;
        if is_within_depth(json, limit) {
            return Ok(());
        }
        Err(HttpError::body(
            at,
            format!("the JSON is nested deeper than the {limit} levels that are accepted"),
        ))
    }
}

fn accepted(event: &Event, with_content: bool) -> Response {
    match serde_json::to_vec(&MessageOut::of(event, with_content)) {
        Ok(body) => (
            StatusCode::ACCEPTED,
            [(header::CONTENT_TYPE, Event::JSON)],
            body,
        )
            .into_response(),
        // It is accepted, whatever becomes of the answer's body.
        Err(error) => {
            tracing::error!(%error, "an accepted event could not be written as an answer");
            StatusCode::ACCEPTED.into_response()
        }
    }
}
