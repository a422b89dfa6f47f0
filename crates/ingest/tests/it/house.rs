//! What every test here needs: ingest over memory, an application, a token.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
pub(crate) use postrider_http::testing::{Answer, add_token, application};
use postrider_http::testing::{answer_of, request};
use postrider_ingest::{Ingest, IngestMetrics, Options, Ports, router};
use postrider_log::testing::MemoryLog;
use postrider_metrics::Registry as MetricsRegistry;
use postrider_model::{Event, SystemClock, topics};
use postrider_registry::{Registry, RegistryMetrics};
use postrider_store::testing::MemoryStore;
use postrider_store::{Application, Applications, TokenScope};
use postrider_trace::Tracer;

pub(crate) struct House {
    pub(crate) log: MemoryLog,
    pub(crate) store: MemoryStore,
    pub(crate) metrics: Arc<MetricsRegistry>,
    pub(crate) app: Application,
    pub(crate) token: String,
    registry: Arc<Registry>,
    routes: Router,
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
        answer_of(&self.routes, request).await
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        self.send(request("POST", path, &self.token, headers, body))
            .await
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
        tracer: Tracer::default(),
    }
}
