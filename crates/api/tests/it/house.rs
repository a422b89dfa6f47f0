//! What every test here needs: the API over memory, an application, a token, and things that happened.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use postrider_api::{Api, ApiMetrics, Options, Ports, router};
use postrider_guard::Guard;
pub(crate) use postrider_http::testing::{Answer, add_token, application};
use postrider_http::testing::{answer_of, request};
use postrider_log::testing::MemoryLog;
use postrider_metrics::Registry as MetricsRegistry;
use postrider_model::{
    Attempt, Class, Delivery, Endpoint, EndpointId, Event, EventId, EventOrigin, Fanout, Outcome,
    SystemClock, Timestamp, topics,
};
use postrider_registry::{Registry, RegistryMetrics};
use postrider_store::testing::MemoryStore;
use postrider_store::{
    Application, Applications, EndpointRef, Endpoints, History, HistoryBatch, TokenScope,
};
use postrider_trace::Tracer;

pub(crate) struct House {
    pub(crate) log: MemoryLog,
    pub(crate) store: MemoryStore,
    pub(crate) metrics: Arc<MetricsRegistry>,
    pub(crate) app: Application,
    pub(crate) token: String,
    routes: Router,
}

/// A moment of the past from which the times of what happened are counted.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_750_000_000_000 + seconds * 1000)
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let log = MemoryLog::new(topics::all());
        let store = MemoryStore::new();
        let app = store
            .insert_application(&application("acme"))
            .await
            .unwrap();
        let token = add_token(&store, TokenScope::Operator).await;
        let metrics = Arc::new(MetricsRegistry::new());
        let registry = Registry::load(
            Arc::new(store.clone()),
            RegistryMetrics::register(&metrics).unwrap(),
        );
        let ports = Ports {
            store: Arc::new(store.clone()),
            log: Arc::new(log.clone()),
            registry: registry.await.unwrap(),
            guard: Guard::new(vec!["127.0.0.0/8".parse().unwrap()], true),
            tracer: Tracer::default(),
            clock: Arc::new(SystemClock),
        };
        let api = Api::new(ports, options, ApiMetrics::register(&metrics).unwrap());
        tokio::spawn(Arc::clone(&api).follow(std::future::pending()));
        Self {
            log,
            store,
            metrics,
            app,
            token,
            routes: postrider_http::finish(router(api)),
        }
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let path = format!("/api/v1{path}");
        answer_of(
            &self.routes,
            request(method, &path, &self.token, headers, body),
        )
        .await
    }

    pub(crate) async fn get(&self, path: impl AsRef<str>) -> Answer {
        self.send("GET", path.as_ref(), &[], "").await
    }

    pub(crate) async fn post(&self, path: impl AsRef<str>, body: &str) -> Answer {
        self.send("POST", path.as_ref(), &[], body.to_owned()).await
    }

    pub(crate) async fn put(&self, path: impl AsRef<str>, body: &str) -> Answer {
        self.send("PUT", path.as_ref(), &[], body.to_owned()).await
    }

    pub(crate) async fn patch(&self, path: impl AsRef<str>, body: &str) -> Answer {
        self.send("PATCH", path.as_ref(), &[], body.to_owned())
            .await
    }

    pub(crate) async fn delete(&self, path: impl AsRef<str>) -> Answer {
        self.send("DELETE", path.as_ref(), &[], "").await
    }

    /// An endpoint of the house's application, with this uid.
    pub(crate) async fn endpoint(&self, uid: &str) -> Endpoint {
        let body = format!(r#"{{"url":"https://example.com/{uid}","uid":"{uid}"}}"#);
        self.post("/app/acme/endpoint", &body).await.with(201);
        let by = EndpointRef::Uid(uid.parse().unwrap());
        self.store
            .endpoint(self.app.id, &by)
            .await
            .unwrap()
            .unwrap()
    }

    /// An event, not archived.
    pub(crate) fn event(&self, uid: &str, accepted_at: Timestamp) -> Event {
        Event {
            id: EventId::new_at(accepted_at),
            app_id: self.app.id,
            event_type: "order.created".parse().unwrap(),
            channels: vec!["eu".parse().unwrap()],
            uid: Some(uid.parse().unwrap()),
            content_type: Event::JSON.to_owned(),
            payload: Bytes::from(format!("{{ \"uid\" : \"{uid}\" }}")),
            accepted_at,
            trace: None,
            origin: EventOrigin::Accepted,
        }
    }

    /// An event that is archived, and went to these endpoints.
    pub(crate) async fn archived(
        &self,
        uid: &str,
        accepted_at: Timestamp,
        endpoints: &[EndpointId],
    ) -> Event {
        let event = self.event(uid, accepted_at);
        let fanout = Fanout {
            event_id: event.id,
            app_id: event.app_id,
            endpoints: endpoints.to_vec(),
            registry_version: 1,
            stale: false,
            accepted_at,
            complete: true,
        };
        self.record(HistoryBatch {
            events: vec![event.clone()],
            fanouts: vec![fanout],
            attempts: vec![],
        })
        .await;
        event
    }

    pub(crate) async fn record(&self, batch: HistoryBatch) {
        self.store.record(&batch).await.unwrap();
    }

    /// Records an attempt, the `number`th, with this answer's status. A failed one is followed by another if `next` says so.
    pub(crate) async fn attempted(
        &self,
        event: &Event,
        endpoint: EndpointId,
        number: u32,
        status: u16,
        next: bool,
    ) -> Attempt {
        let started_at = event.accepted_at.plus(Duration::from_secs(number.into()));
        let delivery = delivery(event, endpoint);
        let attempt = Attempt {
            id: delivery.attempt_id(number),
            delivery_id: delivery.id,
            generation: 0,
            number,
            event_id: event.id,
            app_id: event.app_id,
            endpoint_id: endpoint,
            event_type: event.event_type.clone(),
            endpoint_version: 1,
            url: "https://example.com/".to_owned(),
            started_at,
            duration: Duration::from_millis(12),
            outcome: match status {
                200 => Outcome::Succeeded,
                _ => Outcome::Refused,
            },
            status_code: Some(status),
            response_body: Bytes::from_static(b"\x00\xffwell"),
            error: String::new(),
            next_attempt_at: next.then(|| started_at.plus(Duration::from_secs(60))),
            trigger: delivery.trigger,
            accepted_at: event.accepted_at,
            exhausted: !next && status != 200,
        };
        self.record(HistoryBatch {
            attempts: vec![attempt.clone().into()],
            ..HistoryBatch::default()
        })
        .await;
        attempt
    }
}

pub(crate) fn delivery(event: &Event, endpoint: EndpointId) -> Delivery {
    let deadline = event.accepted_at.plus(Duration::from_secs(3600));
    Delivery::of_event(event, (0, 1), endpoint, 1, Class::Normal, deadline)
}
