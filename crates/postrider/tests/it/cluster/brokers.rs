//! One broker, and all that can become of it under a load.

use std::time::Instant;

use postrider_testkit::{Broker, Load, Pace, eventually, pause, proceed};
use serde_json::json;

use super::crowd::Crowd;
use super::process::lasted;
use super::{Basis, Cluster, PATIENCE, sessions};
use crate::world::Running;

const EVENTS_PER_SECOND: f64 = 20.0;

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_restarted_killed_or_hangs_under_load_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(dir.path()).await.unwrap();
    let basis = Basis {
        brokers: broker.address(),
        ..Basis::shared()
    };
    let mut cluster = Cluster::on(&basis).await;
    Crowd::prepare(&mut cluster);
    // What callers may hand in before they are refused: four times as much.
    cluster.set("LOG__KAFKA__QUEUE", "1MiB");
    cluster.set("LOG__KAFKA__QUEUE_WAIT", "500ms");
    cluster.lay_out().await;
    cluster.sessions_last(sessions::DEFAULT).await;
    cluster.play_the_rest().await;
    cluster.play("worker-1", "worker").await;
    cluster.play("worker-2", "worker").await;
    cluster.ready().await;
    let crowd = Crowd::settle_for(&cluster, "rest", EVENTS_PER_SECOND).await;
    let load = crowd.load(&cluster, "rest", EVENTS_PER_SECOND);
    goes_on(&cluster).await;

    let mut faults = Vec::new();
    let since = Instant::now();
    broker.stop().await.unwrap();
    broker.restart().await.unwrap();
    goes_on(&cluster).await;
    let fault = lasted(since);
    faults.extend(["rest", "worker-1", "worker-2"].map(|name| (name, fault)));
    // Sessions outlast a restart, so everybody is who he was before it.
    match since.elapsed() < sessions::DEFAULT {
        true => cluster.only_lost_by(&[]),
        false => println!(
            "the restart took {:?}, longer than a session",
            since.elapsed()
        ),
    }
    cluster.sessions_last(sessions::SHORT).await;

    let since = Instant::now();
    broker.kill();
    broker.restart().await.unwrap();
    goes_on(&cluster).await;
    let fault = lasted(since);
    faults.extend(["rest", "worker-1", "worker-2"].map(|name| (name, fault)));

    let since = Instant::now();
    pause(broker.pid().unwrap()).unwrap();
    let (accepted, refused) = overfill(&cluster, &crowd, || {
        proceed(broker.pid().unwrap()).unwrap();
    })
    .await;
    goes_on(&cluster).await;
    let fault = lasted(since);
    faults.extend(["rest", "worker-1", "worker-2"].map(|name| (name, fault)));
    println!("{refused} were refused while the queue was full");

    let mut report = load.stop().await;
    report.accepted.extend(accepted);
    crowd.hold(&cluster, "rest", &report, &faults).await;
}

/// Waits until twenty more have come to one that answers: accepted, fanned out and delivered.
async fn goes_on(cluster: &Cluster) {
    let so_far = cluster.receiver.count("/ok/0");
    let receiver = &cluster.receiver;
    receiver
        .wait_for("/ok/0", so_far + 20, PATIENCE)
        .await
        .unwrap();
}

/// Hands in more than the producer's queue takes while the broker hangs, until some of it was refused with 503; then has
/// the broker go on. Returns what was accepted all the same, and how many were not.
pub(super) async fn overfill(
    cluster: &Cluster,
    crowd: &Crowd,
    go_on: impl FnOnce(),
) -> (Vec<postrider_testkit::Accepted>, u64) {
    let load = Load {
        pace: Pace::AsFastAsAnswered,
        connections: 16,
        payload_bytes: 512 << 10,
        ..Load::of(&crowd.app, "scenario.large")
    };
    let api = cluster.api("rest");
    let large = Running::begin(load, cluster.target("rest"));
    let full = eventually("a producer is refused", PATIENCE, async || {
        // More than is left beside one of the others, however slowly those come.
        let payload = json!({ "pad": "x".repeat(600 << 10) });
        let event = json!({ "eventType": "scenario.larger", "payload": payload });
        let path = format!("/api/v1/app/{}/msg", crowd.app);
        let answer = api.try_post(&path, &event).await.ok()?;
        let busy = answer.body["detail"]
            .as_str()?
            .contains("more events wait to be written than fit");
        busy.then_some(answer)
    });
    let full = full.await.unwrap();
    assert_eq!(full.status, 503);
    assert!(full.retry_after.is_some(), "{}", full.body);
    let report = large.stop().await;
    go_on();
    assert!(
        report.failed == 0 || report.last_failure.contains("answered 503"),
        "{}",
        report.last_failure
    );
    (report.accepted, report.failed)
}
