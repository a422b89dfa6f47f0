//! Topics as they are configured, and as they are.

use std::time::Duration;

use postrider_log::Log as _;
use postrider_log::testing::conformance::topics;
use postrider_log_kafka::{
    KafkaLog, LogMetrics, OpenError, check_brokers, check_topics, ensure_topics, is_bearable,
};
use postrider_testkit::{eventually, kafka};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewPartitions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

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

/// Sets these on the topic; what is not named is as the broker has it by default.
async fn set(brokers: &str, topic: &str, settings: &[(&str, &str)]) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let resource = AlterConfig::new(ResourceSpecifier::Topic(topic));
    let resource = settings.iter().fold(resource, |resource, (name, value)| {
        resource.set(name, value)
    });
    let altered = admin.alter_configs([&resource], &AdminOptions::new()).await;
    assert!(altered.unwrap().iter().all(Result::is_ok));
}

/// Every setting by which an acknowledged record could be lost, or come again, or have another's time.
#[tokio::test]
async fn each_setting_of_a_topic_that_breaks_a_promise_is_named_alone() {
    let brokers = kafka().unwrap();
    let options = options(&brokers, topics());
    drop(open(&options).await);
    let kept = [
        ("message.timestamp.type", "LogAppendTime"),
        ("unclean.leader.election.enable", "false"),
        ("max.message.bytes", "2162688"),
        ("cleanup.policy", "delete"),
        ("retention.ms", "604800000"),
        ("retention.bytes", "-1"),
    ];
    let compacted_soon = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "16777216"),
        ("segment.ms", "600000"),
        ("min.cleanable.dirty.ratio", "0.1"),
        ("max.compaction.lag.ms", "600000"),
    ];
    let newest = [&kept[..3], &compacted_soon[..]].concat();
    let (a, compacted) = (
        format!("{}a", options.topic_prefix),
        format!("{}newest", options.topic_prefix),
    );
    for (topic, right, name, wrong) in [
        (&a, &kept[..], "message.timestamp.type", "CreateTime"),
        (&a, &kept[..], "unclean.leader.election.enable", "true"),
        (&a, &kept[..], "max.message.bytes", "1048576"),
        (&a, &kept[..], "cleanup.policy", "compact"),
        (&a, &kept[..], "retention.ms", "86400000"),
        (&a, &kept[..], "retention.bytes", "1073741824"),
        (&compacted, &newest[..], "cleanup.policy", "delete"),
        (&compacted, &newest[..], "segment.bytes", "1073741824"),
        (&compacted, &newest[..], "segment.ms", "604800000"),
        (&compacted, &newest[..], "min.cleanable.dirty.ratio", "0.5"),
        (
            &compacted,
            &newest[..],
            "max.compaction.lag.ms",
            "9223372036854775807",
        ),
    ] {
        let as_wrong = right.iter().map(|(key, value)| match *key == name {
            true => (*key, wrong),
            false => (*key, *value),
        });
        let as_wrong: Vec<_> = as_wrong.collect();
        set(&brokers, topic, &as_wrong).await;
        let expected = format!("{topic}: {name} is {wrong}, the configuration wants ");
        let named = eventually(
            "what is wrong is named, and nothing else",
            DEADLINE,
            async || {
                let faults = check_topics(&options).await.unwrap();
                let runs_with_it =
                    name.contains("compact") || name.contains("segment") || name.contains("dirty");
                (faults.len() == 1 && faults[0].starts_with(&expected))
                    .then(|| assert_eq!(is_bearable(&faults[0]), runs_with_it))
            },
        );
        named
            .await
            .unwrap_or_else(|error| panic!("{expected}: {error}"));
        set(&brokers, topic, right).await;
    }
    let well = eventually("all is as it must be again", DEADLINE, async || {
        let faults = check_topics(&options).await.unwrap();
        faults.is_empty().then_some(())
    });
    well.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_are_added_while_a_log_is_open_are_told_of() {
    let brokers = kafka().unwrap();
    let mut options = options(&brokers, topics());
    let registry = postrider_metrics::Registry::new();
    options.metrics = LogMetrics::register(&registry).unwrap();
    let log = open(&options).await;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &brokers);
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let name = format!("{}a", options.topic_prefix);
    let more = [NewPartitions::new(&name, 5)];
    let added = admin.create_partitions(&more, &AdminOptions::new()).await;
    assert!(added.unwrap().iter().all(Result::is_ok));
    let known = eventually("the broker knows of them", DEADLINE, async || {
        let faults = check_topics(&options).await.unwrap();
        (faults.len() == 1 && faults[0].contains("has 5 partitions")).then_some(())
    });
    known.await.unwrap();
    assert_eq!(options.metrics.unknown_partitions.get(), 0);
    log.lags().await.unwrap();
    assert_eq!(options.metrics.unknown_partitions.get(), 2);
}

#[tokio::test]
async fn too_few_copies_and_copies_that_need_not_be_in_sync_are_named() {
    let mut options = options(&kafka().unwrap(), topics());
    drop(open(&options).await);
    options.layout.replication = 3;
    options.layout.min_insync_replicas = 2;
    let faults = check_topics(&options).await.unwrap().join("\n");
    for part in [
        "has 1 copies of each partition, the configuration says 3",
        "min.insync.replicas is 1, the configuration wants 2",
    ] {
        assert_eq!(faults.matches(part).count(), 3, "{part} in:\n{faults}");
    }
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
