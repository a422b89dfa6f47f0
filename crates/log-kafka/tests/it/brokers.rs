//! Brokers that hang, die and come back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_log::testing::conformance::{A, FIRST, append, numbered, topics};
use postrider_log::{Durability, Log, LogError, NewRecord, Purpose};
use postrider_log_kafka::LogMetrics;
use postrider_testkit::{Broker, pause, proceed};

use crate::support::{Deadline, Party, open, options};

/// One broker of a test's own at a time: each takes 300 MB and all of a core to start.
pub(crate) static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_ends_while_the_coordinator_cannot_be_reached_and_comes_back_with_it() {
    let _one = ONE.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path()).await.unwrap();
    let mut options = options(&broker.address(), topics());
    options.lease = Duration::from_millis(1500);
    let log = open(&options).await;
    let mut party = Party::join(&*log, FIRST, &[A]).await;
    let deadline = Deadline::new();
    while party.owned.len() < 3 {
        party.step().await;
        deadline.check("it owns everything");
    }
    let all: Vec<_> = party.owned.keys().copied().collect();
    let held = |party: &Party| all.iter().filter(|at| party.committer.holds(**at)).count();
    assert_eq!(held(&party), 3);
    pause(broker.pid().unwrap()).unwrap();
    while held(&party) > 0 {
        party.step().await;
        deadline.check("the leases ended");
    }
    assert_eq!(party.owned.len(), 3, "nobody said that they are another's");
    proceed(broker.pid().unwrap()).unwrap();
    while held(&party) < 3 {
        party.step().await;
        deadline.check("the leases came back");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_wait_for_room_while_the_broker_hangs_are_refused_past_the_bound_and_pass_afterwards()
 {
    let _one = ONE.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path()).await.unwrap();
    let mut options = options(&broker.address(), topics());
    let registry = postrider_metrics::Registry::new();
    options.metrics = LogMetrics::register(&registry).unwrap();
    options.queue_bytes = 100 << 10;
    options.queue_wait = Duration::from_millis(500);
    options.delivery_timeout = Duration::from_secs(60);
    let log = open(&options).await;
    append(&*log, numbered(A, 1, 0, 1)).await;
    pause(broker.pid().unwrap()).unwrap();
    let record = |n: u64| NewRecord::new(A, n.to_string(), vec![0; 90 << 10]);
    let first = {
        let log = Arc::clone(&log);
        let records = vec![record(1)];
        tokio::spawn(async move {
            log.append(records, Durability::Synced, Purpose::Intake)
                .await
        })
    };
    let deadline = Deadline::new();
    while !registry
        .render()
        .contains("postrider_kafka_queued_bytes 92161")
    {
        tokio::task::yield_now().await;
        deadline.check("the first is on its way");
    }
    let begun = std::time::Instant::now();
    let refused = log
        .append(vec![record(2)], Durability::Synced, Purpose::Intake)
        .await;
    assert!(matches!(refused, Err(LogError::Busy(_))), "{refused:?}");
    assert!(
        begun.elapsed() >= Duration::from_millis(500),
        "it waited for room"
    );
    proceed(broker.pid().unwrap()).unwrap();
    assert_eq!(first.await.unwrap().unwrap().len(), 1);
    append(&*log, vec![record(3)]).await;
}

/// As services do with what follows from a record ([`postrider_log::complete_patiently`]).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_acknowledged_in_time_is_written_again_whole() {
    const COUNT: u64 = 50;
    let _one = ONE.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path()).await.unwrap();
    let mut options = options(&broker.address(), topics());
    options.delivery_timeout = Duration::from_secs(3);
    let log = open(&options).await;
    let mut party = Party::join(&*log, FIRST, &[A]).await;
    let deadline = Deadline::new();
    pause(broker.pid().unwrap()).unwrap();
    let all = || numbered(A, 7, 0, COUNT);
    let refused = log.append(all(), Durability::Ordered, Purpose::Pipeline);
    let refused = refused.await;
    let silent = matches!(refused, Err(LogError::Unacknowledged(_)));
    assert!(silent, "{refused:?}");
    proceed(broker.pid().unwrap()).unwrap();
    while let Err(error) = log
        .append(all(), Durability::Ordered, Purpose::Pipeline)
        .await
    {
        assert!(error.is_passing(), "{error}");
        deadline.check("it was written");
    }
    while party.values.iter().collect::<BTreeSet<_>>().len() < COUNT as usize {
        party.step().await;
        deadline.check("everything was read");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_and_comes_back_costs_nothing_that_was_acknowledged() {
    const COUNT: u64 = 300;
    let _one = ONE.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(dir.path()).await.unwrap();
    let options = options(&broker.address(), topics());
    let log = open(&options).await;
    let mut party = Party::join(&*log, FIRST, &[A]).await;
    let deadline = Deadline::new();
    let writer = {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            for n in 0..COUNT {
                while let Err(error) = log
                    .append(numbered(A, 7, n, 1), Durability::Synced, Purpose::Intake)
                    .await
                {
                    assert!(error.is_passing(), "{error}");
                }
            }
        })
    };
    while party.values.len() < 50 {
        party.step().await;
        deadline.check("a part was read");
    }
    broker.kill();
    let all_read = async {
        loop {
            party.step().await;
            let mut values = party.values.clone();
            values.sort_unstable();
            // An append that was not heard of in time was written again.
            values.dedup();
            if values.len() as u64 == COUNT {
                return;
            }
            deadline.check("everything was read");
        }
    };
    let (restarted, ()) = tokio::join!(broker.restart(), all_read);
    restarted.unwrap();
    writer.await.unwrap();
    let all: Vec<_> = party.owned.keys().copied().collect();
    party.finish(&all).await;
}

/// A broker that was silent for longer than its own session is fenced by the controller, and its partitions have no leader
/// until it is let in again. Clients that come upon that must find the leader again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_had_no_leader_for_a_moment_are_written_and_read_again_soon() {
    const TIMES: u64 = 3;
    let _one = ONE.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let session = "broker.session.timeout.ms=1500\n";
    let broker = Broker::start_with_properties(dir.path(), session).await;
    let broker = broker.unwrap();
    let options = options(&broker.address(), topics());
    let log = open(&options).await;
    let mut party = Party::join(&*log, FIRST, &[A]).await;
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let writer = {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            let mut written = 0;
            while !*stopped.borrow_and_update() {
                let record = || numbered(A, 40, written, 1);
                while let Err(error) = log
                    .append(record(), Durability::Synced, Purpose::Intake)
                    .await
                {
                    assert!(error.is_passing(), "{error}");
                }
                written += 1;
            }
            written
        })
    };
    for _ in 0..TIMES {
        let (deadline, so_far) = (Deadline::new(), distinct(&party));
        while distinct(&party) < so_far + 100 {
            party.step().await;
            deadline.check("a hundred more were written and read");
        }
        pause(broker.pid().unwrap()).unwrap();
        // Its session ends by its controller's clock, which sleeps with it and finds it late when both go on.
        let slept = Instant::now();
        while slept.elapsed() < Duration::from_secs(3) {
            party.step().await;
        }
        proceed(broker.pid().unwrap()).unwrap();
    }
    let (deadline, so_far) = (Deadline::new(), distinct(&party));
    while distinct(&party) < so_far + 300 {
        party.step().await;
        deadline.check("all partitions are written and read again");
    }
    stop.send_replace(true);
    let written: usize = writer.await.unwrap().try_into().unwrap();
    while distinct(&party) < written {
        party.step().await;
        deadline.check("everything was read");
    }
}

/// What was written twice counts once.
fn distinct(party: &Party) -> usize {
    party.values.iter().collect::<BTreeSet<_>>().len()
}
