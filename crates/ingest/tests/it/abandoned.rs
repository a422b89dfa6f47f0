//! Requests whose clients went away, or that were given up for their time, while the log was writing.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use postrider_ingest::{Ingest, IngestMetrics, Options, router};
use postrider_metrics::Registry as MetricsRegistry;
use tokio::task::JoinHandle;
use tower::ServiceExt;

use crate::house::House;
use crate::slow_log::SlowLog;

const PATIENCE: Duration = Duration::from_secs(30);

fn routes(house: &House, log: &Arc<SlowLog>) -> Router {
    let mut ports = house.ports(house.log.clone());
    ports.log = log.clone();
    let metrics = IngestMetrics::register(&MetricsRegistry::new()).unwrap();
    let ingest = Ingest::new(ports, Options::default(), metrics).unwrap();
    postrider_http::finish(router(ingest))
}

fn publish(
    routes: &Router,
    house: &House,
    key: Option<&str>,
    body: &'static str,
) -> JoinHandle<Response> {
    let mut request = Request::post("/api/v1/app/acme/msg")
        .header("authorization", format!("Bearer {}", house.token));
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let answer = routes
        .clone()
        .oneshot(request.body(Body::from(body)).unwrap());
    tokio::spawn(async { answer.await.unwrap() })
}

#[tokio::test]
async fn a_repeat_of_a_request_that_was_dropped_while_it_was_written_gets_its_event() {
    for (key, body) in [
        (Some("k1"), r#"{"eventType":"a.b","payload":{"n":1}}"#),
        (
            None,
            r#"{"eventType":"a.b","payload":{"n":1},"eventId":"e1"}"#,
        ),
    ] {
        let house = House::new().await;
        let log = SlowLog::over(house.log.clone());
        let routes = routes(&house, &log);
        let first = publish(&routes, &house, key, body);
        let written = tokio::time::timeout(PATIENCE, log.written.notified());
        written.await.unwrap();
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        let repeat = publish(&routes, &house, key, body);
        log.acknowledge.notify_one();
        let answer = tokio::time::timeout(PATIENCE, repeat).await;
        let answer = answer.unwrap().unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        let answer = axum::body::to_bytes(answer.into_body(), usize::MAX).await;
        let answer: serde_json::Value = serde_json::from_slice(&answer.unwrap()).unwrap();
        let events = house.events();
        assert_eq!(events.len(), 1);
        assert_eq!(answer["id"], events[0].id.to_string());
    }
}
