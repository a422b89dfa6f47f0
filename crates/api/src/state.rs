//! What the routes work with.

use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderMap;
use bytes::Bytes;
use postrider_guard::Guard;
use postrider_http::{Gate, HasGate, HttpError, Idempotency, read_body};
use postrider_log::Log;
use postrider_model::{Clock, Timestamp};
use postrider_registry::Registry;
use postrider_store::{Claims, Store};
use postrider_trace::Tracer;
use tokio::sync::Semaphore;

use crate::endpoint_room::Creating;
use crate::standings::Standings;
use crate::{ApiMetrics, Options};

/// What the API works with.
#[derive(Clone)]
pub struct Ports {
    /// Configuration, history, dead letters, replays, idempotency keys.
    pub store: Arc<dyn Store>,
    /// Takes resends, and tells how far the recorder is and how endpoints stand.
    pub log: Arc<dyn Log>,
    /// Tokens and applications.
    pub registry: Arc<Registry>,
    /// Which addresses an endpoint may have.
    pub guard: Guard,
    /// The time of what is made and changed.
    pub clock: Arc<dyn Clock>,
    /// Makes the spans of what is sampled.
    pub tracer: Tracer,
}

/// The state behind the routes.
pub struct Api {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) guard: Guard,
    pub(crate) options: Options,
    pub(crate) metrics: ApiMetrics,
    pub(crate) tracer: Tracer,
    pub(crate) idempotency: Idempotency,
    pub(crate) standings: Standings,
    /// One permit for each read that waits for the recorder.
    pub(crate) waiting: Semaphore,
    /// One permit for each request that reads much.
    pub(crate) turns: Semaphore,
    pub(crate) creating: Creating,
    gate: Gate,
    clock: Arc<dyn Clock>,
}

impl Api {
    /// The API over these ports.
    pub fn new(ports: Ports, options: Options, metrics: ApiMetrics) -> Arc<Self> {
        let claims: Arc<dyn Claims> = Arc::clone(&ports.store) as Arc<dyn Claims>;
        Arc::new(Self {
            gate: Gate::new(ports.registry, Arc::clone(&ports.clock)),
            idempotency: Idempotency::new(claims, Arc::clone(&ports.clock)),
            waiting: Semaphore::new(options.waiting),
            turns: Semaphore::new(options.turns),
            creating: Creating::default(),
            store: ports.store,
            log: ports.log,
            guard: ports.guard,
            clock: ports.clock,
            tracer: ports.tracer,
            standings: Standings::default(),
            options,
            metrics,
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn registry(&self) -> &Registry {
        self.gate.registry()
    }

    /// After a change of configuration: makes this process see it before the answer. If that fails the next refresh, within
    /// a second, does it.
    pub(crate) async fn changed(&self) {
        if let Err(error) = self.registry().refresh().await {
            tracing::warn!(%error, "a change was stored, but could not be read back at once");
        }
    }

    pub(crate) async fn body(&self, headers: &HeaderMap, body: Body) -> Result<Bytes, HttpError> {
        read_body(headers, body, &self.options.body).await
    }
}

impl HasGate for Api {
    fn gate(&self) -> &Gate {
        &self.gate
    }
}
