//! A worker is killed while another lives: how long what it had to do stays undone.

use std::time::{Duration, Instant};

use postrider_testkit::{Behaviour, Load, LossChecker, Pace, eventually};
use serde_json::json;

use super::attempts::LOGGED;
use super::{Basis, Cluster, PATIENCE};
use crate::killing::expect_everywhere;
use crate::world::Running;

/// The last pending delivery is to arrive within 8 s, with sessions of 6 s; five times that ends the test.
const LAST_ARRIVAL: Duration = Duration::from_secs(5 * 8);

/// Enough that each worker has some, wherever their ids put them.
const ENDPOINTS: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_worker_left_is_delivered_by_another_as_soon_as_its_session_has_ended() {
    let mut cluster = Cluster::on(&Basis::shared()).await;
    cluster.set(LOGGED.0, LOGGED.1);
    cluster.lay_out().await;
    cluster.play_the_rest().await;
    cluster.play("worker-1", "worker").await;
    cluster.play("worker-2", "worker").await;
    cluster.ready().await;
    let api = cluster.api("rest");
    let app = api.create_app("takeover").await.unwrap();
    let mut all = Vec::new();
    for number in 0..ENDPOINTS {
        let path = format!("/slow/{number}");
        let slow = Behaviour::Delay(Duration::from_millis(20));
        let spec = json!({ "url": cluster.receiver.on(&path, slow) });
        let id = api.create_endpoint(&app, &spec).await.unwrap();
        all.push((path, id.parse().unwrap()));
    }
    let (one, two) = (cluster.find("worker-1"), cluster.find("worker-2"));
    let shared = eventually("both workers own some", PATIENCE, async || {
        let owned = "postrider_kafka_owned_partitions";
        let (one, two) = (one.counted(owned).await, two.counted(owned).await);
        (one > 0.0 && one == two).then_some(())
    });
    shared.await.unwrap();

    let load = Load {
        pace: Pace::Rate(20.0),
        connections: 4,
        ..Load::of(&app, "scenario.event")
    };
    let load = Running::begin(load, cluster.target("rest"));
    let some = cluster.receiver.wait_for("/slow/0", 60, PATIENCE);
    some.await.unwrap();
    let killed = Instant::now();
    let kill = cluster.process("worker-1").kill();
    let so_far = cluster.receiver.count("/slow/");
    let more = cluster.receiver.wait_for("/slow/", so_far + 100, PATIENCE);
    more.await.unwrap();
    let report = load.stop().await;
    assert_eq!(report.failed, 0, "{}", report.last_failure);

    let mut checker = LossChecker::default();
    let paths: Vec<&str> = all.iter().map(|(path, _)| path.as_str()).collect();
    expect_everywhere(&mut checker, &report, &paths);
    checker.killed(kill);
    let left = LAST_ARRIVAL.saturating_sub(killed.elapsed());
    let came = eventually("the last pending delivery", left, async || {
        (checker.missing(&cluster.receiver.arrivals()) == 0).then_some(())
    });
    came.await.unwrap();
    let took = killed.elapsed();
    println!("the last pending delivery came {took:?} after the kill");
    // What would come again would come by then.
    cluster.process("worker-1").restart().await;
    cluster.idle().await;
    cluster.excuse_losses(&mut checker, &all);
    let arrivals = cluster.receiver.arrivals();
    let verdict = checker.judge(&arrivals);
    println!("{verdict}\n{}", checker.history(&verdict, &arrivals));
    assert!(verdict.is_good(), "{verdict}");
}
