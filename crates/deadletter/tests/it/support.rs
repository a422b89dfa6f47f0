//! A running dead-letter consumer, and what to put before it.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use postrider_deadletter::{
    DeadLetterError, DeadLetterMetrics, EndpointLookup, Options, Ports, Takes,
};
use postrider_log::testing::MemoryLog;
use postrider_log::{Durability, Log, Purpose};
use postrider_metrics::Registry;
use postrider_model::{
    AppId, Class, Clock, DeadLetter, DeathReason, Delivery, Endpoint, EndpointId, Event, EventId,
    EventOrigin, NewRecord, ReplayId, Timestamp, topics,
};
use postrider_store::{
    Application, Applications, DeadLetterFilter, DeadLetters, Endpoints as _, Replay, ReplayStatus,
    Replays, Selection, StoreError,
};
use postrider_trace::Tracer;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::store::DoorStore;

/// Wall-clock time that runs with tokio's, which is paused.
#[derive(Clone, Copy)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000).plus(self.0.elapsed())
    }
}

/// Endpoints of which some are gone.
#[derive(Clone, Default)]
pub(crate) struct Endpoints {
    gone: Arc<Mutex<HashSet<EndpointId>>>,
    unknown: Arc<Mutex<bool>>,
}

impl Endpoints {
    pub(crate) fn remove(&self, endpoint: EndpointId) {
        self.gone.lock().unwrap().insert(endpoint);
    }

    /// While stale, nobody can say who is gone.
    pub(crate) fn set_stale(&self, stale: bool) {
        *self.unknown.lock().unwrap() = stale;
    }
}

#[async_trait]
impl EndpointLookup for Endpoints {
    async fn refresh(&self) -> Result<(), StoreError> {
        if *self.unknown.lock().unwrap() {
            return Err(StoreError::Unavailable("testing".to_owned()));
        }
        Ok(())
    }

    fn takes(&self, endpoint: EndpointId) -> Takes {
        if self.gone.lock().unwrap().contains(&endpoint) {
            return Takes::Nothing;
        }
        Takes::Deliveries {
            schedule: Some("0s,5s".parse().unwrap()),
            version: 42,
        }
    }
}

pub(crate) struct Running {
    pub(crate) log: MemoryLog,
    pub(crate) store: DoorStore,
    pub(crate) endpoints: Endpoints,
    pub(crate) metrics: DeadLetterMetrics,
    pub(crate) options: Options,
    clock: TokioClock,
    stop: CancellationToken,
    handle: JoinHandle<Result<(), DeadLetterError>>,
}

pub(crate) fn start() -> Running {
    start_with(Options::default())
}

pub(crate) fn start_with(options: Options) -> Running {
    let clock = TokioClock(Instant::now());
    let log = MemoryLog::with_clock(topics::all(), Arc::new(clock));
    start_on(
        log,
        DoorStore::default(),
        Endpoints::default(),
        clock,
        options,
    )
}

fn start_on(
    log: MemoryLog,
    store: DoorStore,
    endpoints: Endpoints,
    clock: TokioClock,
    options: Options,
) -> Running {
    let metrics = DeadLetterMetrics::register(&Registry::new()).unwrap();
    let stop = CancellationToken::new();
    let ports = Ports {
        log: Arc::new(log.clone()),
        store: Arc::new(store.clone()),
        endpoints: Arc::new(endpoints.clone()),
        tracer: Tracer::default(),
        clock: Arc::new(clock),
    };
    let handle = tokio::spawn(postrider_deadletter::run(
        ports,
        options.clone(),
        metrics.clone(),
        stop.clone(),
    ));
    Running {
        log,
        store,
        endpoints,
        metrics,
        options,
        clock,
        stop,
        handle,
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

    /// Waits until every dead letter in the log is kept or set aside, at most ten minutes.
    pub(crate) async fn kept(&self) {
        let ends = self.log.ends(topics::DEAD_LETTERS).await.unwrap();
        let within = Duration::from_secs(600);
        let waiting =
            self.log
                .wait_finished(topics::DEADLETTER, topics::DEAD_LETTERS, &ends, within);
        assert!(waiting.await.unwrap(), "dead letters are not finished");
    }

    /// `count` dead letters of `endpoint` in the store.
    pub(crate) async fn letters(&self, endpoint: EndpointId, count: usize) -> Vec<DeadLetter> {
        let letters: Vec<DeadLetter> = (0..count)
            .map(|_| letter(endpoint, 0, self.now()))
            .collect();
        self.store.keep_dead_letters(&letters).await.unwrap();
        letters
    }

    /// An endpoint that the store knows.
    pub(crate) async fn known_endpoint(&self) -> Endpoint {
        let (memory, now) = (&self.store.memory, self.now());
        let application = Application {
            id: AppId::new(),
            uid: None,
            name: String::new(),
            metadata: BTreeMap::new(),
            rate_limit: None,
            version: 0,
            created_at: now,
            updated_at: now,
        };
        memory.insert_application(&application).await.unwrap();
        let endpoint = Endpoint {
            id: EndpointId::new(),
            app_id: application.id,
            uid: None,
            url: "https://example.com/".parse().unwrap(),
            description: String::new(),
            metadata: BTreeMap::new(),
            event_types: None,
            channels: None,
            disabled: None,
            policy: Arc::default(),
            secrets: Vec::new(),
            version: 0,
            created_at: now,
            updated_at: now,
        };
        memory.insert_endpoint(&endpoint).await.unwrap()
    }

    /// A replay of everything that died until now.
    pub(crate) async fn replay_all(&self, rate: u32) -> Replay {
        let before = Some(self.now().plus(Duration::from_millis(1)));
        let filter = DeadLetterFilter {
            before,
            ..DeadLetterFilter::default()
        };
        self.replay(Selection::Filter(filter), rate).await
    }

    pub(crate) async fn replay(&self, selection: Selection, rate: u32) -> Replay {
        let total = match &selection {
            Selection::Ids(ids) => ids.len() as u64,
            Selection::Filter(filter) => self.store.count_dead_letters(filter).await.unwrap(),
        };
        let replay = Replay {
            id: ReplayId::new(),
            app_id: None,
            selection,
            rate,
            status: ReplayStatus::Running,
            total,
            done: 0,
            failed: 0,
            cursor: None,
            paused_because: None,
            requested_by: "tok_test".to_owned(),
            generation: self.store.new_generation(self.now()).await.unwrap(),
            created_at: self.now(),
            updated_at: self.now(),
        };
        self.store.insert_replay(&replay).await.unwrap();
        replay
    }

    pub(crate) async fn state(&self, replay: &Replay) -> Replay {
        self.store.replay(replay.id).await.unwrap().unwrap()
    }

    pub(crate) async fn set_status(&self, replay: &Replay, to: ReplayStatus) {
        let from = [ReplayStatus::Running, ReplayStatus::Paused];
        let now = self.now();
        let set = self
            .store
            .set_replay_status(replay.id, &from, to, None, now);
        set.await.unwrap();
    }

    /// Waits until the replay has `status`, at most an hour.
    pub(crate) async fn until(&self, replay: &Replay, status: ReplayStatus) -> Replay {
        for _ in 0..36_000 {
            let state = self.state(replay).await;
            if state.status == status {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{:?} is not {status:?}", self.state(replay).await);
    }

    /// What was published so far.
    pub(crate) fn published(&self) -> Vec<Delivery> {
        let records = self.log.records(topics::DELIVERIES_BULK);
        records
            .iter()
            .map(|record| Delivery::decode(&record.value).unwrap())
            .collect()
    }

    /// Another consumer on the same log and store.
    pub(crate) fn second(&self) -> Running {
        start_on(
            self.log.clone(),
            self.store.clone(),
            self.endpoints.clone(),
            self.clock,
            self.options.clone(),
        )
    }

    pub(crate) async fn stop(self) -> Result<(), DeadLetterError> {
        self.stop.cancel();
        self.handle.await.unwrap()
    }

    /// Kills the process and starts another on the same log and store.
    pub(crate) fn kill_and_start(self) -> Running {
        self.handle.abort();
        start_on(
            self.log.restarted(),
            self.store,
            self.endpoints,
            self.clock,
            self.options,
        )
    }
}

/// A dead letter of `endpoint` that died at `now`.
pub(crate) fn letter(endpoint: EndpointId, generation: u64, now: Timestamp) -> DeadLetter {
    let event = Event {
        id: EventId::new(),
        app_id: AppId::new(),
        event_type: "order.paid".parse().unwrap(),
        channels: Vec::new(),
        uid: None,
        content_type: "application/json".to_owned(),
        payload: Bytes::from_static(b"{}"),
        accepted_at: now,
        trace: None,
        origin: EventOrigin::Accepted,
    };
    let delivery = Delivery::of_event(&event, (0, 1), endpoint, 1, Class::Normal, now);
    let delivery = Delivery {
        generation,
        ..delivery
    };
    DeadLetter::of(delivery, DeathReason::Exhausted, now)
}
