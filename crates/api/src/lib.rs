//! The REST API: configuration, history, dead letters and replays, in the dialect of Svix's open-source server.
//!
//! **In → out.** Requests of operators and of applications' own tokens in; changes of configuration to the store, resends to
//! the log, and answers out. The route that creates an event is the ingest crate's.
//!
//! **Invariants.** A foreign id is answered exactly as a missing one. What is answered as changed is in the store, and in
//! this process's registry if the store still answers. An endpoint's URL has passed the guard. Secrets are shown only where
//! they are asked for. An iterator is opaque, and a malformed one is refused.
//!
//! **Authority.** The store for configuration and history, the log for what a resend puts in flight and for how endpoints
//! stand, of which a copy is kept here ([`Api::follow`]).
//!
//! **Failure.** With the store down every route but health is 503 with `Retry-After`. A read of an event that the recorder
//! has not archived yet waits for it, bounded in time and number, and is then 503, never a wrong 404.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

mod applications;
mod attempted;
mod attempts;
mod breakers;
mod change;
mod dead_letters;
mod endpoint_headers;
mod endpoint_in;
mod endpoint_out;
mod endpoint_room;
mod endpoint_secret;
mod endpoints;
mod event_types;
mod events;
mod health;
mod idempotent;
mod metrics;
mod options;
mod page;
mod reach;
mod rejected;
mod replays;
mod reply;
mod resend;
mod sent;
mod standings;
mod state;
mod status;
mod tokens;
mod turn;
mod weighed;
mod young;

use std::sync::Arc;

use axum::Router;

pub use metrics::{ApiMetrics, Area, StatusClass};
pub use options::Options;
pub use state::{Api, Ports};

/// The routes. They carry no fallback: whoever merges them calls [`postrider_http::finish`].
pub fn router(api: Arc<Api>) -> Router {
    let parts = [
        (Area::Applications, applications::routes()),
        (Area::EventTypes, event_types::routes()),
        (Area::Endpoints, endpoints::routes()),
        (Area::Endpoints, endpoint_secret::routes()),
        (Area::Endpoints, endpoint_headers::routes()),
        (Area::Endpoints, breakers::routes()),
        (Area::Events, events::routes()),
        (Area::Attempts, attempts::routes()),
        (Area::Attempts, attempted::routes()),
        (Area::Attempts, resend::routes()),
        (Area::DeadLetters, dead_letters::routes()),
        (Area::Replays, replays::routes()),
        (Area::Rejected, rejected::routes()),
        (Area::Tokens, tokens::routes()),
        (Area::Health, health::routes()),
    ];
    let merge = |all: Router<Arc<Api>>, (area, part): (Area, Router<Arc<Api>>)| {
        all.merge(metrics::measured(part, &api, area))
    };
    parts.into_iter().fold(Router::new(), merge).with_state(api)
}
