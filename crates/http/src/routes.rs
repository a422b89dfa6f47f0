//! How routes are put together.

use std::any::Any;
use std::borrow::Cow;

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use tower_http::catch_panic::CatchPanicLayer;

use crate::error::{INTERNAL, answer};

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
        .fallback(no_such_path)
        .method_not_allowed_fallback(not_allowed)
        .layer(CatchPanicLayer::custom(panicked))
}

/// Below which the whole API lies.
const API: &str = "/api/v1";
/// How much of a path that does not exist is shown, in characters.
const SHOWN: usize = 200;

async fn no_such_path(uri: Uri) -> Response {
    let path = uri.path();
    let below = path.strip_prefix(API);
    let hint = match below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        true => "",
        false => "; every path of the API begins with /api/v1",
    };
    let detail = format!("there is no such path: {}{hint}", shown(path));
    answer(StatusCode::NOT_FOUND, "not_found", &detail)
}

/// The router adds `Allow` to this.
async fn not_allowed(method: Method, uri: Uri) -> Response {
    let detail = format!(
        "{method} is not taken at {}: the header Allow names what is",
        shown(uri.path())
    );
    answer(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        &detail,
    )
}

fn shown(path: &str) -> Cow<'_, str> {
    match path.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &path[..end]).into(),
        None => path.into(),
    }
}

/// What went wrong is for our log, not for the client.
fn panicked(_cause: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request handler panicked");
    answer(
        StatusCode::INTERNAL_SERVER_ERROR,
        INTERNAL,
        "something went wrong on our side",
    )
    .into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::{HeaderMap, Request, header};
    use axum::routing::{get, post};
    use tower::ServiceExt;

    use super::*;

    async fn asked(method: &str, path: &str) -> (u16, HeaderMap, serde_json::Value) {
        let ours = Router::new().slashed("/api/v1/thing", get(async || "here"));
        let theirs = Router::new().slashed("/api/v1/thing", post(async || "made"));
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Body::empty()).unwrap();
        let answered = finish(ours.merge(theirs)).oneshot(request).await.unwrap();
        let (parts, body) = answered.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        (parts.status.as_u16(), parts.headers, body)
    }

    #[tokio::test]
    async fn a_path_that_does_not_exist_is_told_as_such_and_where_the_api_is() {
        let elsewhere = "; every path of the API begins with /api/v1";
        for (path, hint) in [
            ("/api/v1/thnig", ""),
            ("/api/v1", ""),
            ("/api/v1x", elsewhere),
            ("/thing", elsewhere),
            ("/", elsewhere),
        ] {
            let (status, _, body) = asked("GET", path).await;
            assert_eq!((status, &body["code"]), (404, &"not_found".into()));
            assert_eq!(
                body["detail"],
                format!("there is no such path: {path}{hint}")
            );
        }
        let (_, _, body) = asked("GET", &format!("/{}", "x".repeat(5000))).await;
        assert!(body["detail"].as_str().unwrap().len() < 300, "{body}");
    }

    #[tokio::test]
    async fn a_method_that_is_not_taken_is_405_with_those_that_are() {
        for path in ["/api/v1/thing", "/api/v1/thing/"] {
            let (status, headers, body) = asked("PATCH", path).await;
            assert_eq!((status, &body["code"]), (405, &"method_not_allowed".into()));
            assert_eq!(headers[header::ALLOW], "GET,HEAD,POST");
            let says = format!("PATCH is not taken at {path}: the header Allow names what is");
            assert_eq!(body["detail"], says);
        }
        assert_eq!(asked("POST", "/api/v1/thing/").await.0, 200);
    }
}
