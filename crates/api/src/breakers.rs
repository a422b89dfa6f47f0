//! An endpoint's breaker: how it stands, and having it tried at once.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use postrider_http::{HttpError, InApp, InPath, Slashed, endpoint_ref};
use postrider_model::{BreakerState, EndpointId, EndpointState, Timestamp};
use serde::Serialize;

use crate::Api;
use crate::endpoints::Ids;
use crate::reply::{Answer, Reply};

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .slashed(
            "/api/v1/app/{app_id}/endpoint/{endpoint_id}/breaker",
            get(read),
        )
        .slashed(
            "/api/v1/app/{app_id}/endpoint/{endpoint_id}/breaker/probe",
            post(probe),
        )
}

/// A breaker as it is answered.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BreakerOut {
    endpoint_id: EndpointId,
    state: &'static str,
    /// While it is not closed.
    why: Option<String>,
    opened_at: Option<Timestamp>,
    failing_since: Option<Timestamp>,
    consecutive_failures: u32,
    /// While it is open.
    next_probe_at: Option<Timestamp>,
    waiting: u64,
    waiting_bytes: u64,
    /// When the endpoint's worker told this; none where it has nothing to tell.
    updated_at: Option<Timestamp>,
}

impl BreakerOut {
    fn of(endpoint_id: EndpointId, told: Option<&EndpointState>) -> Self {
        Self {
            endpoint_id,
            state: told.map_or("closed", |told| match told.breaker {
                BreakerState::Closed => "closed",
                BreakerState::Open => "open",
                BreakerState::HalfOpen => "half_open",
            }),
            why: told.and_then(why),
            opened_at: told.and_then(|told| told.opened_at),
            failing_since: told.and_then(|told| told.failing_since),
            consecutive_failures: told.map_or(0, |told| told.consecutive_failures),
            next_probe_at: told.and_then(|told| told.probe_at),
            waiting: told.map_or(0, |told| told.parked),
            waiting_bytes: told.map_or(0, |told| told.parked_bytes),
            updated_at: told.map(|told| told.updated_at),
        }
    }
}

fn why(told: &EndpointState) -> Option<String> {
    let failed = match told.consecutive_failures {
        0 | 1 => "most of the last attempts failed".to_owned(),
        count => format!("the last {count} attempts failed"),
    };
    match told.breaker {
        BreakerState::Closed => None,
        BreakerState::Open => Some(failed),
        BreakerState::HalfOpen => Some(format!("{failed}; another is being made")),
    }
}

async fn read(
    State(api): State<Arc<Api>>,
    InApp { app, .. }: InApp,
    InPath((_, id)): Ids,
) -> Answer {
    let endpoint = api.endpoint(app.id, &endpoint_ref(&id)?).await?;
    let told = api.standings.of(endpoint.id)?;
    Reply::ok(&BreakerOut::of(endpoint.id, told.as_ref()))
}

/// Its owner says that it was repaired. Workers see that as they see any change of an endpoint, so it is written as one.
async fn probe(
    State(api): State<Arc<Api>>,
    InApp { app, .. }: InApp,
    InPath((_, id)): Ids,
) -> Answer {
    let by = endpoint_ref(&id)?;
    let there = api.endpoint(app.id, &by).await?;
    let told = api.standings.of(there.id)?;
    if there.disabled.is_some() {
        return Err(HttpError::Conflict(
            "the endpoint is disabled: enable it, which has it tried at once".to_owned(),
        ));
    }
    api.change_endpoint(app.id, &by, Ok).await?;
    let answer = BreakerOut::of(there.id, told.as_ref());
    Reply::json(StatusCode::ACCEPTED, &answer)
}
