//! Members that come and go.

use std::collections::BTreeSet;
use std::time::Duration;

use postrider_log::testing::conformance::{self, A, B, FIRST, append, numbered};
use postrider_log::{BatchLimit, Durability, Log, Polled, Purpose, TopicPartition};
use postrider_log_kafka::{LogMetrics, Options};
use postrider_model::topics::{self, EVENTS, EVENTS_WAITING, FANOUT, PARK, PUMP, RETRY, Tier};
use postrider_testkit::kafka;

use crate::support::{Deadline, Party, classic, open, options};

const PARTITIONS: u32 = 6;

async fn handed_over(adjust: impl Fn(&mut Options)) {
    let mut options = options(&kafka().unwrap(), conformance::topics());
    options.layout.partitions = PARTITIONS;
    adjust(&mut options);
    let log = open(&options).await;
    append(&*log, numbered(A, 40, 0, 200)).await;
    let deadline = Deadline::new();
    let mut one = Party::join(&*log, FIRST, &[A, B]).await;
    while one.values.len() < 200 {
        one.step().await;
        deadline.check("the only member has read everything");
    }
    assert_eq!(one.owned.len(), 12);
    let all: Vec<TopicPartition> = one.owned.keys().copied().collect();
    assert!(all.iter().all(|at| one.committer.holds(*at)));
    let mut other = Party::join(&*log, FIRST, &[A, B]).await;
    while one.numbers(A).len() != 3
        || other.numbers(A).len() != 3
        || one.owned.len() != 6
        || other.owned.len() != 6
    {
        one.step().await;
        other.step().await;
        deadline.check("both own half of it");
    }
    for party in [&one, &other] {
        assert_eq!(party.losses, 0);
        assert_eq!(
            party.numbers(A),
            party.numbers(B),
            "partition n of both topics is owned together"
        );
        assert!(party.owned.keys().all(|at| party.committer.holds(*at)));
    }
    for assignment in other.owned.values() {
        assert!(
            !one.committer.holds(assignment.at),
            "a lease ends with the ownership"
        );
        assert_eq!(
            assignment.committed.metadata,
            format!("of {}", assignment.at)
        );
    }
    // What was finished before the handover does not come again, and what is written now comes once.
    append(&*log, numbered(A, 40, 200, 100)).await;
    while one.values.len() + other.values.len() < 300 {
        one.step().await;
        other.step().await;
        deadline.check("everything was read");
    }
    let mut values = [one.values.clone(), other.values.clone()].concat();
    values.sort_unstable();
    assert_eq!(values, (0..300).collect::<Vec<u64>>());
    // One leaves: its partitions come back.
    drop(other);
    while one.owned.len() < 12 {
        one.step().await;
        deadline.check("the one that is left owns all of it");
    }
    log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_member_takes_over_whole_numbers_with_what_was_committed_and_gives_them_back() {
    handed_over(|_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_classic_protocol_hands_over_likewise() {
    handed_over(classic).await;
}

/// Reads until `enough`, and gives nothing up meanwhile.
async fn read_on(party: &mut Party, what: &str, mut enough: impl FnMut(Polled) -> bool) {
    let limit = BatchLimit {
        records: 100,
        bytes: 1 << 20,
    };
    let deadline = Deadline::new();
    loop {
        let polled = tokio::time::timeout(Duration::from_millis(50), party.reader.next(limit));
        if let Ok(polled) = polled.await
            && enough(polled.unwrap())
        {
            return;
        }
        deadline.check(what);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_member_keeps_is_read_on_while_it_drains_the_rest() {
    let mut options = options(&kafka().unwrap(), conformance::topics());
    options.layout.partitions = PARTITIONS;
    let log = open(&options).await;
    let deadline = Deadline::new();
    let mut one = Party::join(&*log, FIRST, &[A]).await;
    while one.owned.len() < PARTITIONS as usize {
        one.step().await;
        deadline.check("the only member owns everything");
    }
    let mut other = Party::join(&*log, FIRST, &[A]).await;
    let mut wanted = Vec::new();
    read_on(&mut one, "a part is wanted back", |polled| {
        if let Polled::Revoking(partitions) = polled {
            wanted = partitions;
        }
        !wanted.is_empty()
    })
    .await;
    // It takes its time: what it keeps goes on, and the rest is nobody's.
    for round in 0..5 {
        let places = log
            .append(
                numbered(A, 40, round * 40, 40),
                Durability::Synced,
                Purpose::Intake,
            )
            .await
            .unwrap();
        let mut kept: BTreeSet<_> = places.into_iter().collect();
        kept.retain(|(at, _)| !wanted.contains(at));
        assert!(!kept.is_empty());
        read_on(&mut one, "what it keeps was read", |polled| {
            let Polled::Records(records) = polled else {
                panic!("records were due, not {polled:?}");
            };
            for record in records {
                assert!(kept.remove(&(record.at, record.position)), "{record:?}");
            }
            kept.is_empty()
        })
        .await;
    }
    assert!(wanted.iter().all(|at| one.committer.holds(*at)));
    let released = one.tenures(&wanted);
    one.committer.release(&released).await.unwrap();
    while !wanted.iter().all(|at| other.owned.contains_key(at)) {
        other.step().await;
        deadline.check("the other owns what was given up");
    }
}

/// As after a kill: the name is in use until its first bearer's session has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_name_is_still_in_use_joins_anew_until_it_is_free() {
    let mut options = options(&kafka().unwrap(), conformance::topics());
    options.membership.instance_id = Some("worker-0".to_owned());
    let registry = postrider_metrics::Registry::new();
    options.metrics = LogMetrics::register(&registry).unwrap();
    let log = open(&options).await;
    let deadline = Deadline::new();
    let mut one = Party::join(&*log, FIRST, &[A]).await;
    while one.owned.len() < 3 {
        one.step().await;
        deadline.check("the first owns everything");
    }
    let mut other = Party::join(&*log, FIRST, &[A]).await;
    while registry
        .render()
        .contains("postrider_kafka_rebuilt_clients_total 0")
    {
        one.step().await;
        other.step().await;
        deadline.check("the second was refused");
    }
    assert_eq!((one.owned.len(), other.owned.len()), (3, 0));
    drop(one);
    while other.owned.len() < 3 {
        other.step().await;
        deadline.check("the second owns everything");
    }
}

/// As fan-out and the pump do: two members of one group in one process, of different topics.
async fn everything_is_read_by_a_process_with_a_name(adjust: impl Fn(&mut Options)) {
    let mut options = options(&kafka().unwrap(), topics::all());
    options.layout.partitions = 1;
    options.membership.instance_id = Some("process-0".to_owned());
    adjust(&mut options);
    let log = open(&options).await;
    let of = |tiers: &[Tier]| tiers.iter().map(|tier| tier.topic).collect::<Vec<_>>();
    let memberships = [
        (FANOUT, vec![EVENTS]),
        (FANOUT, vec![EVENTS_WAITING]),
        (PUMP, of(&RETRY)),
        (PUMP, of(&PARK)),
    ];
    let mut parties = Vec::new();
    for (group, topics) in &memberships {
        parties.push((Party::join(&*log, *group, topics).await, topics.len()));
        for topic in topics {
            append(&*log, numbered(*topic, 1, 7, 1)).await;
        }
    }
    let deadline = Deadline::new();
    while parties
        .iter()
        .any(|(party, topics)| party.values.len() < *topics)
    {
        for (party, _) in &mut parties {
            party.step().await;
        }
        deadline.check("each has read its topics");
    }
    for (party, topics) in &parties {
        assert_eq!((party.values.len(), party.losses), (*topics, 0));
    }
    log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_one_process_with_a_name_read_everything_beside_each_other() {
    everything_is_read_by_a_process_with_a_name(|_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_one_process_with_a_name_do_so_by_the_classic_protocol_too() {
    everything_is_read_by_a_process_with_a_name(classic).await;
}
