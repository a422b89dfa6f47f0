//! Two workers of one group, on a log of two partitions.

use std::sync::Arc;

use postrider_delivery::{DeliveryError, DeliveryMetrics, Worker};
use postrider_log::testing::MemoryLog;
use postrider_metrics::Registry;
use postrider_model::{Endpoint, EndpointId, EndpointPolicy, EventId, TopicPartition, topics};
use postrider_trace::Tracer;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::world::{Does, MS, Scripted, World, endpoint};

/// Read together, so always owned together.
pub(crate) const DELIVERIES: [postrider_log::Topic; 3] = [
    topics::DELIVERIES_HIGH,
    topics::DELIVERIES_NORMAL,
    topics::DELIVERIES_BULK,
];

/// A worker on a log of two partitions, whose group takes further members.
pub(crate) fn world() -> World {
    let mut world = World::new();
    let parts = |topic| if DELIVERIES.contains(&topic) { 2 } else { 1 };
    world.log = MemoryLog::with_partitions(topics::all(), world.clock.clone(), parts);
    world.log.share(topics::WORKER);
    world
}

/// Partition `number` of all that is owned together.
pub(crate) fn partitions(number: u32) -> Vec<TopicPartition> {
    let partition = number;
    DELIVERIES
        .map(|topic| TopicPartition { topic, partition })
        .to_vec()
}

/// The `nth` endpoint of those whose deliveries lie in partition `number`.
pub(crate) fn endpoint_in(world: &mut World, number: u32, nth: usize, does: Does) -> EndpointId {
    let mut lies_there = |id: EndpointId| {
        let record = world.delivery(id).to_record();
        let at = world.log.partition_of(record.topic, &record.key);
        at.partition == number
    };
    let all = (0u64..).map(|n| endpoint(n, EndpointPolicy::default()));
    let mut there = all.filter(|endpoint: &Endpoint| lies_there(endpoint.id));
    let endpoint = there.nth(nth).unwrap();
    let id = endpoint.id;
    world.sender.set(id, does);
    world.put(endpoint);
    id
}

/// Another worker of the same group, with a way out of its own.
pub(crate) struct Second {
    pub(crate) sender: Arc<Scripted>,
    running: JoinHandle<Result<(), DeliveryError>>,
}

impl Second {
    pub(crate) async fn start(world: &World) -> Self {
        let sender = Arc::new(Scripted::default());
        let worker = Worker {
            log: Arc::new(world.log.clone()),
            endpoints: world.endpoints.clone(),
            sender: sender.clone(),
            clock: world.clock.clone(),
            tracer: Tracer::default(),
            options: world.options.clone(),
            metrics: DeliveryMetrics::register(&Registry::new()).unwrap(),
        };
        let running = tokio::spawn(worker.run(CancellationToken::new()));
        // It joins, and finds that everything has an owner.
        tokio::time::sleep(10 * MS).await;
        assert!(!running.is_finished());
        Self { sender, running }
    }

    pub(crate) fn sent_to(&self, id: EndpointId) -> Vec<EventId> {
        events(&self.sender, id)
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        self.running.abort();
    }
}

pub(crate) fn events(sender: &Scripted, id: EndpointId) -> Vec<EventId> {
    let sent = sender.sent_to(id);
    sent.iter().map(|sent| sent.event).collect()
}

pub(crate) fn attempts_at(world: &World, id: EndpointId) -> usize {
    let attempts = world.attempts();
    attempts.iter().filter(|one| one.endpoint_id == id).count()
}
