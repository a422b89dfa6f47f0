//! A running pump, what to put before it, and what comes out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_log::testing::MemoryLog;
use postrider_log::{Durability, Log, LogError, Purpose};
use postrider_metrics::Registry;
use postrider_model::{
    AppId, BreakerState, Class, Clock, Delivery, EndpointId, EndpointState, Event, EventId,
    EventOrigin, NewRecord, Record, TestClock, Timestamp, Topic, topics,
};
use postrider_pump::{Options, PumpError, PumpMetrics};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Wall-clock time that runs with tokio's, which is paused, and that can be set.
#[derive(Clone)]
pub(crate) struct TokioClock {
    since: Instant,
    set: TestClock,
}

impl TokioClock {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            set: TestClock::at(Timestamp::from_millis(1_700_000_000_000)),
        }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.set.now().plus(self.since.elapsed())
    }
}

/// Another clock that is ahead, or behind.
enum Other {
    Ahead(TokioClock, Duration),
    Behind(TokioClock, Duration),
}

impl Clock for Other {
    fn now(&self) -> Timestamp {
        match self {
            Self::Ahead(clock, by) => clock.now().plus(*by),
            Self::Behind(clock, by) => clock.now().minus(*by),
        }
    }
}

pub(crate) struct Running {
    pub(crate) log: MemoryLog,
    pub(crate) clock: TokioClock,
    pub(crate) metrics: PumpMetrics,
    options: Options,
    stop: CancellationToken,
    handle: JoinHandle<Result<(), PumpError>>,
}

pub(crate) fn start() -> Running {
    start_with(Options::default())
}

pub(crate) fn start_with(options: Options) -> Running {
    let clock = TokioClock::new();
    let log = MemoryLog::with_clock(topics::all(), Arc::new(clock.clone()));
    start_on(log, clock, options)
}

/// On a log on which a crash can lie between outputs and the positions that they finish.
pub(crate) fn start_in_two_steps() -> Running {
    let clock = TokioClock::new();
    let log = MemoryLog::with_clock(topics::all(), Arc::new(clock.clone()));
    log.complete_in_two_steps();
    start_on(log, clock, Options::default())
}

/// The log's time is ahead by this much, as it stays after the wall clock was set back.
pub(crate) fn start_with_log_ahead(ahead: Duration) -> Running {
    let clock = TokioClock::new();
    let log = MemoryLog::with_clock(topics::all(), Arc::new(Other::Ahead(clock.clone(), ahead)));
    start_on(log, clock, Options::default())
}

/// The log's time is behind by this much, as a broker's may be.
pub(crate) fn start_with_log_behind(behind: Duration) -> Running {
    let clock = TokioClock::new();
    let log = MemoryLog::with_clock(
        topics::all(),
        Arc::new(Other::Behind(clock.clone(), behind)),
    );
    start_on(log, clock, Options::default())
}

pub(crate) fn start_on(log: MemoryLog, clock: TokioClock, options: Options) -> Running {
    let metrics = PumpMetrics::register(&Registry::new()).unwrap();
    let stop = CancellationToken::new();
    let handle = tokio::spawn(postrider_pump::run(
        Arc::new(log.clone()),
        Arc::new(clock.clone()),
        options.clone(),
        metrics.clone(),
        stop.clone(),
    ));
    Running {
        log,
        clock,
        metrics,
        options,
        stop,
        handle,
    }
}

impl Running {
    /// From now on the log takes nothing.
    pub(crate) fn refuse(&self, error: &LogError) {
        for purpose in [Purpose::Spreading, Purpose::Moving] {
            self.log.fail_appends(purpose, error.clone());
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn set_clock_back(&self, by: Duration) {
        self.clock.set.set_back(by);
    }

    pub(crate) fn set_clock_forward(&self, by: Duration) {
        self.clock.set.advance(by);
    }

    pub(crate) async fn put(&self, records: Vec<NewRecord>) {
        let done = self
            .log
            .append(records, Durability::Ordered, Purpose::Pipeline);
        done.await.unwrap();
    }

    /// The delivery put into the tier in which its wait begins.
    pub(crate) async fn wait_in(&self, tiers: &'static [topics::Tier], delivery: &Delivery) {
        let wait = delivery.wait(self.now());
        let tier = postrider_model::tier_for(tiers, wait, wait).unwrap();
        self.put(vec![delivery.to_record_in(tier.topic)]).await;
    }

    /// What came out to the worker once there are `count`, at most an hour later.
    pub(crate) async fn out(&self, topic: Topic, count: usize) -> Vec<Record> {
        self.out_within(topic, count, Duration::from_secs(3600))
            .await
    }

    pub(crate) async fn out_within(
        &self,
        topic: Topic,
        count: usize,
        within: Duration,
    ) -> Vec<Record> {
        tokio::time::timeout(within, self.log.wait_for_records(topic, count))
            .await
            .unwrap_or_else(|_| panic!("only {} in {topic}", self.log.records(topic).len()))
    }

    /// Ends by itself.
    pub(crate) async fn ended(self) -> Result<(), PumpError> {
        self.handle.await.unwrap()
    }

    pub(crate) async fn stop(self) -> Result<(), PumpError> {
        self.stop.cancel();
        self.handle.await.unwrap()
    }

    /// Another pump on the same log.
    pub(crate) fn second(&self) -> Running {
        start_on(self.log.clone(), self.clock.clone(), self.options.clone())
    }

    /// Kills the process between any two steps, and starts another on the same log.
    pub(crate) fn kill_and_start(self) -> Running {
        self.handle.abort();
        start_on(self.log.restarted(), self.clock, self.options)
    }
}

/// A delivery to `endpoint`, made now, that lives for a week.
pub(crate) fn delivery(endpoint: EndpointId, now: Timestamp) -> Delivery {
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
    let deadline = now.plus(Duration::from_secs(7 * 86_400));
    Delivery::of_event(&event, (0, 1), endpoint, 1, Class::Normal, deadline)
}

/// What the owner of `endpoint` writes while its breaker is open until `probe_at`.
pub(crate) fn open(endpoint: EndpointId, now: Timestamp, probe_at: Timestamp) -> EndpointState {
    EndpointState {
        endpoint_id: endpoint,
        breaker: BreakerState::Open,
        probe_at: Some(probe_at),
        openings: 1,
        consecutive_failures: 5,
        next_slot: None,
        parked: 0,
        parked_bytes: 0,
        epoch: 1,
        updated_at: now,
        failing_since: None,
        partition: 0,
        nonce: 0,
        newer: Box::default(),
        opened_at: Some(now),
        endpoint_version: 1,
    }
}

pub(crate) fn closed(endpoint: EndpointId, now: Timestamp) -> EndpointState {
    EndpointState {
        breaker: BreakerState::Closed,
        probe_at: None,
        ..open(endpoint, now, now)
    }
}

pub(crate) fn ids(records: &[Record]) -> Vec<String> {
    let decode = |record: &Record| Delivery::decode(&record.value).unwrap().id.to_string();
    let mut ids: Vec<String> = records.iter().map(decode).collect();
    ids.sort();
    ids
}
