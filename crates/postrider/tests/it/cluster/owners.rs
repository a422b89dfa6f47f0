//! One owner for each endpoint, also where a worker does not know that it is one no longer. Judged by what the workers
//! started, as they log it themselves, and by what came to the receivers.

use std::collections::BTreeSet;
use std::time::Instant;

use jiff::Timestamp;
use postrider_testkit::{Behaviour, Broker, GroupProxy, eventually, pause, proceed};
use serde_json::json;

use super::attempts::Attempt;
use super::crowd::{Crowd, Faults};
use super::losses::{LEASE, Loss};
use super::process::Process;
use super::{Basis, Cluster, PATIENCE, sessions};

/// Partitions that the members of a process own.
const OWNED: &str = "postrider_kafka_owned_partitions";

/// More of them that answer: each worker is to have some, wherever their ids put them.
const MORE: usize = 12;

async fn owned(process: &Process) -> f64 {
    process.counted(OWNED).await
}

/// Two workers that share the partitions, and a crowd for so many events a second. Returns what both own together.
async fn shared_out(cluster: &mut Cluster, brokers_of_first: &str, rate: f64) -> (Crowd, f64) {
    cluster.lay_out().await;
    cluster.sessions_last(sessions::LONG).await;
    cluster.play_the_rest().await;
    let behind = [("LOG__KAFKA__BROKERS", brokers_of_first)];
    cluster.play_with("worker-1", "worker", &behind).await;
    cluster.play("worker-2", "worker").await;
    cluster.ready().await;
    let mut crowd = Crowd::settle_for(cluster, "rest", rate).await;
    let api = cluster.api("rest");
    for number in 0..MORE {
        let path = format!("/ok/more/{number}");
        crowd
            .join(cluster, &api, &path, Behaviour::Ok, json!({}))
            .await;
    }
    let (one, two) = (cluster.find("worker-1"), cluster.find("worker-2"));
    let all = eventually("both workers own some", PATIENCE, async || {
        let (one, two) = (owned(one).await, owned(two).await);
        (one > 0.0 && one == two).then_some(one + two)
    });
    (crowd, all.await.unwrap())
}

/// The other worker owns everything, and works on what it took over since then.
async fn takes_over(cluster: &Cluster, all: f64, since: Timestamp) {
    let two = cluster.find("worker-2");
    let took = eventually("the other worker owns all", PATIENCE, async || {
        (owned(two).await >= all).then_some(())
    });
    took.await.unwrap();
    let works = eventually("it works on what it took over", PATIENCE, async || {
        let started = Attempt::all_of(cluster, "worker-2");
        let mut anew = started
            .iter()
            .filter(|one| one.went && one.owned_since > since.as_millisecond());
        anew.next().map(|_| ())
    });
    works.await.unwrap();
    goes_on(cluster).await;
}

/// The first worker is back, and both work.
async fn share_again(cluster: &Cluster, all: f64) {
    let (one, two) = (cluster.find("worker-1"), cluster.find("worker-2"));
    let shared = eventually("both own some again", PATIENCE, async || {
        let (one, two) = (owned(one).await, owned(two).await);
        (one > 0.0 && one + two == all).then_some(())
    });
    shared.await.unwrap();
    goes_on(cluster).await;
}

/// Some more come to those that answer.
async fn goes_on(cluster: &Cluster) {
    let so_far = cluster.receiver.count("/ok/");
    let more = cluster.receiver.wait_for("/ok/", so_far + 100, PATIENCE);
    more.await.unwrap();
}

/// What the first worker lost by a fault that began at `fault`.
fn lost(cluster: &Cluster, fault: Timestamp) -> Loss {
    let log = cluster.server("worker-1").log();
    let mut losses = Loss::all_in(&log).into_iter();
    let lost = losses.find(|loss| loss.group == "worker" && loss.heard > fault);
    lost.expect("the first worker lost nothing")
}

/// Holds the first worker to its lease: as the owner that it was before it lost `loss`, it started nothing there once the
/// lease had ended, and nobody else started anything there before that. Returns how many attempts it had let through by then
/// that did not go.
fn hold_to_lease(cluster: &Cluster, loss: &Loss) -> usize {
    let committed = loss.committed.as_millisecond();
    let ended = (loss.committed + LEASE).as_millisecond();
    let there = |one: &Attempt| loss.partitions.contains(&one.partition);
    let first = Attempt::all_of(cluster, "worker-1");
    // As the owner of before: later it may own them anew.
    let as_before: Vec<_> = first
        .iter()
        .filter(|one| there(one) && one.owned_since < committed)
        .collect();
    let went = as_before.iter().filter(|one| one.went);
    let last = went.map(|one| one.asked_at).max().expect("it never worked");
    println!(
        "the last start came {} ms before the lease ended",
        ended - last
    );
    assert!(last <= ended, "started {} ms after its lease", last - ended);

    let second = Attempt::all_of(cluster, "worker-2");
    let since = second
        .iter()
        .filter(|one| one.went && there(one) && one.owned_since > committed);
    let begun = since.map(|one| one.asked_at).min();
    let begun = begun.expect("nobody took over");
    println!("the other began {} ms after the lease ended", begun - ended);
    assert!(begun > ended, "two owners at a time");

    // Who owns them anew began after the one between had ended.
    let anew = first
        .iter()
        .filter(|one| one.went && there(one) && one.owned_since > committed);
    let taken_back: BTreeSet<i64> = anew.map(|one| one.owned_since).collect();
    for since in taken_back {
        let before = second
            .iter()
            .filter(|one| one.went && there(one) && one.owned_since < since);
        let last = before.map(|one| one.asked_at).max();
        assert!(
            last.is_none_or(|last| last <= since),
            "two owners at a time"
        );
    }
    as_before.iter().filter(|one| !one.went).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_slept_past_its_session_starts_nothing_that_it_had_let_through_before() {
    let basis = Basis::shared();
    let mut cluster = Cluster::on(&basis).await;
    Crowd::prepare(&mut cluster);
    // More than the limited one takes: its lane is full when the worker falls asleep.
    let rate = 50.0;
    let (crowd, all) = shared_out(&mut cluster, &basis.brokers, rate).await;
    let load = crowd.load(&cluster, "rest", rate);
    let some = cluster.receiver.wait_for("/ok/0", 150, PATIENCE);
    some.await.unwrap();
    let asleep = Timestamp::now();
    pause(cluster.server("worker-1").pid()).unwrap();
    takes_over(&cluster, all, asleep).await;
    let awake = Timestamp::now();
    proceed(cluster.server("worker-1").pid()).unwrap();
    share_again(&cluster, all).await;
    let report = load.stop().await;
    assert_eq!(report.failed, 0, "{}", report.last_failure);

    let loss = lost(&cluster, asleep);
    println!("it slept from {asleep} to {awake}: {loss:?}");
    assert!(loss.heard >= awake && loss.committed + LEASE < awake);
    let withheld = hold_to_lease(&cluster, &loss);
    println!("{withheld} attempts that were let through before it slept did not go");
    // What it had in hand is in its log, so no fault is told of here.
    crowd.hold(&cluster, "rest", &report, &Faults::new()).await;
    cluster.only_lost_by(&["worker-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_cut_off_from_its_coordinator_alone_stops_before_another_begins() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = GroupProxy::bind().await.unwrap();
    let broker = Broker::start_behind(dir.path(), &proxy).await.unwrap();
    let basis = Basis {
        brokers: broker.address(),
        ..Basis::shared()
    };
    let mut cluster = Cluster::on(&basis).await;
    Crowd::prepare(&mut cluster);
    let rate = 15.0;
    let (crowd, all) = shared_out(&mut cluster, &proxy.address().to_string(), rate).await;
    let load = crowd.load(&cluster, "rest", rate);
    let some = cluster.receiver.wait_for("/ok/0", 50, PATIENCE);
    some.await.unwrap();

    let cut = Timestamp::now();
    proxy.cut();
    let since = Instant::now();
    takes_over(&cluster, all, cut).await;
    println!("the other had all {:?} after the cut", since.elapsed());
    proxy.mend();
    share_again(&cluster, all).await;
    let report = load.stop().await;
    assert_eq!(report.failed, 0, "{}", report.last_failure);

    let loss = lost(&cluster, cut);
    println!("it was cut off at {cut}: {loss:?}");
    hold_to_lease(&cluster, &loss);
    crowd.hold(&cluster, "rest", &report, &Faults::new()).await;
    cluster.only_lost_by(&["worker-1"]);
}
