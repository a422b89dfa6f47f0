//! What the tests stand on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_log::testing::MemoryLog;
use postrider_log::{Durability, Log, NewRecord, Purpose};
use postrider_metrics::Registry as Metrics;
use postrider_model::topics::{self, EVENTS, EVENTS_WAITING, FANOUT, FANOUTS};
use postrider_model::{
    AppId, Clock, Delivery, Endpoint, EndpointId, EndpointPolicy, Event, EventId, EventOrigin,
    Fanout, SystemClock, Topic,
};
use postrider_registry::{Registry, RegistryMetrics};
use postrider_store::testing::MemoryStore;
use postrider_store::{Application, Applications, ConfigFeed, Endpoints};
use postrider_trace::Tracer;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{FanoutError, FanoutMetrics, Options, run};

/// A running fan-out and what it stands on.
pub(super) struct House {
    pub(super) log: Arc<MemoryLog>,
    pub(super) store: Arc<MemoryStore>,
    pub(super) app_id: AppId,
    options: Options,
    pub(super) metrics: FanoutMetrics,
    pub(super) stop: CancellationToken,
    pub(super) service: JoinHandle<Result<(), FanoutError>>,
}

impl House {
    pub(super) async fn new(options: Options) -> Self {
        let store = Arc::new(MemoryStore::new());
        let app_id = AppId::new();
        store
            .insert_application(&application(app_id))
            .await
            .unwrap();
        Self::on(
            Arc::new(MemoryLog::new(topics::all())),
            store,
            app_id,
            options,
        )
        .await
    }

    pub(super) async fn on(
        log: Arc<MemoryLog>,
        store: Arc<MemoryStore>,
        app_id: AppId,
        options: Options,
    ) -> Self {
        let feed = Arc::clone(&store) as _;
        Self::fed(log, store, feed, app_id, options).await
    }

    /// The same, told by `feed` of what changes.
    pub(super) async fn fed(
        log: Arc<MemoryLog>,
        store: Arc<MemoryStore>,
        feed: Arc<dyn ConfigFeed>,
        app_id: AppId,
        options: Options,
    ) -> Self {
        let metrics = Metrics::new();
        let registry = Registry::load(feed, RegistryMetrics::register(&metrics).unwrap())
            .await
            .unwrap();
        let stop = CancellationToken::new();
        let (current, stopped) = (Arc::clone(&registry), stop.clone());
        tokio::spawn(async move { current.run(stopped).await });
        let metrics = FanoutMetrics::register(&metrics).unwrap();
        let service = tokio::spawn(run(
            log.clone(),
            registry,
            Tracer::default(),
            options.clone(),
            metrics.clone(),
            stop.clone(),
        ));
        Self {
            log,
            store,
            app_id,
            options,
            metrics,
            stop,
            service,
        }
    }

    pub(super) async fn endpoint(&self, change: impl FnOnce(&mut Endpoint)) -> EndpointId {
        let mut endpoint = endpoint(self.app_id);
        change(&mut endpoint);
        self.store.insert_endpoint(&endpoint).await.unwrap().id
    }

    pub(super) async fn publish(&self, change: impl FnOnce(&mut Event)) -> EventId {
        let mut event = event(self.app_id);
        change(&mut event);
        self.append(event.to_record()).await;
        event.id
    }

    pub(super) async fn append(&self, record: NewRecord) {
        self.log
            .append(vec![record], Durability::Synced, Purpose::Intake)
            .await
            .unwrap();
    }

    pub(super) async fn deliveries(&self, topic: Topic, at_least: usize) -> Vec<Delivery> {
        let records = self.log.wait_for_records(topic, at_least).await;
        records
            .iter()
            .map(|record| Delivery::decode(&record.value).unwrap())
            .collect()
    }

    pub(super) async fn fanouts(&self, at_least: usize) -> Vec<Fanout> {
        let records = self.log.wait_for_records(FANOUTS, at_least).await;
        records
            .iter()
            // Others' events lie there too, for the archive.
            .filter(|record| !Event::is_own(record))
            .map(|record| Fanout::decode(&record.value).unwrap())
            .collect()
    }

    /// Waits until everything in `events` is fanned out.
    pub(super) async fn settle(&self) {
        self.settle_in(EVENTS).await;
    }

    /// Waits until everything that needed an up-to-date registry is dealt with.
    pub(super) async fn settle_waiting(&self) {
        self.settle_in(EVENTS_WAITING).await;
    }

    async fn settle_in(&self, topic: Topic) {
        loop {
            let ends = self.log.ends(topic).await.unwrap();
            let finished = self
                .log
                .wait_finished(FANOUT, topic, &ends, Duration::from_secs(60));
            assert!(finished.await.unwrap(), "fan-out did not finish");
            if self.log.ends(topic).await.unwrap() == ends {
                return;
            }
        }
    }

    /// As after a crash: another fan-out on the same log and store.
    pub(super) async fn begin_anew(self) -> Self {
        self.service.abort();
        let log = Arc::new(self.log.restarted());
        Self::on(log, self.store, self.app_id, self.options).await
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.service.await.unwrap().unwrap();
    }
}

pub(super) fn application(id: AppId) -> Application {
    let now = SystemClock.now();
    Application {
        id,
        uid: None,
        name: "shop".to_owned(),
        metadata: Default::default(),
        rate_limit: None,
        version: 0,
        created_at: now,
        updated_at: now,
    }
}

fn endpoint(app_id: AppId) -> Endpoint {
    let now = SystemClock.now();
    Endpoint {
        id: EndpointId::new(),
        app_id,
        uid: None,
        url: "https://example.com/hook".parse().unwrap(),
        description: String::new(),
        metadata: Default::default(),
        event_types: None,
        channels: None,
        disabled: None,
        policy: EndpointPolicy::default().shared(),
        secrets: vec![],
        version: 0,
        created_at: now,
        updated_at: now,
    }
}

pub(super) fn event(app_id: AppId) -> Event {
    Event {
        id: EventId::new(),
        app_id,
        event_type: "order.created".parse().unwrap(),
        channels: vec![],
        uid: None,
        content_type: Event::JSON.to_owned(),
        payload: Bytes::from_static(br#"{"order": 1}"#),
        accepted_at: SystemClock.now(),
        trace: None,
        origin: EventOrigin::Accepted,
    }
}
