//! A running recorder, and what to put before it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_log::testing::MemoryLog;
use postrider_log::{Durability, Log, Purpose};
use postrider_metrics::Registry;
use postrider_model::{
    AppId, Attempt, AttemptId, Clock, DeliveryId, Endpoint, EndpointId, EndpointPolicy, Event,
    EventId, EventOrigin, NewRecord, Outcome, Timestamp, Topic, Trigger, topics,
};
use postrider_recorder::{Options, RecorderError, RecorderMetrics};
use postrider_store::testing::MemoryStore;
use postrider_store::{
    Application, Applications, AttemptFilter, EndpointRef, Endpoints, EventRef, History, Page,
};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Wall-clock time that runs with tokio's, which is paused.
#[derive(Clone, Copy)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000).plus(self.0.elapsed())
    }
}

pub(crate) struct Running {
    pub(crate) log: MemoryLog,
    pub(crate) store: MemoryStore,
    pub(crate) metrics: RecorderMetrics,
    pub(crate) app_id: AppId,
    clock: TokioClock,
    stop: CancellationToken,
    handle: JoinHandle<Result<(), RecorderError>>,
}

pub(crate) async fn start() -> Running {
    start_with(Options::default()).await
}

/// A recorder, with one application in the store.
pub(crate) async fn start_with(options: Options) -> Running {
    let clock = TokioClock(Instant::now());
    let log = MemoryLog::with_clock(topics::all(), Arc::new(clock));
    let store = MemoryStore::new();
    let application = application(clock.now());
    let app_id = application.id;
    store.insert_application(&application).await.unwrap();
    start_on(log, store, clock, app_id, options)
}

fn start_on(
    log: MemoryLog,
    store: MemoryStore,
    clock: TokioClock,
    app_id: AppId,
    options: Options,
) -> Running {
    let metrics = RecorderMetrics::register(&Registry::new()).unwrap();
    let stop = CancellationToken::new();
    let handle = tokio::spawn(postrider_recorder::run(
        Arc::new(log.clone()),
        Arc::new(store.clone()),
        Arc::new(clock),
        options,
        metrics.clone(),
        stop.clone(),
    ));
    Running {
        log,
        store,
        metrics,
        app_id,
        clock,
        stop,
        handle,
    }
}

fn application(now: Timestamp) -> Application {
    Application {
        id: AppId::new(),
        uid: None,
        name: "shop".to_owned(),
        metadata: BTreeMap::new(),
        rate_limit: None,
        version: 0,
        created_at: now,
        updated_at: now,
    }
}

fn status_code(outcome: Outcome) -> Option<u16> {
    match outcome {
        Outcome::Succeeded => Some(200),
        Outcome::Gone => Some(410),
        Outcome::Redirected => Some(302),
        Outcome::Throttled => Some(503),
        Outcome::Refused => Some(500),
        Outcome::Final => Some(422),
        Outcome::TimedOut | Outcome::Unreachable | Outcome::Forbidden | Outcome::OwnFault => None,
    }
}

impl Running {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) async fn put(&self, records: Vec<NewRecord>) {
        let done = self
            .log
            .append(records, Durability::Ordered, Purpose::Pipeline);
        done.await.unwrap();
    }

    /// Waits until everything in `topic` is finished, at most a minute.
    pub(crate) async fn finished(&self, topic: Topic) {
        assert!(
            self.finished_within(topic, Duration::from_secs(60)).await,
            "{topic} is not finished"
        );
    }

    pub(crate) async fn finished_within(&self, topic: Topic, within: Duration) -> bool {
        let ends = self.log.ends(topic).await.unwrap();
        let waiting = self
            .log
            .wait_finished(topics::RECORDER, topic, &ends, within);
        waiting.await.unwrap()
    }

    pub(crate) async fn is_archived(&self, event: &Event) -> bool {
        let by = EventRef::Id(event.id);
        self.store.event(self.app_id, &by).await.unwrap().is_some()
    }

    /// Attempts recorded for an endpoint.
    pub(crate) async fn attempts(&self, endpoint: EndpointId) -> Vec<Attempt> {
        let filter = AttemptFilter {
            endpoint: Some(endpoint),
            ..AttemptFilter::default()
        };
        let page = Page {
            limit: 100_000,
            start: postrider_store::PageStart::Beginning,
            order: postrider_store::Order::Ascending,
        };
        self.store
            .attempts(self.app_id, &filter, &page)
            .await
            .unwrap()
    }

    pub(crate) fn event(&self) -> Event {
        Event {
            id: EventId::new(),
            app_id: self.app_id,
            event_type: "order.paid".parse().unwrap(),
            channels: Vec::new(),
            uid: None,
            content_type: "application/json".to_owned(),
            payload: Bytes::from_static(b"{}"),
            accepted_at: self.now(),
            trace: None,
            origin: EventOrigin::Accepted,
        }
    }

    /// An attempt to `endpoint` that starts now, as the worker writes the first of a delivery: what failed comes again, unless
    /// the answer ends it.
    pub(crate) fn attempt(&self, endpoint: &Endpoint, outcome: Outcome) -> Attempt {
        let event_id = EventId::new();
        let is_last = matches!(outcome, Outcome::Gone | Outcome::Final);
        let comes_again = !outcome.is_success() && !is_last;
        Attempt {
            id: AttemptId::derive(&[event_id.as_bytes()]),
            delivery_id: DeliveryId::derive(&[event_id.as_bytes()]),
            generation: 0,
            number: 1,
            event_id,
            app_id: self.app_id,
            endpoint_id: endpoint.id,
            event_type: "order.paid".parse().unwrap(),
            endpoint_version: endpoint.version,
            url: endpoint.url.to_string(),
            started_at: self.now(),
            duration: Duration::from_millis(20),
            outcome,
            status_code: status_code(outcome),
            response_body: Bytes::from_static(b"\0\xff"),
            error: String::new(),
            next_attempt_at: comes_again.then(|| self.now().plus(Duration::from_secs(5))),
            trigger: Trigger::Scheduled,
            accepted_at: self.now(),
            exhausted: is_last,
        }
    }

    /// A new endpoint in the store.
    pub(crate) async fn endpoint(&self) -> Endpoint {
        self.endpoint_with(EndpointPolicy::default()).await
    }

    /// Likewise, with this policy.
    pub(crate) async fn endpoint_with(&self, policy: EndpointPolicy) -> Endpoint {
        let endpoint = Endpoint {
            id: EndpointId::new(),
            app_id: self.app_id,
            uid: None,
            url: "https://example.com/hook".parse().unwrap(),
            description: String::new(),
            metadata: BTreeMap::new(),
            event_types: None,
            channels: None,
            disabled: None,
            policy: policy.shared(),
            secrets: Vec::new(),
            version: 0,
            created_at: self.now(),
            updated_at: self.now(),
        };
        self.store.insert_endpoint(&endpoint).await.unwrap()
    }

    /// The endpoint as it is in the store now.
    pub(crate) async fn stored(&self, endpoint: &Endpoint) -> Endpoint {
        let by = EndpointRef::Id(endpoint.id);
        let found = self.store.endpoint(self.app_id, &by).await.unwrap();
        found.unwrap()
    }

    /// Another recorder on the same log and store.
    pub(crate) fn second(&self) -> Running {
        let (log, store) = (self.log.clone(), self.store.clone());
        start_on(log, store, self.clock, self.app_id, Options::default())
    }

    pub(crate) async fn stop(self) -> Result<(), RecorderError> {
        self.stop.cancel();
        self.handle.await.unwrap()
    }

    /// Kills the process and starts another on the same log and store.
    pub(crate) fn kill_and_start(self) -> Running {
        self.handle.abort();
        let (log, store) = (self.log.restarted(), self.store);
        start_on(log, store, self.clock, self.app_id, Options::default())
    }
}
