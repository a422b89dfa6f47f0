//! A worker, its log, its endpoints, and what they answer.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use postrider_delivery::{
    Answer, DeliveryError, DeliveryMetrics, Endpoints, Failure, Freshness, Options, Outgoing,
    Sender, Worker,
};
use postrider_log::testing::MemoryLog;
use postrider_log::{
    BatchLimit, Committed, Completion, Durability, Epochs, Log, Polled, Progress, Purpose,
    Subscription,
};
use postrider_metrics::Registry;
use postrider_model::topics::Tier;
use postrider_model::{
    AppId, Attempt, Class, Clock, DeadLetter, DeathReason, Delivery, Endpoint, EndpointId,
    EndpointPolicy, EndpointSecret, Event, EventId, EventOrigin, NewRecord, SecretText, Timestamp,
    TopicPartition, tier_for, topics,
};
use postrider_trace::Tracer;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::slow_log::SlowLog;

pub(crate) const S: Duration = Duration::from_secs(1);
pub(crate) const MS: Duration = Duration::from_millis(1);

/// The wall clock, moved on by tokio's.
pub(crate) struct Paced {
    began: Timestamp,
    since: Instant,
}

impl Clock for Paced {
    fn now(&self) -> Timestamp {
        self.began.plus(self.since.elapsed())
    }
}

/// What an endpoint does with an attempt.
#[derive(Debug, Clone)]
pub(crate) enum Does {
    /// Answers with this status after a moment.
    Answer(u16),
    /// Answers after this long.
    Slow(Duration),
    /// Never answers.
    Hang,
    /// Is not there.
    Dead,
    /// Answers 429 or 503 and asks for this wait.
    AskFor(u16, Duration),
    /// Each time the next of these, then 200.
    Script(VecDeque<u16>),
    /// The attempt fails on our side so many times, then succeeds.
    OurFault(u32),
}

/// An attempt as its endpoint saw it.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) to: EndpointId,
    pub(crate) event: EventId,
    pub(crate) at: Instant,
}

#[derive(Default)]
pub(crate) struct Scripted {
    does: Mutex<HashMap<EndpointId, Does>>,
    sent: Mutex<Vec<Sent>>,
    pub(crate) in_flight: AtomicU64,
    pub(crate) most_in_flight: AtomicU64,
}

impl Scripted {
    pub(crate) fn set(&self, id: EndpointId, does: Does) {
        self.does.lock().unwrap().insert(id, does);
    }

    pub(crate) fn sent_to(&self, id: EndpointId) -> Vec<Sent> {
        let sent = self.sent.lock().unwrap();
        sent.iter().filter(|sent| sent.to == id).cloned().collect()
    }

    pub(crate) fn sent(&self) -> usize {
        self.sent.lock().unwrap().len()
    }

    async fn answer(&self, does: Does, timeout: Duration) -> Result<Answer, Failure> {
        let answer = |status, retry_after| {
            Ok(Answer {
                status,
                retry_after,
                body: Bytes::from_static(b"ok"),
            })
        };
        match does {
            Does::Answer(status) => {
                tokio::time::sleep(MS).await;
                answer(status, None)
            }
            Does::Slow(time) if time < timeout => {
                tokio::time::sleep(time).await;
                answer(200, None)
            }
            Does::Slow(_) | Does::Hang => {
                tokio::time::sleep(timeout).await;
                Err(Failure::TimedOut("no answer".to_owned()))
            }
            Does::Dead => Err(Failure::Unreachable("refused".to_owned())),
            Does::AskFor(status, wait) => answer(status, Some(wait)),
            Does::Script(mut script) => answer(script.pop_front().unwrap_or(200), None),
            Does::OurFault(0) => answer(200, None),
            Does::OurFault(_) => Err(Failure::OwnFault("no sockets".to_owned())),
        }
    }

    fn next(&self, id: EndpointId) -> Does {
        let mut does = self.does.lock().unwrap();
        let Some(next) = does.get_mut(&id) else {
            return Does::Answer(200);
        };
        let now = next.clone();
        match next {
            Does::Script(script) => drop(script.pop_front()),
            Does::OurFault(times) => *times = times.saturating_sub(1),
            _ => {}
        }
        now
    }
}

impl Sender for Scripted {
    async fn send(&self, outgoing: Outgoing) -> Result<Answer, Failure> {
        let delivery = &outgoing.delivery;
        self.sent.lock().unwrap().push(Sent {
            to: delivery.endpoint_id,
            event: delivery.event_id,
            at: Instant::now(),
        });
        let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_in_flight.fetch_max(now, Ordering::SeqCst);
        let answer = self
            .answer(self.next(delivery.endpoint_id), outgoing.timeout)
            .await;
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        answer
    }
}

/// Endpoints as the registry has them; what is in `store` is seen after the next refresh.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) known: Mutex<HashMap<EndpointId, Arc<Endpoint>>>,
    pub(crate) store: Mutex<HashMap<EndpointId, Arc<Endpoint>>>,
    pub(crate) version: AtomicU64,
    /// Of the one application, as it is known.
    pub(crate) application_version: AtomicU64,
    pub(crate) store_version: AtomicU64,
    pub(crate) down: AtomicBool,
    /// The limit of the one application, for endpoints that set none.
    pub(crate) rate_limit: Mutex<Option<u32>>,
    pub(crate) refreshes: AtomicU64,
}

#[async_trait]
impl Endpoints for Known {
    fn endpoint(&self, id: EndpointId) -> Option<Arc<Endpoint>> {
        self.known.lock().unwrap().get(&id).cloned()
    }

    fn rate_limit(&self, endpoint: &Endpoint) -> Option<u32> {
        let application = || *self.rate_limit.lock().unwrap();
        endpoint.policy.rate_limit.or_else(application)
    }

    fn version_of(&self, endpoint: &Endpoint) -> u64 {
        let application = self.application_version.load(Ordering::SeqCst);
        application.max(endpoint.version)
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    async fn refresh(&self) -> Freshness {
        self.refreshes.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(MS).await;
        if self.down.load(Ordering::SeqCst) {
            return Freshness::Stale;
        }
        *self.known.lock().unwrap() = self.store.lock().unwrap().clone();
        self.version
            .store(self.store_version.load(Ordering::SeqCst), Ordering::SeqCst);
        Freshness::Fresh
    }
}

pub(crate) struct World {
    pub(crate) log: MemoryLog,
    /// How long each commit of the worker takes.
    pub(crate) commit_takes: Duration,
    /// How long it takes the worker to begin to follow a topic, in milliseconds.
    pub(crate) follow_takes: Arc<AtomicU64>,
    pub(crate) followed: Arc<Mutex<Vec<TopicPartition>>>,
    /// What the worker loses as it makes its next commit.
    pub(crate) loses: Arc<Mutex<Vec<TopicPartition>>>,
    /// At the lease of which of these the process is stopped.
    pub(crate) stops: Arc<Mutex<Vec<TopicPartition>>>,
    pub(crate) clock: Arc<Paced>,
    pub(crate) endpoints: Arc<Known>,
    pub(crate) sender: Arc<Scripted>,
    pub(crate) options: Options,
    pub(crate) metrics: DeliveryMetrics,
    events: u64,
    worker: Option<(JoinHandle<Result<(), DeliveryError>>, CancellationToken)>,
    pump: Option<JoinHandle<()>>,
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(Paced {
            began: Timestamp::from_millis(1_800_000_000_000),
            since: Instant::now(),
        });
        Self {
            log: MemoryLog::with_clock(topics::all(), clock.clone()),
            commit_takes: Duration::ZERO,
            follow_takes: Arc::default(),
            followed: Arc::default(),
            loses: Arc::default(),
            stops: Arc::default(),
            clock,
            endpoints: Arc::default(),
            sender: Arc::default(),
            options: Options::default(),
            metrics: DeliveryMetrics::register(&Registry::new()).unwrap(),
            events: 0,
            worker: None,
            pump: None,
        }
    }

    /// An endpoint that is known, and what it does.
    pub(crate) fn endpoint(&self, n: u64, does: Does) -> EndpointId {
        self.endpoint_with(n, does, EndpointPolicy::default())
    }

    pub(crate) fn endpoint_with(&self, n: u64, does: Does, policy: EndpointPolicy) -> EndpointId {
        let endpoint = endpoint(n, policy);
        self.sender.set(endpoint.id, does);
        self.put(endpoint.clone());
        endpoint.id
    }

    /// Puts an endpoint into the store and into what is known.
    pub(crate) fn put(&self, endpoint: Endpoint) {
        let endpoint = Arc::new(endpoint);
        let id = endpoint.id;
        self.endpoints
            .store
            .lock()
            .unwrap()
            .insert(id, Arc::clone(&endpoint));
        self.endpoints.known.lock().unwrap().insert(id, endpoint);
    }

    pub(crate) fn start(&mut self) {
        let shutdown = CancellationToken::new();
        let log: Arc<dyn Log> = Arc::new(SlowLog {
            log: self.log.clone(),
            commit_takes: self.commit_takes,
            follow_takes: Arc::clone(&self.follow_takes),
            followed: Arc::clone(&self.followed),
            loses: Arc::clone(&self.loses),
            stops: Arc::clone(&self.stops),
        });
        let worker = Worker {
            log,
            endpoints: self.endpoints.clone(),
            sender: self.sender.clone(),
            clock: self.clock.clone(),
            tracer: Tracer::default(),
            options: self.options.clone(),
            metrics: self.metrics.clone(),
        };
        let running = tokio::spawn(worker.run(shutdown.clone()));
        self.worker = Some((running, shutdown));
        if self.pump.is_none() {
            self.pump = Some(tokio::spawn(pump(self.log.clone(), self.clock.clone())));
        }
    }

    /// A delivery of a new event.
    pub(crate) fn delivery(&mut self, to: EndpointId) -> Delivery {
        self.events += 1;
        let now = self.clock.now();
        let event = Event {
            id: EventId::derive(&[&self.events.to_be_bytes()]),
            app_id: AppId::from_bytes([1; 16]),
            event_type: "order.paid".parse().unwrap(),
            channels: Vec::new(),
            uid: None,
            content_type: "application/json".to_owned(),
            payload: Bytes::from_static(b"{\"n\":1}"),
            accepted_at: now,
            trace: None,
            origin: EventOrigin::Accepted,
        };
        let deadline = now.plus(S * 3600 * 24);
        Delivery::of_event(&event, (0, self.events), to, 0, Class::Normal, deadline)
    }

    pub(crate) async fn write(&self, deliveries: &[Delivery]) {
        let records = deliveries.iter().map(Delivery::to_record).collect();
        self.log
            .append(records, Durability::Ordered, Purpose::Intake)
            .await
            .unwrap();
    }

    /// Publishes one event to each of `to`.
    pub(crate) async fn publish(&mut self, to: &[EndpointId]) -> Vec<EventId> {
        let deliveries: Vec<_> = to.iter().map(|id| self.delivery(*id)).collect();
        self.write(&deliveries).await;
        deliveries
            .iter()
            .map(|delivery| delivery.event_id)
            .collect()
    }

    /// Waits until `holds`, or fails after `within` of paused time.
    pub(crate) async fn until(&self, within: Duration, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + within;
        let step = (within / 1_000).max(MS);
        while !holds(self) {
            assert!(Instant::now() < deadline, "not within {within:?}: {what}");
            tokio::time::sleep(step).await;
        }
    }

    /// Everything that was read is finished.
    pub(crate) fn is_finished(&self) -> bool {
        [
            topics::DELIVERIES_HIGH,
            topics::DELIVERIES_NORMAL,
            topics::DELIVERIES_BULK,
        ]
        .iter()
        .all(|topic| self.log.records(*topic).is_empty())
    }

    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        let records = self.log.records(topics::ATTEMPTS);
        records
            .iter()
            .map(|record| Attempt::decode(&record.value).unwrap())
            .collect()
    }

    pub(crate) fn dead_letters(&self) -> Vec<DeadLetter> {
        let records = self.log.records(topics::DEAD_LETTERS);
        records
            .iter()
            .map(|record| DeadLetter::decode(&record.value).unwrap())
            .collect()
    }

    /// What was written to the park tiers and is not trimmed.
    pub(crate) fn parked(&self) -> Vec<Delivery> {
        let records = topics::PARK
            .iter()
            .flat_map(|tier| self.log.records(tier.topic));
        records
            .map(|record| Delivery::decode(&record.value).unwrap())
            .collect()
    }

    /// Stops the worker by its token, and waits for it.
    pub(crate) async fn stop(&mut self) -> Result<(), DeliveryError> {
        let (running, shutdown) = self.worker.take().unwrap();
        shutdown.cancel();
        running.await.unwrap()
    }

    /// Waits for a worker that ends by itself.
    pub(crate) async fn ended(&mut self) -> Result<(), DeliveryError> {
        self.worker.take().unwrap().0.await.unwrap()
    }

    /// As a kill and a new start on the same log.
    pub(crate) async fn kill_and_restart(&mut self) {
        if let Some((running, _)) = self.worker.take() {
            running.abort();
            assert!(running.await.is_err());
        }
        if let Some(pump) = self.pump.take() {
            // It may have ended with its log.
            pump.abort();
            let _ = pump.await;
        }
        self.log = self.log.restarted();
        // What was in flight in the process that was killed is never answered to anybody.
        let sender = Scripted::default();
        *sender.does.lock().unwrap() = self.sender.does.lock().unwrap().clone();
        self.sender = Arc::new(sender);
        self.start();
    }
}

pub(crate) fn endpoint(n: u64, policy: EndpointPolicy) -> Endpoint {
    let at = Timestamp::from_millis(1_700_000_000_000);
    Endpoint {
        id: EndpointId::derive(&[&n.to_be_bytes()]),
        app_id: AppId::from_bytes([1; 16]),
        uid: None,
        url: format!("https://example.com/{n}").parse().unwrap(),
        description: String::new(),
        metadata: Default::default(),
        event_types: None,
        channels: None,
        disabled: None,
        policy: policy.shared(),
        secrets: vec![EndpointSecret {
            secret: SecretText::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            expires_at: None,
        }],
        version: 1,
        created_at: at,
        updated_at: at,
    }
}

/// The pump, as simple as can be: each record waits out its tier, then goes on to the next, or back to the worker.
async fn pump(log: MemoryLog, clock: Arc<Paced>) {
    let mut waiting = tokio::task::JoinSet::new();
    for tiers in [&topics::RETRY, &topics::PARK] {
        for tier in tiers {
            waiting.spawn(wait_out(log.clone(), clock.clone(), tiers, tier));
        }
    }
    waiting.join_all().await;
}

async fn wait_out(log: MemoryLog, clock: Arc<Paced>, tiers: &'static [Tier], tier: &'static Tier) {
    let subscription = Subscription::to(topics::PUMP, tier.topic);
    let (mut reader, committer) = log.subscribe(subscription).await.unwrap();
    let limit = BatchLimit {
        records: 1000,
        bytes: 1 << 30,
    };
    let mut epochs = Epochs::default();
    while let Ok(polled) = reader.next(limit).await {
        epochs.hear(&polled);
        let Polled::Records(records) = polled else {
            continue;
        };
        for record in records {
            tokio::time::sleep(record.appended_at.plus(tier.delay).since(clock.now())).await;
            let delivery = Delivery::decode(&record.value).unwrap();
            let next = if delivery.deadline <= clock.now() {
                DeadLetter::of(delivery, DeathReason::Expired, clock.now()).to_record()
            } else {
                onwards(&delivery, tiers, clock.now())
            };
            let committed = Committed {
                next: record.position + 1,
                metadata: String::new(),
            };
            let completion = Completion {
                finished: vec![Progress {
                    at: record.at,
                    epoch: epochs.of(record.at),
                    committed,
                }],
                outputs: vec![next],
                durability: Durability::Ordered,
                purpose: Purpose::Intake,
            };
            if committer.complete(completion).await.is_err() {
                return;
            }
        }
    }
}

fn onwards(delivery: &Delivery, tiers: &'static [Tier], now: Timestamp) -> NewRecord {
    let whole = delivery.not_before.since(delivery.waiting_since);
    match tier_for(tiers, delivery.wait(now), whole) {
        Some(tier) => delivery.to_record_in(tier.topic),
        None => delivery.to_record(),
    }
}
