//! What is answered beside the API: health, metrics; and the whole, put together.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use postrider_http::Slashed;
use postrider_metrics::Registry;
use serde::Deserialize;
use serde_json::json;

use crate::condition::{Condition, PARTS, Part};
use crate::parts::Parts;
use crate::process::ProcessMetrics;

/// What health and metrics are made of.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) condition: Arc<Condition>,
    pub(crate) registry: Registry,
    pub(crate) process: ProcessMetrics,
    pub(crate) parts: Parts,
}

/// `/health/live`, `/health/ready`, `/health/startup`, `/metrics`.
pub(crate) fn admin(admin: Admin) -> Router {
    Router::new()
        .slashed(
            "/health/live",
            get(async || Json(json!({"status": "live"}))),
        )
        .slashed("/health/ready", get(ready))
        .slashed("/health/startup", get(startup))
        .slashed("/health", get(which))
        .slashed("/metrics", get(metrics))
        .with_state(admin)
}

/// Alive and ready are two questions, and what asks the wrong one restarts what only needs a moment.
async fn which() -> Response {
    let body = json!({
        "code": "not_found",
        "detail": "there is no such path: /health; ask /health/live whether the process lives, /health/startup whether it has \
                   started, or /health/ready whether it can take work",
    });
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}

/// Which parts are not asked for.
#[derive(Deserialize)]
struct Asked {
    /// Names, separated by commas.
    without: Option<String>,
}

/// A balancer that sends requests to whoever is ready takes every process out at once when what all share is away, also
/// those that can go on without it: it asks `?without=store`.
async fn ready(State(admin): State<Admin>, Query(asked): Query<Asked>) -> Response {
    let parts = admin.condition.parts();
    let without = asked.without.unwrap_or_default();
    let without: Vec<_> = without.split(',').filter(|name| !name.is_empty()).collect();
    if let Some(unknown) = without.iter().find(|name| !PARTS.contains(name)) {
        let detail = format!(
            "without: there is no part {unknown}; there are {}",
            PARTS.join(", ")
        );
        let body = json!({"code": "invalid_parameter", "detail": detail});
        return (StatusCode::BAD_REQUEST, Json(body)).into_response();
    }
    let ready = |part: &Part| part.ready || without.contains(&part.name);
    let (status, word) = if parts.iter().all(ready) {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    };
    (status, Json(json!({"status": word, "parts": parts}))).into_response()
}

/// Once started, a process has started: whatever is away later is no reason to begin anew.
async fn startup(State(admin): State<Admin>) -> Response {
    if admin.condition.started() {
        return Json(json!({"status": "started"})).into_response();
    }
    let body = json!({"status": "starting", "parts": admin.condition.parts()});
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    admin.process.sample();
    admin.parts.sample(&admin.condition.parts());
    let kind = [(header::CONTENT_TYPE, postrider_metrics::CONTENT_TYPE)];
    (kind, admin.registry.render()).into_response()
}

/// What is answered while log and store are being opened: health and metrics if they are among the routes, and for all else
/// that it is too early.
pub(crate) fn starting(beside: Router) -> Router {
    beside.fallback(async || {
        let body = json!({
            "code": "unavailable",
            "detail": "the server is starting; /health/ready says what it waits for",
        });
        let again = [(header::RETRY_AFTER, "2")];
        (StatusCode::SERVICE_UNAVAILABLE, again, Json(body)).into_response()
    })
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

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use postrider_registry::RegistryMetrics;
    use postrider_store::testing::MemoryStore;
    use tower::ServiceExt;

    use super::*;
    use crate::condition::Name;
    use crate::roles::Roles;

    const LONG: Duration = Duration::from_secs(60);

    async fn app() -> (Arc<Condition>, Router) {
        let metrics = Registry::new();
        let counts = RegistryMetrics::register(&metrics).unwrap();
        let store = Arc::new(MemoryStore::new());
        let registry = postrider_registry::Registry::load(store, counts)
            .await
            .unwrap();
        let condition = Condition::new(true);
        condition.set(Name::Log, None);
        condition.watch(registry);
        let router = admin(Admin {
            condition: Arc::clone(&condition),
            process: ProcessMetrics::start(&metrics, &Roles::all()).unwrap(),
            parts: Parts::start(&metrics, None).unwrap(),
            registry: metrics,
        });
        (condition, router)
    }

    async fn get_from(router: &Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_names_the_part_that_is_not_ready_and_liveness_does_not_care() {
        let (condition, router) = app().await;
        let (status, body) = get_from(&router, "/health/ready").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains("it is starting"), "{body}");
        condition.start();
        assert_eq!(get_from(&router, "/health/ready").await.0, StatusCode::OK);
        condition.set(Name::Log, Some("the disk is gone".to_owned()));
        condition.drain();
        let (status, body) = get_from(&router, "/health/ready").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let part = |name, ready, why: &str| json!({"name": name, "ready": ready, "why": why});
        let expected = json!([
            part("log", false, "the disk is gone"),
            {"name": "space", "ready": true},
            {"name": "store", "ready": true},
            part("process", false, "it is stopping"),
        ]);
        assert_eq!(body["parts"], expected);
        assert_eq!(get_from(&router, "/health/live").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn what_a_process_can_go_on_without_can_be_left_out_of_the_question() {
        let (condition, router) = app().await;
        condition.start();
        condition.set(Name::Log, Some("the disk is gone".to_owned()));
        for (query, expected) in [
            ("", 503),
            ("?without=", 503),
            ("?without=store", 503),
            ("?without=store,log", 200),
            ("?without=disk", 400),
        ] {
            let (status, body) = get_from(&router, &format!("/health/ready{query}")).await;
            assert_eq!(status, expected, "{query} {body}");
            if expected != 400 {
                assert!(body.contains("the disk is gone"), "{body}");
            }
        }
        condition.drain();
        let (status, _) = get_from(&router, "/health/ready?without=log").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn a_process_that_has_started_stays_started_whatever_is_away_later() {
        let (condition, router) = app().await;
        let (status, body) = get_from(&router, "/health/startup").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(
            body.contains("\"starting\"") && body.contains("\"parts\""),
            "{body}"
        );
        condition.start();
        condition.set(Name::Log, Some("the disk is gone".to_owned()));
        condition.drain();
        let (status, body) = get_from(&router, "/health/startup").await;
        assert_eq!(status, StatusCode::OK);
        assert!(body.contains("\"started\""), "{body}");
    }

    #[tokio::test]
    async fn before_everything_is_opened_health_says_what_is_waited_for_and_all_else_is_too_early()
    {
        let metrics = Registry::new();
        let condition = Condition::new(false);
        let router = starting(admin(Admin {
            condition: Arc::clone(&condition),
            process: ProcessMetrics::start(&metrics, &Roles::all()).unwrap(),
            parts: Parts::start(&metrics, None).unwrap(),
            registry: metrics,
        }));
        assert_eq!(get_from(&router, "/health/live").await.0, StatusCode::OK);
        let (status, body) = get_from(&router, "/health/ready").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(
            body.contains("it is being opened") && !body.contains("store"),
            "{body}"
        );
        let (status, body) = get_from(&router, "/api/v1/app").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains("\"unavailable\""), "{body}");
    }

    #[tokio::test]
    async fn metrics_are_those_of_every_crate_in_the_registry() {
        let (_, router) = app().await;
        let (status, body) = get_from(&router, "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        for name in [
            "postrider_process_resident_memory_bytes",
            "postrider_registry_age_seconds",
        ] {
            assert!(body.contains(&format!("\n{name} ")), "{name}");
        }
    }

    #[tokio::test]
    async fn health_is_found_with_a_slash_and_asked_for_alone_says_which_there_are() {
        let (condition, router) = app().await;
        condition.start();
        for path in [
            "/health/live/",
            "/health/ready/",
            "/health/startup/",
            "/metrics/",
        ] {
            assert_eq!(get_from(&router, path).await.0, StatusCode::OK, "{path}");
        }
        for path in ["/health", "/health/"] {
            let (status, body) = get_from(&router, path).await;
            assert_eq!(status, StatusCode::NOT_FOUND);
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(body["code"], "not_found");
            let says = body["detail"].as_str().unwrap();
            assert!(
                says.contains("/health/live") && says.contains("/health/ready"),
                "{says}"
            );
        }
    }

    #[tokio::test]
    async fn what_goes_wrong_in_a_handler_is_answered_in_the_shape_of_every_error() {
        let routes = Router::new()
            .route(
                "/panics",
                get(async || -> &'static str { panic!("as this test wants") }),
            )
            .route(
                "/hangs",
                get(async || std::future::pending::<&'static str>().await),
            );
        let patient = finish(routes.clone(), LONG);
        let hasty = finish(routes, Duration::from_millis(1));
        for (router, path, status, code) in [
            (&patient, "/nowhere", 404, "not_found"),
            (&patient, "/panics", 500, "internal_error"),
            (&hasty, "/hangs", 408, "timeout"),
        ] {
            let (answered, body) = get_from(router, path).await;
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(
                (answered.as_u16(), body["code"].as_str()),
                (status, Some(code))
            );
            assert!(body["detail"].is_string(), "{body}");
        }
    }
}
