//! Workers that come and go under load: limits hold, and no partition stays without an owner.

use std::time::{Duration, Instant};

use postrider_testkit::{Behaviour, eventually};
use serde_json::json;

use super::crowd::{Crowd, Faults};
use super::{Basis, Cluster, PATIENCE, sessions};

/// Starts in a second at each endpoint that has a limit: fewer than there are events.
const LIMIT: usize = 5;
const EVENTS_PER_SECOND: f64 = 6.0;

/// How long attempts may go on when a partition is given up, and the heartbeat that tells its next owner.
const HANDOVER: Duration = Duration::from_secs(5 + 1);

const WORKERS: [&str; 4] = ["worker-1", "worker-2", "worker-3", "worker-4"];

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_come_and_go_keep_every_limit_and_leave_no_partition_alone() {
    let mut cluster = Cluster::on(&Basis::shared()).await;
    Crowd::prepare(&mut cluster);
    cluster.set("LOG__KAFKA__PARTITIONS", WORKERS.len());
    cluster.lay_out().await;
    cluster.sessions_last(sessions::DEFAULT).await;
    cluster.play_the_rest().await;
    cluster.play(WORKERS[0], "worker").await;
    cluster.ready().await;
    let mut crowd = Crowd::settle_for(&cluster, "rest", EVENTS_PER_SECOND).await;
    let api = cluster.api("rest");
    let (free, limited) = (("/free/", 2), ("/limited/", 1));
    crowd
        .join_everywhere(&cluster, &api, free, Behaviour::Ok, json!({}))
        .await;
    let limit = json!({ "throttleRate": LIMIT });
    crowd
        .join_everywhere(&cluster, &api, limited, Behaviour::Ok, limit)
        .await;
    let began = Instant::now();
    let load = crowd.load(&cluster, "rest", EVENTS_PER_SECOND);
    some_more(&cluster).await;
    for name in &WORKERS[1..] {
        cluster.play(name, "worker").await;
    }
    shared_by(&cluster, &WORKERS).await;
    some_more(&cluster).await;
    for name in &WORKERS[2..] {
        cluster.dismiss(name).await;
    }
    shared_by(&cluster, &WORKERS[..2]).await;
    some_more(&cluster).await;
    let report = load.stop().await;
    assert_eq!(report.failed, 0, "{}", report.last_failure);
    crowd.hold(&cluster, "rest", &report, &Faults::new()).await;
    cluster.only_lost_by(&[]);
    for (partition, paths) in crowd.by_partition(&cluster, "/free/") {
        let longest = longest_gap(&cluster, began, &paths);
        println!("the longest time without an arrival from partition {partition}: {longest:?}");
        assert!(longest < 5 * HANDOVER, "{longest:?} without an owner");
    }
}

/// Waits until some twenty more events have come to those without a limit.
async fn some_more(cluster: &Cluster) {
    let receiver = &cluster.receiver;
    let so_far = receiver.count("/free/0");
    let more = receiver.wait_for("/free/0", so_far + 20, PATIENCE);
    more.await.unwrap();
}

/// Waits until each of these owns as many partitions as the others, and together all.
async fn shared_by(cluster: &Cluster, workers: &[&str]) {
    // Three topics of deliveries, four partitions each.
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let each = 12.0 / workers.len() as f64;
    let shared = eventually("the workers share the partitions", PATIENCE, async || {
        for name in workers {
            let owned = cluster
                .find(name)
                .counted("postrider_kafka_owned_partitions")
                .await;
            if (owned - each).abs() > 0.5 {
                return None;
            }
        }
        Some(())
    });
    shared.await.unwrap();
}

/// From the load's beginning to the first arrival at these, and between any two, each event of the load being due at all of
/// them.
fn longest_gap(cluster: &Cluster, began: Instant, paths: &[String]) -> Duration {
    let arrivals = paths.iter().flat_map(|path| {
        let came = cluster.receiver.arrivals_at(path);
        came.into_iter().map(|arrival| arrival.at)
    });
    let mut times: Vec<Instant> = arrivals.collect();
    times.push(began);
    times.sort_unstable();
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.max().unwrap_or_default()
}
