//! What every test here needs: the API over memory, an application, a token, and things that happened.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use postrider_access::Token;
use postrider_api::{Api, ApiMetrics, Options, Ports, router};
use postrider_guard::Guard;
use postrider_log::testing::MemoryLog;
use postrider_metrics::Registry as MetricsRegistry;
use postrider_model::{
    AppId, Attempt, Class, Delivery, Endpoint, EndpointId, Event, EventId, EventOrigin, Fanout,
    Outcome, SystemClock, Timestamp, TokenId, topics,
};
use postrider_registry::{Registry, RegistryMetrics};
use postrider_store::testing::MemoryStore;
use postrider_store::{
    Application, Applications, EndpointRef, Endpoints, History, HistoryBatch, TokenRecord,
    TokenScope, Tokens,
};
use serde_json::Value;
use tower::ServiceExt;

pub(crate) struct House {
    pub(crate) log: MemoryLog,
    pub(crate) store: MemoryStore,
    pub(crate) metrics: Arc<MetricsRegistry>,
    pub(crate) app: Application,
    pub(crate) token: String,
    routes: Router,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.text()))
    }

    /// The body, of an answer with this status.
    #[track_caller]
    pub(crate) fn with(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        if self.body.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// Checks a 422: which field, and what is said.
    #[track_caller]
    pub(crate) fn refuses(self, field: &str, says: &str) {
        assert_eq!(self.status.as_u16(), 422, "{}", self.text());
        assert!(self.text().contains(says), "{}", self.text());
        assert_eq!(self.json()["detail"][0]["loc"][1], field, "{}", self.text());
    }
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
            clock: Arc::new(SystemClock),
        };
        let api = Api::new(ports, options, ApiMetrics::register(&metrics).unwrap());
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
        let mut request = Request::builder().method(method);
        request = request.uri(format!("/api/v1{path}"));
        let own = format!("Bearer {}", self.token);
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", own);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap();
        let response = self.routes.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: axum::body::to_bytes(body, usize::MAX).await.unwrap(),
        }
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
            traceparent: None,
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
            attempts: vec![attempt.clone()],
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

pub(crate) fn application(uid: &str) -> Application {
    Application {
        id: AppId::new(),
        uid: Some(uid.parse().unwrap()),
        name: uid.to_owned(),
        metadata: Default::default(),
        rate_limit: None,
        version: 0,
        created_at: at(0),
        updated_at: at(0),
    }
}

pub(crate) async fn add_token(store: &MemoryStore, scope: TokenScope) -> String {
    let token = Token::generate();
    let record = TokenRecord {
        id: TokenId::new(),
        hash: *token.hash().as_bytes(),
        scope,
        name: "test".to_owned(),
        expires_at: None,
        revoked_at: None,
        version: 0,
        created_at: at(0),
    };
    store.insert_token(&record).await.unwrap();
    token.expose().to_owned()
}
