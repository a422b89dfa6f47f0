//! Positions, their metadata, sizes, and what was removed too early.

use std::collections::BTreeSet;

use bytes::Bytes;
use postrider_log::testing::conformance::{A, FIRST, Member, append, numbered, topics};
use postrider_log::{
    BatchLimit, Completion, Durability, Log, LogError, NewRecord, Polled, Purpose, Record,
    Subscription, Topic, TopicPartition,
};
use postrider_log_kafka::{KafkaLog, Options};
use postrider_model::{
    AppId, Class, DeadLetter, DeathReason, Delivery, EndpointId, Event, EventId, EventOrigin,
    Timestamp, topics as model,
};
use postrider_testkit::kafka;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::support::{classic, open, options};

const LIMIT: BatchLimit = BatchLimit {
    records: 100,
    bytes: 1 << 20,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_of_four_thousand_bytes_survives_and_more_than_kafka_takes_is_refused() {
    let options = options(&kafka().unwrap(), topics());
    let log = open(&options).await;
    append(&*log, numbered(A, 1, 0, 10)).await;
    let mut member = Member::join(&*log, FIRST, A).await;
    let at = member.read(10).await[0].at;
    let metadata = "Az09+/==".repeat(500);
    member
        .complete(member.progress(&metadata), Vec::new())
        .await
        .unwrap();
    let more = "m".repeat(log.limits().metadata_bytes.unwrap() + 1);
    let refused = member.complete(member.progress(&more), Vec::new()).await;
    assert!(
        matches!(refused, Err(LogError::TooLarge { limit: 4096, .. })),
        "{refused:?}"
    );
    drop(member);
    let member = Member::join(&*log, FIRST, A).await;
    let ours = member
        .assigned
        .iter()
        .find(|assignment| assignment.at == at)
        .unwrap();
    assert_eq!(
        (ours.committed.next, &ours.committed.metadata),
        (10, &metadata)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_too_large_for_the_brokers_is_refused_for_good_and_stops_nobody() {
    let mut options = options(&kafka().unwrap(), topics());
    options.record_bytes = 10 << 10;
    drop(open(&options).await);
    // Somebody has configured more than the topics take.
    options.record_bytes = 1 << 20;
    let log = KafkaLog::open(options).await.unwrap();
    let large = NewRecord::new(A, "k", vec![0; 500 << 10]);
    let refused = log
        .append(vec![large], Durability::Ordered, Purpose::Intake)
        .await;
    let Err(LogError::TooLarge { topic, size, .. }) = refused else {
        panic!("too large was due, not {refused:?}");
    };
    assert_eq!((topic, size), ("a", (500 << 10) + 1));
    append(&log, numbered(A, 1, 0, 10)).await;
    let mut member = Member::join(&log, FIRST, A).await;
    assert_eq!(member.read(10).await.len(), 10);
}

fn delivery(payload: usize) -> Delivery {
    let event = Event {
        id: EventId::new(),
        app_id: AppId::new(),
        event_type: "order.paid".parse().unwrap(),
        channels: Vec::new(),
        uid: None,
        content_type: "application/json".to_owned(),
        payload: vec![b'x'; payload].into(),
        accepted_at: Timestamp::default(),
        trace: None,
        origin: EventOrigin::Accepted,
    };
    let now = Timestamp::default();
    Delivery::of_event(&event, (0, 1), EndpointId::new(), 1, Class::Normal, now)
}

/// Everything that lies in a topic.
async fn lying(log: &KafkaLog, topic: Topic) -> Vec<Record> {
    let limit = BatchLimit {
        records: 1000,
        bytes: 64 << 20,
    };
    let mut all = Vec::new();
    for (partition, _) in log.ends(topic).await.unwrap() {
        let at = TopicPartition { topic, partition };
        all.extend(log.read(at, 0, limit).await.unwrap());
    }
    all
}

/// Of what brokers find too large together, each is written once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_finished_with_a_record_that_brokers_find_too_large_is_written_once() {
    let mut options = options(&kafka().unwrap(), model::all());
    options.layout.partitions = 1;
    options.record_bytes = 10 << 10;
    drop(open(&options).await);
    options.record_bytes = 1 << 20;
    let registry = postrider_metrics::Registry::new();
    options.metrics = postrider_log_kafka::LogMetrics::register(&registry).unwrap();
    let log = KafkaLog::open(options.clone()).await.unwrap();
    let subscription = Subscription::to(model::FANOUT, model::EVENTS);
    let (_reader, committer) = log.subscribe(subscription).await.unwrap();
    let letter = |payload: usize| {
        let letter = DeadLetter::of(
            delivery(payload),
            DeathReason::Exhausted,
            Timestamp::default(),
        );
        letter.to_record()
    };
    let mut outputs: Vec<NewRecord> = (0..60).map(|_| letter(10)).collect();
    outputs.insert(30, letter(500 << 10));
    let keys: BTreeSet<Bytes> = outputs.iter().map(|record| record.key.clone()).collect();
    let completion = Completion {
        finished: Vec::new(),
        outputs,
        durability: Durability::Ordered,
        purpose: Purpose::Pipeline,
    };
    committer.complete(completion).await.unwrap();
    let written = lying(&log, model::DEAD_LETTERS).await;
    assert_eq!((written.len(), keys.len()), (61, 61));
    let found: BTreeSet<Bytes> = written.iter().map(|record| record.key.clone()).collect();
    assert_eq!(found, keys);
    let letters = written
        .iter()
        .map(|record| DeadLetter::decode(&record.value).unwrap());
    assert_eq!(letters.filter(|letter| letter.payload_left_out).count(), 1);
    assert_eq!(options.metrics.too_large.get(), 1);
}

/// As retention does it, but now.
async fn remove_before(options: &Options, offset: i64) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &options.brokers);
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    let topic = format!("{}{A}", options.topic_prefix);
    list.add_partition_offset(&topic, 0, Offset::Offset(offset))
        .unwrap();
    admin
        .delete_records(&list, &AdminOptions::new())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_removed_before_it_was_read_is_told_of_and_counted_and_reading_goes_on() {
    removed(|_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_removed_is_told_of_with_the_classic_protocol_too() {
    removed(classic).await;
}

async fn removed(adjust: impl Fn(&mut Options)) {
    let mut options = options(&kafka().unwrap(), topics());
    options.layout.partitions = 1;
    adjust(&mut options);
    let registry = postrider_metrics::Registry::new();
    options.metrics = postrider_log_kafka::LogMetrics::register(&registry).unwrap();
    let log = open(&options).await;
    append(&*log, numbered(A, 1, 0, 10)).await;
    let mut member = Member::join(&*log, FIRST, A).await;
    member.read(4).await;
    member.finish(Vec::new()).await.unwrap();
    drop(member);
    remove_before(&options, 8).await;
    let mut member = Member::join(&*log, FIRST, A).await;
    match member.next(LIMIT).await {
        Err(LogError::Trimmed {
            asked: 4, first: 8, ..
        }) => {}
        other => panic!("a trimmed position was due, not {other:?}"),
    }
    let Ok(Polled::Records(records)) = member.next(LIMIT).await else {
        panic!("records were due");
    };
    assert_eq!(
        records
            .iter()
            .map(|record| record.position)
            .collect::<Vec<_>>(),
        [8, 9]
    );
    assert!(
        registry
            .render()
            .contains("postrider_kafka_gone_records_total 4")
    );
    // Of a group that has no position nobody can say whether it had read them.
    let mut newcomer = Member::join(&*log, postrider_log::testing::conformance::SECOND, A).await;
    assert_eq!(newcomer.read(2).await[0].position, 8);
    let missing = "postrider_kafka_misplaced_partitions_total{reason=\"missing\"} 1";
    assert!(registry.render().contains(missing), "{}", registry.render());
}

/// As after a topic was made anew, or brokers lost what they had acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_whose_position_lies_behind_the_end_reads_what_is_recent_again_and_loses_nothing_of_it()
 {
    let mut options = options(&kafka().unwrap(), topics());
    options.layout.partitions = 1;
    let registry = postrider_metrics::Registry::new();
    options.metrics = postrider_log_kafka::LogMetrics::register(&registry).unwrap();
    let log = open(&options).await;
    append(&*log, numbered(A, 1, 0, 10)).await;
    let mut member = Member::join(&*log, FIRST, A).await;
    member.read(4).await;
    let mut behind = member.progress("map");
    behind[0].committed.next = 1_000;
    member.complete(behind, Vec::new()).await.unwrap();
    drop(member);
    let mut member = Member::join(&*log, FIRST, A).await;
    let committed = &member.assigned[0].committed;
    assert_eq!((committed.next, committed.metadata.as_str()), (0, ""));
    append(&*log, numbered(A, 1, 10, 3)).await;
    let read = member.read(13).await;
    let positions: Vec<_> = read.iter().map(|record| record.position).collect();
    assert_eq!(positions, (0..13).collect::<Vec<_>>());
    let beyond = "postrider_kafka_misplaced_partitions_total{reason=\"beyond\"} 1";
    assert!(registry.render().contains(beyond), "{}", registry.render());
    // What is finished from here on counts, though it is below what was committed before.
    member.finish(Vec::new()).await.unwrap();
    drop(member);
    let member = Member::join(&*log, FIRST, A).await;
    assert_eq!(member.assigned[0].committed.next, 13);
}
