//! The dialect's health: that this process answers. Readiness is told by the binary's own routes.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use postrider_http::Slashed;

use crate::Api;

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .slashed("/api/v1/health", get(alive))
        .slashed("/api/v1/health/ping", get(alive))
}

async fn alive() -> StatusCode {
    StatusCode::NO_CONTENT
}
