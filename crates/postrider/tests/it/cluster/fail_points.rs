//! kill -9 of each role where a crash can lie between what it wrote and the position that this finishes, or on either side
//! of the commit.

use std::time::Duration;

use postrider_testkit::{Behaviour, LossChecker, eventually};
use serde_json::json;

use super::crowd::Crowd;
use super::process::from_to;
use super::{Basis, Cluster, PATIENCE};
use crate::fail_points::reached;
use crate::killing::expect_everywhere;

/// Each role and where it is killed, one after the other: the point and which passage. All but the worker's kills repeat
/// nothing: what is written twice is passed over by who reads it.
pub(crate) const KAFKA: [(&str, &[(&str, u64)]); 5] = [
    (
        "fanout",
        &[
            ("fanout.complete.before", 3),
            ("kafka.outputs.after", 3),
            ("kafka.commit.after", 9),
        ],
    ),
    (
        "worker",
        &[
            ("worker.complete.before", 9),
            ("kafka.outputs.after", 9),
            ("kafka.commit.before", 9),
            ("kafka.commit.after", 9),
        ],
    ),
    (
        "pump",
        &[
            ("pump.park.before", 2),
            ("kafka.outputs.after", 3),
            ("kafka.commit.after", 9),
        ],
    ),
    (
        "recorder",
        &[("recorder.store.after", 3), ("kafka.commit.after", 9)],
    ),
    (
        "deadletter",
        &[("deadletter.store.after", 1), ("kafka.commit.before", 9)],
    ),
];

/// How long after a kill what the process had sent may still be read.
const READ_WITHIN: Duration = Duration::from_secs(2);

/// Where what is refused is a dead letter at once.
const DYING: &str = "/dying";

/// Kills the process of the `index`-th role at each of its points, under a load, while another process plays the rest.
async fn killed_at_its_points(index: usize) {
    let (role, points) = KAFKA[index];
    let mut cluster = Cluster::on(&Basis::shared()).await;
    Crowd::prepare(&mut cluster);
    cluster.lay_out().await;
    let roles = [
        "ingest",
        "fanout",
        "worker",
        "pump",
        "deadletter",
        "recorder",
        "api",
    ];
    let others: Vec<_> = roles.into_iter().filter(|other| *other != role).collect();
    cluster.play("rest", &others.join(",")).await;
    cluster.play(role, role).await;
    cluster.ready().await;
    let crowd = Crowd::settle(&cluster, "rest").await;
    dying_endpoint(&cluster, &crowd).await;
    cluster.process(role).terminate().await;

    let load = crowd.load(&cluster, "rest", 20.0);
    let mut faults = Vec::new();
    for (point, passage) in points {
        cluster
            .process(role)
            .restart_stopping_at(point, *passage)
            .await;
        let stopped = reached(cluster.server(role), point).await;
        let kill = cluster.process(role).kill();
        if role == "worker" {
            faults.push((role, from_to(stopped, kill.before + READ_WITHIN)));
        }
        println!("{role} was killed at {point}");
    }
    let report = load.stop().await;
    cluster.process(role).restart().await;
    cluster.receiver.on(DYING, Behaviour::Ok);
    crowd.hold(&cluster, "rest", &report, &faults).await;

    let mut checker = LossChecker::default();
    expect_everywhere(&mut checker, &report, &[DYING]);
    replay_what_is_missing(&cluster, &crowd, &checker).await;
}

async fn dying_endpoint(cluster: &Cluster, crowd: &Crowd) {
    let spec = json!({
        "url": cluster.receiver.on(DYING, Behaviour::Status(500)),
        "finalStatuses": [500],
    });
    let api = cluster.api("rest");
    api.create_endpoint(&crowd.app, &spec).await.unwrap();
}

/// What did not come to the endpoint that refused is a dead letter, and comes by a replay.
async fn replay_what_is_missing(cluster: &Cluster, crowd: &Crowd, checker: &LossChecker) {
    let api = cluster.api("rest");
    let path = format!("/api/v1/app/{}/replay", crowd.app);
    let missing = || checker.missing(&cluster.receiver.arrivals()) as u64;
    let all_there = eventually("what is missing is a dead letter", PATIENCE, async || {
        let dry = json!({ "filter": {}, "dryRun": true });
        let dead = api.post(&path, &dry).await.ok()?["total"].as_u64()?;
        (missing() <= dead).then_some(())
    });
    all_there.await.unwrap();
    let body = json!({ "filter": {}, "rate": 1_000 });
    api.post(&path, &body).await.unwrap();
    let come = eventually("nothing is missing", PATIENCE, async || {
        (missing() == 0).then_some(())
    });
    come.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn fanout_killed_between_deliveries_and_its_commit_loses_and_repeats_nothing() {
    killed_at_its_points(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_between_outcomes_and_its_commit_loses_nothing_and_repeats_what_was_in_hand()
 {
    killed_at_its_points(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pump_killed_between_what_it_moves_and_its_commit_loses_and_repeats_nothing() {
    killed_at_its_points(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_killed_between_the_store_and_its_commit_loses_nothing() {
    killed_at_its_points(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_consumer_killed_between_the_store_and_its_commit_loses_nothing() {
    killed_at_its_points(4).await;
}
