//! What the API counts.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use tokio::time::Instant;

use crate::Api;

postrider_metrics::label! {
    /// What a request is about.
    pub enum Area("area") {
        Applications = "applications",
        EventTypes = "event_types",
        Endpoints = "endpoints",
        Events = "events",
        Attempts = "attempts",
        DeadLetters = "dead_letters",
        Replays = "replays",
        Rejected = "rejected",
        Tokens = "tokens",
        Health = "health",
    }
}

postrider_metrics::label! {
    /// The hundred of an answer's status.
    pub enum StatusClass("status") {
        Success = "2xx",
        Redirection = "3xx",
        ClientError = "4xx",
        ServerError = "5xx",
    }
}

impl StatusClass {
    fn of(status: StatusCode) -> Self {
        match status.as_u16() / 100 {
            0..=2 => Self::Success,
            3 => Self::Redirection,
            4 => Self::ClientError,
            _ => Self::ServerError,
        }
    }
}

postrider_metrics::metrics! {
    /// What the API counts.
    pub struct ApiMetrics {
        requests: CounterVec<(Area, StatusClass)>("postrider_api_requests_total", "requests", "Requests answered, by what they are about and how they ended."),
        seconds: HistogramVec<Area>("postrider_api_request_seconds", "seconds", "From a request's head to its answer's.", postrider_metrics::LATENCY_BUCKETS),
        waiting: Gauge("postrider_api_waiting_reads", "requests", "Reads that wait for the recorder to archive a young event."),
    }
}

/// `routes`, counted as `area`.
pub(crate) fn measured(routes: Router<Arc<Api>>, api: &Arc<Api>, area: Area) -> Router<Arc<Api>> {
    let metrics = api.metrics.clone();
    routes.layer(from_fn(move |request: Request, next: Next| {
        let metrics = metrics.clone();
        async move {
            let began = Instant::now();
            let response = next.run(request).await;
            let class = StatusClass::of(response.status());
            metrics.requests.of((area, class)).inc();
            metrics.seconds.of(area).observe_duration(began.elapsed());
            response
        }
    }))
}
