//! What whoever takes partitions over reads of what lies in a compacted topic.

use std::collections::BTreeMap;
use std::time::Instant;

use postrider_log::testing::conformance::{A, NEWEST, topics};
use postrider_log::{
    Durability, Followed, Log, NewRecord, Partition, Purpose, TopicPartition, TopicSpec,
};
use postrider_testkit::kafka;

use crate::support::{open, options};

const PARTITIONS: u32 = 16;
/// As many as lie in a topic that brokers have not compacted for a while.
const STATES: usize = 100_000;

fn beside(partition: Partition) -> TopicPartition {
    TopicPartition {
        topic: A,
        partition,
    }
}

/// What is read until it is caught up, by partition.
async fn read(log: &dyn Log, at: &[TopicPartition]) -> BTreeMap<Partition, usize> {
    let mut follower = log.follow_beside(NEWEST, at).await.unwrap();
    let mut read = BTreeMap::new();
    loop {
        match follower.next().await.unwrap() {
            Followed::CaughtUp => return read,
            Followed::Records(records) => {
                for record in records {
                    *read.entry(record.at.partition).or_default() += 1;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_partitions_over_reads_the_states_of_these_and_of_no_others() {
    let specs: Vec<TopicSpec> = topics();
    let mut options = options(&kafka().unwrap(), specs);
    options.layout.partitions = PARTITIONS;
    let log = open(&options).await;
    let mut written: BTreeMap<Partition, usize> = BTreeMap::new();
    let states =
        (0..STATES).map(|n| NewRecord::new(NEWEST, format!("key-{}", n / 5), vec![0; 200]));
    let states: Vec<_> = states.collect();
    for some in states.chunks(5000) {
        let appended = log.append(some.to_vec(), Durability::Ordered, Purpose::Pipeline);
        for (at, _) in appended.await.unwrap() {
            *written.entry(at.partition).or_default() += 1;
        }
    }
    assert_eq!(written.len(), PARTITIONS as usize);
    let begun = Instant::now();
    let of = read(&*log, &[beside(3), beside(9)]).await;
    println!(
        "{} states were read within {:?}",
        of.values().sum::<usize>(),
        begun.elapsed()
    );
    written.retain(|partition, _| [3, 9].contains(partition));
    assert_eq!(of, written);
    assert_eq!(read(&*log, &[]).await, BTreeMap::new());
}

/// Then the key of a state says nothing of where its deliveries lie.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_topic_with_another_number_of_partitions_all_is_read() {
    let mut options = options(&kafka().unwrap(), topics());
    options.layout.partitions_of.insert(A.0, 2);
    let log = open(&options).await;
    let states = (0..30).map(|n| NewRecord::new(NEWEST, format!("key-{n}"), "state"));
    let appended = log.append(states.collect(), Durability::Ordered, Purpose::Pipeline);
    appended.await.unwrap();
    let read = read(&*log, &[beside(0)]).await;
    assert_eq!((read.len(), read.values().sum::<usize>()), (3, 30));
}
