//! What is answered beside the API: health, metrics; and the whole, put together.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use postrider_metrics::Registry;
use serde_json::json;

use crate::condition::Condition;
use crate::observe::ProcessMetrics;

/// What health and metrics are made of.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) condition: Arc<Condition>,
    pub(crate) registry: Registry,
    pub(crate) process: ProcessMetrics,
}

/// `/health/live`, `/health/ready`, `/metrics`.
pub(crate) fn admin(admin: Admin) -> Router {
    Router::new()
        .route(
            "/health/live",
            get(async || Json(json!({"status": "live"}))),
        )
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(admin)
}

async fn ready(State(admin): State<Admin>) -> Response {
    let parts = admin.condition.parts();
    let (status, word) = if parts.iter().all(|part| part.ready) {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    };
    (status, Json(json!({"status": word, "parts": parts}))).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    admin.process.sample();
    let kind = [(header::CONTENT_TYPE, postrider_metrics::CONTENT_TYPE)];
    (kind, admin.registry.render()).into_response()
}

/// The whole: every request ends within `timeout`, every error has the dialect's shape.
pub(crate) fn finish(router: Router, timeout: Duration) -> Router {
    let limited = middleware::from_fn(move |request: Request, next: Next| async move {
        match tokio::time::timeout(timeout, next.run(request)).await {
            Ok(response) => response,
            Err(_) => too_slow(timeout),
        }
    });
    postrider_http::finish(router).layer(limited)
}

fn too_slow(timeout: Duration) -> Response {
    let detail = format!(
        "the request was not finished within {} s; it may have been carried out: repeat it with an idempotency key",
        timeout.as_secs()
    );
    let body = Json(json!({"code": "timeout", "detail": detail}));
    (StatusCode::REQUEST_TIMEOUT, body).into_response()
}
