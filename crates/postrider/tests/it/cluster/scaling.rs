//! Workers that come and go under load: limits hold, and no partition stays without an owner.

use std::time::Duration;

use postrider_testkit::{Behaviour, Load, LossChecker, Pace, eventually};
use serde_json::json;

use super::crowd::Crowd;
use super::{Basis, Cluster, PATIENCE, limits};
use crate::killing::expect_everywhere;
use crate::world::{Running, hold};

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
    cluster.play_the_rest().await;
    cluster.play(WORKERS[0], "worker").await;
    cluster.ready().await;
    let api = cluster.api("rest");
    let app = api.create_app("scaling").await.unwrap();
    let mut all = Vec::new();
    let mut limited = Vec::new();
    for number in 0..8 {
        let (free, bound) = (format!("/free/{number}"), format!("/limited/{number}"));
        let spec = json!({ "url": cluster.receiver.on(&free, Behaviour::Ok) });
        let id = api.create_endpoint(&app, &spec).await.unwrap();
        all.push((free, id.parse().unwrap()));
        let url = cluster.receiver.on(&bound, Behaviour::Ok);
        let spec = json!({ "url": url, "throttleRate": LIMIT });
        let id = api.create_endpoint(&app, &spec).await.unwrap();
        all.push((bound, id.parse().unwrap()));
        limited.push(id);
    }
    let load = Load {
        pace: Pace::Rate(EVENTS_PER_SECOND),
        connections: 4,
        ..Load::of(&app, "scenario.event")
    };
    let load = Running::begin(load, cluster.target("rest"));
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

    let mut checker = LossChecker::default();
    let paths: Vec<&str> = all.iter().map(|(path, _)| path.as_str()).collect();
    expect_everywhere(&mut checker, &report, &paths);
    cluster.idle().await;
    for path in paths.iter().filter(|path| path.starts_with("/limited/")) {
        checker.puts_aside(path);
    }
    cluster.excuse_losses(&mut checker, &all);
    hold(&cluster.receiver, &checker, PATIENCE).await;
    for endpoint in &limited {
        let starts = limits::starts(&api, &app, endpoint).await;
        assert!(starts.len() >= report.accepted.len(), "not all is recorded");
        limits::hold(&starts, LIMIT);
    }
    let longest = longest_gap(&cluster);
    println!("the longest time without an arrival at one that answers was {longest:?}");
    assert!(longest < 5 * HANDOVER, "{longest:?} without an owner");
}

/// Waits until some twenty more events have come to those without a limit.
async fn some_more(cluster: &Cluster) {
    let receiver = &cluster.receiver;
    let so_far = receiver.count("/free/");
    let more = receiver.wait_for("/free/", so_far + 20 * 8, PATIENCE);
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

/// Between two arrivals at an endpoint without a limit, each event of the load being due at all of them.
fn longest_gap(cluster: &Cluster) -> Duration {
    let gaps = (0..8).flat_map(|number| {
        let arrivals = cluster.receiver.arrivals_at(&format!("/free/{number}"));
        let gaps = arrivals.windows(2).map(|pair| pair[1].at - pair[0].at);
        gaps.collect::<Vec<_>>()
    });
    gaps.max().unwrap_or_default()
}
