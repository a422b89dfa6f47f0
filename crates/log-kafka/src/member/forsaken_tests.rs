use std::sync::Arc;

use postrider_log::{BatchLimit, Polled, Reader as _, Subscription, TopicPartition};
use postrider_model::topics::{self, EVENTS, FANOUT};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::*;
use crate::catalog::Catalog;
use crate::member::Member;
use crate::shared::Shared;
use crate::{LogMetrics, Options};

const AT: TopicPartition = TopicPartition {
    topic: EVENTS,
    partition: 0,
};

/// A machine may stand still for seconds.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn what_is_moving_or_has_a_seat_is_not_forsaken() {
    let mut given = Given::default();
    given.add(&[AT]);
    assert!(!given.is_forsaken(0, false));
    assert!(given.forsaken.is_some());
    for (seated, moving) in [(0, true), (1, false)] {
        assert!(!given.is_forsaken(seated, moving));
        assert!(given.forsaken.is_none());
    }
    given.remove(&[AT]);
    assert!(!given.is_forsaken(0, false));
    assert!(given.forsaken.is_none());
}

/// librdkafka's own imitation of a broker forgets a member for one commit, and knows it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_forgotten_for_one_commit_alone_works_on() {
    let brokers = MockCluster::<DefaultProducerContext>::new(1).unwrap();
    brokers.create_topic("events", 1, 1).unwrap();
    let metrics = LogMetrics::register(&postrider_metrics::Registry::new()).unwrap();
    let servers = brokers.bootstrap_servers();
    let mut options = Options::new(&servers, topics::all(), metrics);
    options.topic_prefix = String::new();
    options.layout.partitions = 1;
    let catalog = Arc::new(Catalog::new(&options));
    let shared = Arc::new(Shared::new(&options, catalog).unwrap());
    let (mut reader, _committer) = Member::join(shared, &Subscription::to(FANOUT, EVENTS)).unwrap();
    let mut next = async || {
        let limit = BatchLimit {
            records: 1,
            bytes: 1,
        };
        let next = tokio::time::timeout(PATIENCE, reader.next(limit)).await;
        match next.expect("something is heard of").unwrap() {
            Polled::Assigned(assigned) => Ok(assigned[0].epoch),
            Polled::Lost(at) => Err(at),
            polled => panic!("{polled:?}"),
        }
    };
    let first = next().await.unwrap();
    let stranger = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID;
    brokers.request_errors(RDKafkaApiKey::OffsetCommit, &[stranger]);
    assert_eq!(next().await, Err(vec![AT]));
    assert!(next().await.unwrap() > first);
}
