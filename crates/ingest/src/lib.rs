//! Takes events over HTTP and writes them to the log.
//!
//! **In → out.** `POST /api/v1/app/{app_id}/msg` (the dialect) and `POST /api/v1/app/{app_id}/event` (CloudEvents over
//! HTTP) in; one record in `events` and 202 out.
//!
//! **Invariants.** 202 means that the record would survive loss of power. The payload is the slice that was sent, byte for
//! byte, never parsed and written again. Everything is bounded: body, payload, depth of JSON, time. Without an idempotency
//! key or `eventId` the store is not asked.
//!
//! **Authority.** The registry's snapshot says who may and which applications there are; the store's claims say what was
//! carried out under a key; the log is the truth from the 202 on. Nothing is kept here.
//!
//! **Failure.** Divided by what the producer does next: 4xx correct it, 503 and 507 with `Retry-After` send it again. A log
//! that does not acknowledge within its time is 503 although the record may be there; under a key the repeat has the same
//! id. A request that is given up while it is carried out, by its client or for its time, is counted: nobody else can. There
//! is nothing to stop: a request in hand is finished by its server.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

mod accept;
mod asked;
mod cloudevents;
mod metrics;
mod msg;
mod options;
mod publish;
mod traced;

use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use postrider_http::Slashed;

pub use accept::{Ingest, Ports};
pub use metrics::{IngestMetrics, Reason};
pub use options::{Options, OptionsError};

/// The routes. They carry no fallback: whoever merges them calls [`postrider_http::finish`].
pub fn router(ingest: Arc<Ingest>) -> Router {
    Router::new()
        .slashed("/api/v1/app/{app_id}/msg", post(msg::create))
        .slashed("/api/v1/app/{app_id}/event", post(cloudevents::create))
        .with_state(ingest)
}
