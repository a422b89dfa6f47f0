//! Topics as they are configured, and as they are.

use std::time::Duration;

use postrider_log::testing::conformance::topics;
use postrider_log_kafka::{KafkaLog, OpenError, check_brokers, check_topics, ensure_topics};
use postrider_testkit::{eventually, kafka};

use crate::support::{open, options};

const DEADLINE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn missing_topics_are_named_created_once_and_then_as_they_must_be() {
    let options = options(&kafka().unwrap(), topics());
    let missing = check_topics(&options).await.unwrap();
    assert_eq!(missing.len(), 3, "{missing:?}");
    assert!(
        missing
            .iter()
            .all(|fault| fault.ends_with("does not exist"))
    );
    let refused = KafkaLog::open(options.clone()).await.err();
    assert!(matches!(refused, Some(OpenError::Topics(_))), "{refused:?}");
    assert_eq!(ensure_topics(&options).await.unwrap().len(), 3);
    let as_they_must_be = eventually("the topics are known", DEADLINE, async || {
        check_topics(&options)
            .await
            .unwrap()
            .is_empty()
            .then_some(())
    });
    as_they_must_be.await.unwrap();
    assert!(ensure_topics(&options).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_differs_is_said_in_words_and_another_number_of_partitions_stops_the_log() {
    let mut options = options(&kafka().unwrap(), topics());
    drop(open(&options).await);
    options.layout.partitions = 5;
    options.record_bytes *= 2;
    options.layout.retention *= 3;
    let faults = check_topics(&options).await.unwrap().join("\n");
    for (part, times) in [
        ("has 3 partitions, the configuration says 5", 3),
        (
            "max.message.bytes is 2162688, the configuration wants 4259840",
            3,
        ),
        // Not of the compacted one.
        (
            "retention.ms is 604800000, the configuration wants 1814400000",
            2,
        ),
    ] {
        assert_eq!(faults.matches(part).count(), times, "{part} in:\n{faults}");
    }
    let refused = KafkaLog::open(options).await.err().unwrap().to_string();
    assert!(
        refused.contains("a has 3 partitions, the configuration says 5"),
        "{refused}"
    );
}

#[tokio::test]
async fn brokers_that_do_not_answer_and_options_that_contradict_each_other_are_told_apart() {
    let mut options = options("127.0.0.1:1", topics());
    options.lease = Duration::from_millis(10);
    options.layout.min_insync_replicas = 2;
    options.properties.insert("acks".to_owned(), "0".to_owned());
    let refused = check_topics(&options).await.unwrap_err().to_string();
    for part in [
        "a lease of 10ms",
        "2 copies in sync of 1",
        "\"acks\" cannot be set",
    ] {
        assert!(refused.contains(part), "{part} in: {refused}");
    }
}

#[tokio::test]
async fn brokers_that_forget_positions_too_early_or_end_sessions_before_leases_are_named() {
    let mut options = options(&kafka().unwrap(), topics());
    options.lease = Duration::from_secs(5);
    let faults = check_brokers(&options).await.unwrap().join("\n");
    for part in [
        "offsets.retention.minutes is 10080, at least 10081 is needed",
        "group.consumer.session.timeout.ms is 6000, at least 7500 is needed",
    ] {
        assert!(faults.contains(part), "{part} in:\n{faults}");
    }
    options.lease = Duration::from_secs(3);
    options.layout.retention /= 2;
    assert!(check_brokers(&options).await.unwrap().is_empty());
}
