//! How routes are put together.

use std::any::Any;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use tower_http::catch_panic::CatchPanicLayer;

use crate::HttpError;
use crate::error::answer;

/// Routes that are found with and without a slash at their end: older clients send one.
pub trait Slashed<S> {
    /// Adds `path`, which does not end with a slash, and the same path with one.
    #[must_use]
    fn slashed(self, path: &str, method: MethodRouter<S>) -> Self;
}

impl<S: Clone + Send + Sync + 'static> Slashed<S> for Router<S> {
    fn slashed(self, path: &str, method: MethodRouter<S>) -> Self {
        self.route(path, method.clone())
            .route(&format!("{path}/"), method)
    }
}

/// Completes the merged routes of all services: unknown paths, wrong methods and panics are answered in the dialect's
/// shape. Called once, by whoever merges, because two routers with fallbacks cannot be merged.
pub fn finish(router: Router) -> Router {
    router
        .fallback(async || HttpError::NotFound)
        .method_not_allowed_fallback(async || {
            answer(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "Method not allowed",
            )
        })
        .layer(CatchPanicLayer::custom(panicked))
}

/// What went wrong is for our log, not for the client.
fn panicked(_cause: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request handler panicked");
    answer(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal_error",
        "something went wrong on our side",
    )
    .into_response()
}
