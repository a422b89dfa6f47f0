//! The newest records, as the doctor asks for them.

use std::time::{Duration, Instant};

use postrider_log::testing::conformance::topics;
use postrider_log::{Durability, Log as _, NewRecord, Partition, Purpose, Record};
use postrider_log_kafka::newest_records;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::support::{Deadline, open, options};

/// Writes these into a partition, in one transaction.
fn in_a_transaction(brokers: &str, topic: &str, partition: Partition, values: &[&str]) {
    let within = Duration::from_secs(60);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("transactional.id", topic)
        .create()
        .unwrap();
    producer.init_transactions(within).unwrap();
    producer.begin_transaction().unwrap();
    for value in values {
        let record = BaseRecord::<str, str>::to(topic).payload(value);
        let partition = i32::try_from(partition).unwrap();
        producer.send(record.partition(partition)).unwrap();
    }
    producer.commit_transaction(within).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_record_is_found_behind_which_a_transaction_ended_and_nobody_waits_for_that() {
    let brokers = postrider_testkit::kafka().unwrap();
    let options = options(&brokers, topics());
    let log = open(&options).await;
    let topic = topics()[0].topic;
    let plain = NewRecord::new(topic, "key", "plain");
    let written = log.append(vec![plain], Durability::Synced, Purpose::Intake);
    let first = written.await.unwrap()[0].0.partition;
    let second = (first + 1) % options.layout.partitions;
    let name = format!("{}{}", options.topic_prefix, topic.0);
    tokio::task::spawn_blocking(move || {
        in_a_transaction(&brokers, &name, second, &["first", "last"])
    })
    .await
    .unwrap();

    let mut wanted = [(first, "plain"), (second, "last")];
    wanted.sort();
    let deadline = Deadline::new();
    loop {
        let began = Instant::now();
        let newest = newest_records(&options, topic).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(10), "waited in vain");
        let text = |record: &Record| String::from_utf8(record.value.to_vec()).unwrap();
        let mut newest: Vec<_> = newest
            .iter()
            .map(|record| (record.at.partition, text(record)))
            .collect();
        newest.sort();
        if newest == wanted.map(|(partition, value)| (partition, value.to_owned())) {
            return;
        }
        // That it ended is told before its end is written into the partition.
        deadline.check("the transaction has ended there");
    }
}
