//! What every test here needs: ingest over memory, an application, a token.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use bytes::Bytes;
use postrider_access::Token;
use postrider_ingest::{Ingest, IngestMetrics, Options, Ports, router};
use postrider_log::testing::MemoryLog;
use postrider_metrics::Registry as MetricsRegistry;
use postrider_model::{AppId, Event, SystemClock, Timestamp, TokenId, topics};
use postrider_registry::{Registry, RegistryMetrics};
use postrider_store::testing::MemoryStore;
use postrider_store::{Application, Applications, TokenRecord, TokenScope, Tokens};
use tower::ServiceExt;

pub(crate) struct House {
    pub(crate) log: MemoryLog,
    pub(crate) store: MemoryStore,
    pub(crate) metrics: Arc<MetricsRegistry>,
    pub(crate) app: Application,
    pub(crate) token: String,
    registry: Arc<Registry>,
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

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.text()))
    }
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
        let registry = registry.await.unwrap();
        let ports = ports(log.clone(), &store, &registry);
        let ingest = Ingest::new(ports, options, IngestMetrics::register(&metrics).unwrap());
        Self {
            log,
            store,
            metrics,
            app,
            token,
            registry,
            routes: postrider_http::finish(router(ingest.unwrap())),
        }
    }

    /// The ports, with another log.
    pub(crate) fn ports(&self, log: MemoryLog) -> Ports {
        ports(log, &self.store, &self.registry)
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.routes.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: axum::body::to_bytes(body, usize::MAX).await.unwrap(),
        }
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(Method::POST).uri(path);
        let own = format!("Bearer {}", self.token);
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", own);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    /// Publishes this envelope to the house's application.
    pub(crate) async fn publish(&self, headers: &[(&str, &str)], body: &str) -> Answer {
        self.post("/api/v1/app/acme/msg", headers, body.to_owned())
            .await
    }

    /// What lies in `events`, read as events.
    pub(crate) fn events(&self) -> Vec<Event> {
        let records = self.log.records(topics::EVENTS);
        records
            .iter()
            .map(|record| Event::from_record(record).unwrap())
            .collect()
    }
}

fn ports(log: MemoryLog, store: &MemoryStore, registry: &Arc<Registry>) -> Ports {
    Ports {
        log: Arc::new(log),
        registry: Arc::clone(registry),
        applications: Arc::new(store.clone()),
        claims: Arc::new(store.clone()),
        clock: Arc::new(SystemClock),
    }
}

pub(crate) fn application(uid: &str) -> Application {
    let now = Timestamp::from_millis(1_700_000_000_000);
    Application {
        id: AppId::new(),
        uid: Some(uid.parse().unwrap()),
        name: uid.to_owned(),
        metadata: Default::default(),
        rate_limit: None,
        version: 0,
        created_at: now,
        updated_at: now,
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
        created_at: Timestamp::from_millis(0),
    };
    store.insert_token(&record).await.unwrap();
    token.expose().to_owned()
}
