//! Positions, their metadata, sizes, and what was removed too early.

use postrider_log::testing::conformance::{A, FIRST, Member, append, numbered, topics};
use postrider_log::{BatchLimit, Durability, Log, LogError, NewRecord, Polled, Purpose};
use postrider_log_kafka::{KafkaLog, Options};
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
    // A group that never read anything has lost nothing.
    let mut newcomer = Member::join(&*log, postrider_log::testing::conformance::SECOND, A).await;
    assert_eq!(newcomer.read(2).await[0].position, 8);
}
