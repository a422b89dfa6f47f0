//! A worker is killed while another lives: how long what it had to do stays undone.

use std::time::{Duration, Instant};

use postrider_testkit::{Behaviour, LossChecker, eventually};
use serde_json::json;

use super::crowd::Crowd;
use super::{Basis, Cluster, PATIENCE};
use crate::killing::expect_everywhere;

/// The last pending delivery is to arrive within 8 s, with sessions of 6 s; five times that ends the test.
const LAST_ARRIVAL: Duration = Duration::from_secs(5 * 8);

const EVENTS_PER_SECOND: f64 = 20.0;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_worker_left_is_delivered_by_another_as_soon_as_its_session_has_ended() {
    is_taken_over("consumer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_classic_protocol_too_a_killed_worker_is_taken_over_from() {
    is_taken_over("classic").await;
}

async fn is_taken_over(protocol: &str) {
    let mut cluster = Cluster::on(&Basis::shared()).await;
    Crowd::prepare(&mut cluster);
    cluster.set("LOG__KAFKA__GROUP_PROTOCOL", protocol);
    cluster.lay_out().await;
    cluster.play_the_rest().await;
    cluster.play("worker-1", "worker").await;
    cluster.play("worker-2", "worker").await;
    cluster.ready().await;
    let mut crowd = Crowd::settle_for(&cluster, "rest", EVENTS_PER_SECOND).await;
    // Each worker has some.
    let slow = Behaviour::Delay(Duration::from_millis(20));
    let api = cluster.api("rest");
    crowd
        .join_everywhere(&cluster, &api, ("/slow/", 2), slow, json!({}))
        .await;
    let (one, two) = (cluster.find("worker-1"), cluster.find("worker-2"));
    let shared = eventually("both workers own some", PATIENCE, async || {
        let owned = "postrider_kafka_owned_partitions";
        let (one, two) = (one.counted(owned).await, two.counted(owned).await);
        (one > 0.0 && one == two).then_some(())
    });
    shared.await.unwrap();

    let load = crowd.load(&cluster, "rest", EVENTS_PER_SECOND);
    let some = cluster.receiver.wait_for("/slow/0", 60, PATIENCE);
    some.await.unwrap();
    let killed = Instant::now();
    let kill = cluster.process("worker-1").kill();
    let so_far = cluster.receiver.count("/slow/");
    let more = cluster.receiver.wait_for("/slow/", so_far + 100, PATIENCE);
    more.await.unwrap();
    let report = load.stop().await;
    assert_eq!(report.failed, 0, "{}", report.last_failure);

    // Those that do not answer take longer, and the limited one its time.
    let mut due = crowd.paths(true);
    due.retain(|path| !path.starts_with("/limited"));
    let mut checker = LossChecker::default();
    expect_everywhere(&mut checker, &report, &due);
    let left = LAST_ARRIVAL.saturating_sub(killed.elapsed());
    let came = eventually("the last pending delivery", left, async || {
        (checker.missing(&cluster.receiver.arrivals()) == 0).then_some(())
    });
    came.await.unwrap();
    let took = killed.elapsed();
    println!("the last pending delivery came {took:?} after the kill");
    // What would come again would come by then.
    cluster.process("worker-1").restart().await;
    let faults = [("worker-1", kill)].to_vec();
    crowd.hold(&cluster, "rest", &report, &faults).await;
}
