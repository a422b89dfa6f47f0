use std::collections::BTreeMap;

use postrider_log::{Keep, TopicPartition, TopicSpec};
use postrider_model::Topic;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::*;

const TOPIC: Topic = Topic("events");

/// librdkafka's own imitation of a broker, which refuses what it is told to.
type Brokers = MockCluster<'static, DefaultProducerContext>;

fn brokers() -> Brokers {
    let brokers = Brokers::new(1).unwrap();
    brokers.create_topic("events", 8, 1).unwrap();
    brokers
}

fn options(servers: &str) -> Options {
    let registry = postrider_metrics::Registry::new();
    let metrics = LogMetrics::register(&registry).unwrap();
    let spec = TopicSpec {
        topic: TOPIC,
        keep: Keep::UntilFinished(&[]),
    };
    let mut options = Options::new(servers, vec![spec], metrics);
    options.topic_prefix = String::new();
    options.layout.partitions = 8;
    // A machine may stand still for seconds.
    options.delivery_timeout = Duration::from_secs(60);
    options
}

fn producer(options: &Options) -> Arc<Producer> {
    let catalog = Arc::new(Catalog::new(options));
    Arc::new(Producer::new(options, catalog).unwrap())
}

fn record(key: &str) -> NewRecord {
    NewRecord::new(TOPIC, key.to_owned(), "value")
}

/// Keys that lie in partitions of their own.
fn apart(options: &Options) -> Vec<String> {
    let catalog = Catalog::new(options);
    let entry = &catalog.entries()[0];
    let keys = (0..1000).map(|n| format!("key {n}"));
    let by_partition: BTreeMap<TopicPartition, String> = keys
        .map(|key| (Catalog::place(entry, key.as_bytes()), key))
        .collect();
    by_partition.into_values().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_that_cannot_go_on_takes_back_is_written_by_the_next_one() {
    let brokers = brokers();
    let mut options = options(&brokers.bootstrap_servers());
    options.properties.insert(
        "max.in.flight.requests.per.connection".to_owned(),
        "1".to_owned(),
    );
    let producer = producer(&options);
    // Its connection is there, and it has its id.
    producer.append(vec![record("first")]).await.unwrap();
    brokers
        .broker_round_trip_time(1, Duration::from_millis(500))
        .unwrap();
    brokers.request_errors(
        RDKafkaApiKey::Produce,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER],
    );
    // The request that is refused carries some of these; the others wait behind it, and are purged.
    let keys = apart(&options);
    assert_eq!(keys.len(), 8);
    let appends = keys.iter().map(|key| {
        let (producer, record) = (Arc::clone(&producer), record(key));
        tokio::spawn(async move { producer.append(vec![record]).await })
    });
    let appends: Vec<_> = appends.collect();
    let mut refused = 0;
    for append in appends {
        match append.await.unwrap() {
            Ok(_) => {}
            Err(error) if error.is_passing() => refused += 1,
            Err(error) => panic!("it stops whoever asked: {error}"),
        }
    }
    assert!(refused > 0);
    brokers.broker_round_trip_time(1, Duration::ZERO).unwrap();
    assert_eq!(options.metrics.rebuilt.get(), 1);
    for key in &keys {
        producer.append(vec![record(key)]).await.unwrap();
    }
    assert_eq!(options.metrics.queued.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_old_client_has_on_its_way_is_heard_of_although_another_took_its_place() {
    let brokers = brokers();
    let producer = producer(&options(&brokers.bootstrap_servers()));
    producer.append(vec![record("first")]).await.unwrap();
    // Longer than rdkafka waits when a client is dropped.
    brokers
        .broker_round_trip_time(1, Duration::from_millis(1500))
        .unwrap();
    let old = producer.client().unwrap();
    let append = {
        let producer = Arc::clone(&producer);
        tokio::spawn(async move { producer.append(vec![record("key")]).await })
    };
    // Acknowledged already, where this machine stood still for that long: then nothing is left to be seen on its way.
    while old.in_flight_count() == 0 && !append.is_finished() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let new = Client::from_config_and_context(&producer.config, Deliveries).unwrap();
    let replaced = producer.client.write().unwrap().replace(Arc::new(new));
    drop(old);
    retire(replaced.unwrap());
    append.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_never_heard_of_is_not_waited_for_for_ever_and_leaves_its_room_to_others() {
    let options = options("127.0.0.1:1");
    let room = Room::new(1000, Duration::from_secs(1), options.metrics.clone());
    let metrics = Arc::new(options.metrics.clone());
    let skew = Arc::new(Skew::new(options.metrics.clock_off.clone()));
    let of = Of {
        record_bytes: 1000,
        metrics: &metrics,
        skew: &skew,
    };
    let at = TopicPartition {
        topic: TOPIC,
        partition: 0,
    };
    let share = room.take(900).await.unwrap();
    let (batch, replied) = Batch::new(vec![(at, 0)], share, &of);
    let ticket = Ticket {
        batch: Arc::clone(&batch),
        index: 0,
        at,
        size: 900,
    };
    let heard = batch.heard(replied, Duration::from_secs(13)).await;
    assert!(matches!(heard, Err(LogError::Unacknowledged(_))));
    room.take(900).await.unwrap();
    // Should it come after all.
    ticket.settle(Ok(7));
    assert_eq!(options.metrics.queued.get(), 0);
}
