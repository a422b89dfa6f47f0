//! Records that brokers took compressed, and that are more than the log takes as they are.

use std::time::Duration;

use bytes::Bytes;
use postrider_log::{
    BatchLimit, Durability, Log, Polled, Purpose, Record, Subscription, rejected_event,
};
use postrider_model::topics::{self, EVENTS, EVENTS_REJECTED, FANOUT};
use postrider_testkit::kafka;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::support::{Deadline, open, options};

/// Above the log's limit, and little when it is compressed.
const LARGE: usize = 5 << 20;

/// As a platform's own producer, with a limit of its own.
async fn produce(topic: &str, key: &str, headers: OwnedHeaders) {
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka().unwrap())
        .set("compression.type", "gzip")
        .set("message.max.bytes", (64 << 20).to_string())
        .create()
        .unwrap();
    let record = FutureRecord::to(topic)
        .key(key)
        .payload("{}")
        .headers(headers);
    producer
        .send(record, Duration::from_secs(30))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_rejected_of_a_large_key_and_of_large_or_many_headers_can_be_written() {
    let mut options = options(&kafka().unwrap(), topics::all());
    options.layout.partitions = 1;
    let log = open(&options).await;
    let limits = log.limits();
    assert!(LARGE > 2 * limits.record_bytes);
    let topic = format!("{}events", options.topic_prefix);
    let none = OwnedHeaders::new;
    let header = |key, value| Header { key, value };
    let large = "x".repeat(LARGE);
    produce(&topic, &large, none()).await;
    produce(
        &topic,
        "key",
        none().insert(header("n", Some(large.as_str()))),
    )
    .await;
    // Little as key, headers and value are counted, and much with what Kafka writes around each.
    let (name, many) = ("n", limits.record_bytes - 1000);
    let empty = |all: OwnedHeaders, _| all.insert(header(name, Some("")));
    produce(&topic, "key", (0..many).fold(none(), empty)).await;

    let (mut reader, _committer) = log
        .subscribe(Subscription::to(FANOUT, EVENTS))
        .await
        .unwrap();
    let (mut read, deadline) = (Vec::<Record>::new(), Deadline::new());
    while read.len() < 3 {
        let limit = BatchLimit {
            records: 1,
            bytes: 1,
        };
        let polled = tokio::time::timeout(Duration::from_millis(100), reader.next(limit)).await;
        if let Ok(Ok(Polled::Records(records))) = polled {
            read.extend(records);
        }
        deadline.check("all three were read");
    }
    for record in &read {
        let kept = rejected_event(record, "nobody knows it", limits);
        assert_eq!(
            (kept.topic, &kept.value),
            (EVENTS_REJECTED, &Bytes::from("{}"))
        );
        let written = log.append(vec![kept], Durability::Synced, Purpose::Spreading);
        written.await.unwrap();
    }
    log.close().await.unwrap();
}
